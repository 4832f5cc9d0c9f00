"""The loops over bytes and figures, as fast as this interpreter has them.

Chosen once, at the first import; `VIPER` tells which. A board runs the machine code that it was
given: frozen, `fast.mpy` of its architecture, or `fast.py` where it can compile it.
"""

import sys

try:
    if sys.implementation.name != "micropython":
        raise ImportError
    from warden_schema import fast as _chosen
    from warden_schema.fast import crc16 as _there  # an empty one is none

    VIPER = True
except (ImportError, ValueError, SyntaxError):  # not there, of another machine, no emitter
    from warden_schema import plain as _chosen  # type: ignore[no-redef]

    VIPER = False


def __getattr__(name: str):
    """Hand a loop on; those that were named here would be named twice in a board's heap."""
    return getattr(_chosen, name)
