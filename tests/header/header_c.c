/* The public header compiles by itself as C11. */
#include <pith/pith.h>

_Static_assert(PITH_OK == 0, "success is zero");
