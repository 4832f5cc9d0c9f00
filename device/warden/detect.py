"""Finds out which board this is, as the agent starts; goes with `warden.setup`."""

import gc
import os
import sys

from micropython import const

from warden.board import VERSION, Board, module

_MASK_30 = const((1 << 30) - 1)
_RP2040_REASON = const(0x40058008)  # RP2040 datasheet, 4.7.6: why the watchdog reset it
_FORCED = const(2)  # by software, and not by its timer: so `machine.reset()` does it
_RP2040_WORDS = const(("RP2040", "wdt", "soft"))  # not as names, which would stay


def detect():
    """Return the adapter for this board."""
    if module("time") is None and "mps2-an385" in sys.implementation._machine:
        from warden.board_mps2 import Mps2

        board = Mps2()
    else:
        board = Board()
        import time

        board.ticks_ms = time.ticks_ms
        board.ticks_us = time.ticks_us
        board.ticks_diff = time.ticks_diff
        board.sleep_ms = time.sleep_ms
        board.reset = getattr(module("machine"), "reset", None)  # None where it cannot
    board.mem_free = gc.mem_free
    board.mem_alloc = gc.mem_alloc
    try:
        board.path = os.getcwd().rstrip("/") + "/" + board.path
    except (AttributeError, OSError):  # nothing is mounted
        pass
    board.identity = identity()
    if hasattr(os, "urandom"):  # 30 bits that differ from one start to the next, as far as they can
        board.boot_id = int.from_bytes(os.urandom(4), "big") & _MASK_30
    else:
        board.boot_id = (board.ticks_us() * 48271 ^ id(board)) & _MASK_30
    names = ("machine", "firmware", "port", "unique_id", "reset_cause", "agent")
    board.facts = facts = dict(zip(names, board.identity))
    facts["boot_id"] = board.boot_id
    facts["boots"] = facts["crash_free_s"] = None  # `warden.crashes` knows them
    return board


def identity():
    """Return what identifies this board, in the order of ids.IDENTITY.

    The board's name, as firmware reports it ("… with RP2040" is cut off); the firmware's
    version: "1.25.0", "1.29.0-preview"; the port: "rp2", "esp32", "linux" (the unix port) …;
    the chip's id, empty where the port has none; why the board last started, see `reset_cause`;
    the agent's version.
    """
    implementation = sys.implementation
    version = implementation.version
    firmware = ".".join([str(part) for part in version[:3]])
    if len(version) > 3 and version[3]:
        firmware += "-" + version[3]
    machine = module("machine")
    unique_id = machine.unique_id() if hasattr(machine, "unique_id") else b""
    cause = reset_cause(machine, implementation._machine)
    name = implementation._machine.split(" with ")[0][:40]
    return name, firmware[:24], sys.platform[:16], unique_id, cause, VERSION


def reset_cause(machine, name):
    """Return why the board last started, in the words of `machine`'s constants, or None.

    name: what it is. An RP2040's port says "wdt" after `machine.reset()`, too: then this is "soft".
    """
    if not hasattr(machine, "reset_cause"):
        return None
    cause = machine.reset_cause()
    found = None
    for each in dir(machine):
        if each.endswith("_RESET") and getattr(machine, each) == cause:
            found = each[:-6].lower()
    rp2040, by_watchdog, by_software = _RP2040_WORDS
    if found == by_watchdog and rp2040 in name and machine.mem32[_RP2040_REASON] == _FORCED:
        found = by_software
    return found
