"""The loops over bytes, as machine code where this interpreter runs it, else as bytecode.

`VIPER` tells which. Both files have the same functions; they check no bounds.
"""

import sys

try:
    if sys.implementation.name != "micropython":
        raise ImportError
    from warden_schema.loops_viper import crc16, stuff, unstuff

    VIPER = True
except (ImportError, ValueError, SyntaxError, TypeError):
    # Not there, of another machine, no emitter, or a constant too large for it.
    from warden_schema.loops_plain import crc16, stuff, unstuff

    VIPER = False
