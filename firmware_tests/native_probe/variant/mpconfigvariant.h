// The standard variant of the unix port, but Ctrl-C comes where it does on a board: at a jump of the
// bytecode. As the port is, it comes in the midst of C code, and leaves that half done.
#include "variants/standard/mpconfigvariant.h"
#undef MICROPY_ASYNC_KBD_INTR
#define MICROPY_ASYNC_KBD_INTR (0)
