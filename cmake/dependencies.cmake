# The libraries of ARCHITECTURE.md, each from its Debian package.
find_package(PkgConfig REQUIRED)
find_package(ICU 70 REQUIRED COMPONENTS uc i18n)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)

find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(dnnl INTERFACE)
target_include_directories(dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(dnnl INTERFACE ${DNNL_LIBRARY})

find_path(STEMMER_INCLUDE_DIR libstemmer.h REQUIRED)
find_library(STEMMER_LIBRARY stemmer REQUIRED)
add_library(stemmer INTERFACE)
target_include_directories(stemmer SYSTEM INTERFACE ${STEMMER_INCLUDE_DIR})
target_link_libraries(stemmer INTERFACE ${STEMMER_LIBRARY})

# Threads must come from the OpenMP that oneDNN uses, gcc's. clang's own would be a second one in
# the same process, so with clang (lint, fuzzing) only the SIMD half of OpenMP is on and the
# library runs on one thread. omp.h is libomp-dev's, its functions are libgomp's.
add_library(openmp INTERFACE)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    find_package(OpenMP REQUIRED COMPONENTS C)
    target_link_libraries(openmp INTERFACE OpenMP::OpenMP_C)
else()
    execute_process(COMMAND gcc -print-file-name=libgomp.so OUTPUT_VARIABLE GOMP_LIBRARY
                    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    target_compile_options(openmp INTERFACE -fopenmp-simd -Wno-source-uses-openmp -Wno-pass-failed)
    target_link_libraries(openmp INTERFACE ${GOMP_LIBRARY})
endif()

# Nothing, unless training over several processes is asked for.
add_library(mpi INTERFACE)
if(PITH_MPI)
    find_package(MPI REQUIRED COMPONENTS C)
    target_compile_definitions(mpi INTERFACE PITH_MPI)
    target_link_libraries(mpi INTERFACE MPI::MPI_C)
endif()

if(PITH_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()
