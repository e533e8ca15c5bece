/*
 * test_ranks.c: sums over processes. Right for any number of them: run it by itself, or
 * with mpirun if pith was built with MPI.
 */
#include "train_fixture.h"

/* More than one message. */
enum { COUNT = (1 << 20) + 777 };

static double triangle(int n)
{
    return 0.5 * (double)n * (double)(n + 1);
}

static void ranks_are_counted(void **state)
{
    (void)state;
    const pith__ranks ranks = pith__ranks_get();
    assert_in_range(ranks.rank, 0, ranks.count - 1);
    const char *expected = getenv("PITH_TEST_RANKS");
    assert_int_equal(ranks.count, expected == NULL ? 1 : strtol(expected, NULL, 10));
    const pith__ranks again = pith__ranks_get();
    assert_int_equal(again.rank, ranks.rank);
    assert_int_equal(again.count, ranks.count);
    double ones[1] = {1};
    pith_error err = {.status = PITH_OK};
    assert_ok(pith__ranks_sum_f64(ones, 1, &err), err);
    assert_true(ones[0] == (double)ranks.count);
}

/* Every rank adds (rank + 1) times the same numbers: the sum is exact, and no-op for one. */
static void sums_are_over_all_ranks(void **state)
{
    (void)state;
    const pith__ranks ranks = pith__ranks_get();
    pith_error err = {.status = PITH_OK};
    float *x = malloc(COUNT * sizeof *x);
    double *y = malloc(COUNT * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)((ranks.rank + 1) * (i % 1000));
        y[i] = (double)(ranks.rank + 1) * (double)i;
    }
    assert_ok(pith__ranks_sum_f32(x, COUNT, &err), err);
    assert_ok(pith__ranks_sum_f64(y, COUNT, &err), err);
    const double factor = triangle(ranks.count);
    for (int i = 0; i < COUNT; i++) {
        assert_true((double)x[i] == factor * (double)(i % 1000));
        assert_true(y[i] == factor * (double)i);
    }
    assert_ok(pith__ranks_sum_f32(x, 0, &err), err);
    free(x);
    free(y);
}

/* Sums that round: a second sum of what differs between ranks would show it. */
static void all_ranks_have_the_same_bytes(void **state)
{
    (void)state;
    const pith__ranks ranks = pith__ranks_get();
    pith_error err = {.status = PITH_OK};
    enum { FEW = 5000 };
    static float x[FEW];
    static double bits[FEW];
    train_fill((uint64_t)ranks.rank + 1, FEW, x);
    assert_ok(pith__ranks_sum_f32(x, FEW, &err), err);
    for (int i = 0; i < FEW; i++) {
        uint32_t word = 0;
        memcpy(&word, &x[i], sizeof word);
        bits[i] = (double)word;
    }
    assert_ok(pith__ranks_sum_f64(bits, FEW, &err), err);
    for (int i = 0; i < FEW; i++) {
        uint32_t word = 0;
        memcpy(&word, &x[i], sizeof word);
        assert_true(bits[i] == (double)word * (double)ranks.count);
    }
    assert_ok(pith__ranks_barrier(&err), err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_counted),
        cmocka_unit_test(sums_are_over_all_ranks),
        cmocka_unit_test(all_ranks_have_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
