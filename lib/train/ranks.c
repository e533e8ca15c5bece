/*
 * ranks.c: the processes of a data-parallel run, through MPI where pith was built with it.
 */
#include "train/train.h"

#ifdef PITH_MPI

#include <mpi.h>
#include <stdlib.h>

/* Elements of one message: far below what an int can count, far above what a message costs. */
#define BLOCK ((size_t)1 << 20)

/* Whether a launcher started us: MPI_Init alone would start daemons of its own. */
static bool is_launched(void)
{
    static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                            "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        if (getenv(variables[i]) != NULL) { /* NOLINT(concurrency-mt-unsafe): nobody sets it */
            return true;
        }
    }
    return false;
}

static void end_mpi(void)
{
    int ended = 0;
    if (MPI_Finalized(&ended) == MPI_SUCCESS && ended == 0) {
        (void)MPI_Finalize();
    }
}

/* True if there is MPI to talk to. Only threads that call these functions need MPI: one. */
static bool start_mpi(void)
{
    int started = 0;
    int ended = 0;
    if (MPI_Initialized(&started) != MPI_SUCCESS || MPI_Finalized(&ended) != MPI_SUCCESS ||
        ended != 0) {
        return false;
    }
    if (started != 0) {
        return true;
    }
    int provided = 0;
    if (!is_launched() ||
        MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        return false;
    }
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    (void)atexit(end_mpi);
    return true;
}

pith__ranks pith__ranks_get(void)
{
    pith__ranks ranks = {0, 1};
    if (!start_mpi() || MPI_Comm_rank(MPI_COMM_WORLD, &ranks.rank) != MPI_SUCCESS ||
        MPI_Comm_size(MPI_COMM_WORLD, &ranks.count) != MPI_SUCCESS) {
        return (pith__ranks){0, 1};
    }
    return ranks;
}

static pith_status check(int code, const char *what, pith_error *err)
{
    if (code == MPI_SUCCESS) {
        return PITH_OK;
    }
    char reason[MPI_MAX_ERROR_STRING] = "unknown reason";
    int size = 0;
    (void)MPI_Error_string(code, reason, &size);
    return pith__fail(err, PITH_E_BACKEND, "MPI cannot %s: %.128s", what, reason);
}

/*
 * MPI_Allreduce may add in another order on every rank. The sum of one rank, handed to all, is
 * the same everywhere.
 */
static pith_status sum_block(void *x, int count, MPI_Datatype type, int rank, pith_error *err)
{
    const void *send = rank == 0 ? MPI_IN_PLACE : x;
    void *receive = rank == 0 ? x : NULL;
    PITH__TRY(
        check(MPI_Reduce(send, receive, count, type, MPI_SUM, 0, MPI_COMM_WORLD), "sum", err));
    return check(MPI_Bcast(x, count, type, 0, MPI_COMM_WORLD), "hand out a sum", err);
}

static pith_status sum(void *x, size_t count, size_t size, MPI_Datatype type, pith_error *err)
{
    const pith__ranks ranks = pith__ranks_get();
    for (size_t start = 0; ranks.count > 1 && start < count; start += BLOCK) {
        const size_t piece = count - start < BLOCK ? count - start : BLOCK;
        PITH__TRY(sum_block((char *)x + start * size, (int)piece, type, ranks.rank, err));
    }
    return PITH_OK;
}

pith_status pith__ranks_sum_f32(float *x, size_t count, pith_error *err)
{
    return sum(x, count, sizeof *x, MPI_FLOAT, err);
}

pith_status pith__ranks_sum_f64(double *x, size_t count, pith_error *err)
{
    return sum(x, count, sizeof *x, MPI_DOUBLE, err);
}

pith_status pith__ranks_barrier(pith_error *err)
{
    return pith__ranks_get().count > 1 ? check(MPI_Barrier(MPI_COMM_WORLD), "wait", err) : PITH_OK;
}

#else /* one process */

pith__ranks pith__ranks_get(void)
{
    return (pith__ranks){0, 1};
}

pith_status pith__ranks_sum_f32(float *x, size_t count, pith_error *err)
{
    (void)x;
    (void)count;
    (void)err;
    return PITH_OK;
}

pith_status pith__ranks_sum_f64(double *x, size_t count, pith_error *err)
{
    (void)x;
    (void)count;
    (void)err;
    return PITH_OK;
}

pith_status pith__ranks_barrier(pith_error *err)
{
    (void)err;
    return PITH_OK;
}

#endif

pith_status pith__ranks_agree(pith_status status, pith_error *err)
{
    double failures = status == PITH_OK ? 0.0 : 1.0;
    pith_error ignored;
    const pith_status sum = pith__ranks_sum_f64(&failures, 1, status == PITH_OK ? err : &ignored);
    if (status != PITH_OK || sum != PITH_OK) {
        return status != PITH_OK ? status : sum;
    }
    return failures == 0.0 ? PITH_OK
                           : pith__fail(err, PITH_E_BACKEND, "another process of the run failed");
}
