# One target that carries the warnings, sanitizers and definitions of every target of ours.
add_library(pith_flags INTERFACE)
target_compile_definitions(pith_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(pith_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wdouble-promotion -Wcast-qual
    -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Walloca -Wformat=2
    -Wnull-dereference -Wimplicit-fallthrough -Wredundant-decls
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wswitch-enum>)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(pith_flags INTERFACE
        -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wformat-truncation=2 -Wcast-align=strict
        $<$<COMPILE_LANGUAGE:C>:-Wjump-misses-init>)
else()
    target_compile_options(pith_flags INTERFACE -Wcast-align)
endif()
if(PITH_WERROR)
    target_compile_options(pith_flags INTERFACE -Werror)
endif()
if(PITH_SANITIZE)
    target_compile_options(pith_flags INTERFACE
        -fsanitize=${PITH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_link_options(pith_flags INTERFACE -fsanitize=${PITH_SANITIZE})
    target_compile_definitions(pith_flags INTERFACE PITH_SANITIZED=1)
endif()
