"""The loops over bytes, as fast as this interpreter has them: chosen once, at the first import.

`VIPER` tells which. A board runs machine code that is for it and that it has been given: `fast.py`
where it has a compiler for it, `fast.mpy` of its architecture, or frozen code.
"""

import sys


def _runs_machine_code() -> bool:
    """Tell whether this interpreter was built to.

    Asked before `fast` is touched: frozen machine code in a firmware without the emitter would be
    taken for bytecode. (`_mpy` holds, above its tenth bit, the architecture a .mpy may have.)
    """
    return getattr(sys.implementation, "_mpy", 0) >> 10 != 0


try:
    if not _runs_machine_code():
        raise ImportError
    from warden_schema.fast import crc16, escape, pack, unescape

    VIPER = True
except (ImportError, ValueError, SyntaxError):  # not there, of another machine, no emitter
    from warden_schema.plain import crc16, escape, pack, unescape

    VIPER = False
