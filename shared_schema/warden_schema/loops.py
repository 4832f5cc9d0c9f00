"""The loops over bytes and words: machine code where this interpreter runs it, else bytecode."""

import sys

try:
    if sys.implementation.name != "micropython":
        raise ImportError
    from warden_schema.loops_viper import changes, crc16, stuff, unstuff
except (ImportError, ValueError, SyntaxError, TypeError):
    # Not there, of another machine, no emitter, or a constant too large for it.
    from warden_schema.loops_plain import changes, crc16, stuff, unstuff
