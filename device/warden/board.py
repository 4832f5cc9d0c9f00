"""The board's adapter: probes what the firmware has, never assumes it from the name.

MicroPython with its documented modules; what a port lacks reads as None. `board_mps2` is the one
board that needs an adapter of its own.
"""

import gc
import os
import sys

from micropython import const

from warden.link.stream import StreamLink

VERSION = "0.1.0"

_MASK_30 = const((1 << 30) - 1)
_NO_ROOM = const(12)  # a reason, from ids
_NOTE = const("warden.note")  # in the directory that the board starts in
_POLICY = const("warden.policy")  # likewise


def module(name):
    """Return the module of that name, or None where the firmware does not have it."""
    try:
        return __import__(name)
    except ImportError:
        return None


def detect():
    """Return the adapter for this board."""
    if module("time") is None and "mps2-an385" in sys.implementation._machine:
        from warden.board_mps2 import Mps2

        return Mps2()
    return Board()


class Board:
    """The adapter for every port that has `time`; its clock is time's own functions."""

    policy_path = _POLICY

    def __init__(self):
        import time

        self.ticks_ms = time.ticks_ms
        self.ticks_us = time.ticks_us
        self.ticks_diff = time.ticks_diff
        self.sleep_ms = time.sleep_ms
        self.machine_module = module("machine")
        self.reset = getattr(self.machine_module, "reset", None)  # None where it cannot

    # --- identity -----------------------------------------------------------------------------

    def identity(self):
        """Return what identifies this board, in the order of ids.IDENTITY.

        The board's name, as firmware reports it ("… with RP2040" is cut off); the firmware's
        version: "1.25.0", "1.29.0-preview"; the port: "rp2", "esp32", "linux" (the unix port) …;
        the chip's id, empty where the port has none; why the board last started, in the words of
        `machine`'s constants, or None; the agent's version.
        """
        implementation = sys.implementation
        version = implementation.version
        firmware = ".".join([str(part) for part in version[:3]])
        if len(version) > 3 and version[3]:
            firmware += "-" + version[3]
        machine = self.machine_module
        unique_id = machine.unique_id() if hasattr(machine, "unique_id") else b""
        reset_cause = None
        if hasattr(machine, "reset_cause"):
            cause = machine.reset_cause()
            for name in dir(machine):
                if name.endswith("_RESET") and getattr(machine, name) == cause:
                    reset_cause = name[:-6].lower()
        name = implementation._machine.split(" with ")[0][:40]
        return name, firmware[:24], sys.platform[:16], unique_id, reset_cause, VERSION

    def random_30(self):
        """Return 30 bits that differ from one start to the next as far as the port can."""
        if hasattr(os, "urandom"):
            return int.from_bytes(os.urandom(4), "big") & _MASK_30
        return (self.ticks_us() * 48271 ^ id(self)) & _MASK_30

    # --- memory -------------------------------------------------------------------------------

    heap_grows = sys.platform == "esp32"  # total - used is not free: it takes more of the system
    # Walks over the heap's table; `replay` imports this where there is none.
    mem_free = staticmethod(getattr(gc, "mem_free", None))  # free bytes
    mem_alloc = staticmethod(getattr(gc, "mem_alloc", None))  # used bytes

    gc_threshold = staticmethod(getattr(gc, "threshold", lambda: -1))  # -1: none is set

    def native_heap(self):
        """Return heap(state, room) of the C module (docs/native.md), None without it."""
        return getattr(module("_warden"), "heap", None)

    def heap_table(self):
        """Return (read_table, two arrays for it, room), or the reason why it cannot be had.

        See `heap_viper`. What finds the table is not needed again, and let go.
        """
        try:
            from warden.sensors.find_table import find_table

            found = find_table(self)
            for name in list(sys.modules):
                if name.endswith(".find_table"):
                    del sys.modules[name]
                    sys.modules[name.rsplit(".", 1)[0]].find_table = None
            return found
        except MemoryError:
            return _NO_ROOM

    def collect(self):
        """Collect garbage; return False if the application has turned collections off."""
        if gc.isenabled():
            gc.collect()
            return True
        return False

    # --- storage ------------------------------------------------------------------------------

    def mounts(self):
        """Return the mount points; ("/",) where the port cannot list them."""
        vfs = module("vfs")
        if vfs is not None:
            try:
                return [entry[1] or "/" for entry in vfs.mount()]
            except TypeError:  # before 1.24 mount() lists nothing
                pass
        return ("/",)

    def statvfs(self, mount):
        """Return os.statvfs(mount), or None where the file system does not say."""
        try:
            return os.statvfs(mount)
        except OSError:
            return None

    # --- reset --------------------------------------------------------------------------------

    def save_note(self, text):
        """Save a short text over a reset; OSError where there is no file system."""
        with open(_NOTE, "w") as file:
            file.write(text)

    def load_note(self):
        """Return the text that save_note() saved, and remove it; None if there is none."""
        try:
            with open(_NOTE) as file:
                text = file.read()
            os.remove(_NOTE)
            return text
        except OSError:
            return None

    # --- policy -------------------------------------------------------------------------------

    def has_stored_policy(self):
        """Tell whether a policy is stored; note where, for the application may change directory."""
        try:
            self.policy_path = os.getcwd().rstrip("/") + "/" + _POLICY
            names = os.listdir()
        except OSError:  # nothing is mounted
            return False
        return _POLICY in names or _POLICY + ".new" in names

    # --- link ---------------------------------------------------------------------------------

    def default_link(self):
        """Return the link over stdin and stdout, or None where they cannot be polled."""
        if module("select") is None or not hasattr(sys.stdout, "buffer"):
            return None
        if sys.platform == "linux" and module("termios") is not None:
            from warden.link.terminal import TerminalLink

            return TerminalLink(sys.stdin.buffer, sys.stdout.buffer)
        return StreamLink(sys.stdin.buffer, sys.stdout.buffer)
