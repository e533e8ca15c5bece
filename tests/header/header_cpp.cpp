// The public header compiles by itself as C++11.
#include <pith/pith.h>

static_assert(PITH_OK == 0, "success is zero");
