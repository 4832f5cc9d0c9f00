# Beside mpconfigvariant.h. FROZEN_MANIFEST is given on the command line.
PROG = micropython
