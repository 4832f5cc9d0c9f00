"""Starts the hardware watchdog; loaded for `warden.watchdog(hardware_ms=…)`."""

import sys

from micropython import const

from warden.board import module
from warden.checks import check_int

_MIN_MS = const(500)
# What a port takes at most, by its sources in MicroPython 1.25 (samd and mimxrt would take less
# without a word). Of others, what it takes is tried. Not as names, which would stay.
_LONGEST_MS = const((("rp2", 8388), ("pyboard", 32_767), ("samd", 16_000), ("mimxrt", 128_000)))
_RP2350_MAX_MS = const(16_777)
_MPS2_MAX_MS = const(300_000)


def start_hardware(board, ms):
    """Start the hardware watchdog; return the function that feeds it.

    ms: it resets the board so long after it was fed last. ValueError for what the port does not
    take, and where it has none.
    """
    machine = getattr(board, "machine", None) or module("machine")
    port = sys.platform
    name = sys.implementation._machine
    check_int("hardware_ms", ms, _MIN_MS, None)
    most = dict(_LONGEST_MS).get(port)
    if port == "rp2" and "RP2350" in name:
        most = _RP2350_MAX_MS
    has_own = hasattr(board, "start_watchdog")
    if has_own:
        most = _MPS2_MAX_MS
    elif port == "esp8266":
        raise ValueError("hardware_ms: esp8266 takes none, its watchdog has a time of its own")
    elif not hasattr(machine, "WDT"):
        raise ValueError("hardware_ms: %s has no machine.WDT" % port)
    if most is not None and ms > most:
        raise ValueError("hardware_ms must be %d to %d on %s" % (_MIN_MS, most, port))
    if has_own:
        return board.start_watchdog(ms)
    try:
        return machine.WDT(timeout=ms).feed
    except ValueError as error:
        raise ValueError("hardware_ms: %s does not take %d: %s" % (port, ms, error))
