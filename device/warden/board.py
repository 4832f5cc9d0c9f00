"""The board's adapter: probes what the firmware has, never assumes it from the name.

MicroPython with its documented modules; what a port lacks reads as None. `board_mps2` is the one
board that needs an adapter of its own.
"""

import gc
import os
import sys

VERSION = "0.1.0"


def module(name):
    """Return the module of that name, or None where the firmware does not have it."""
    try:
        return __import__(name)
    except ImportError:
        return None


class Board:
    """Reads the firmware's memory and storage, and saves a note over a reset.

    `warden.detect` adds ticks_ms, ticks_us, ticks_diff and sleep_ms, which are time's own
    functions; mem_free and mem_alloc, which are gc's and walk over the heap's table; reset, None
    where the board cannot; identity, a tuple in the order of ids.IDENTITY; boot_id, 30 random bits;
    facts, both as a dict for the status.
    """

    # What the names of the agent's files begin with; `detect` puts the directory before it that the
    # board starts in, for the application may change to another one.
    path = "warden"
    has_timer = False  # a machine.Timer runs the agent
    crashes = None  # this board's `Crashes`, once `warden.run()` or the like is used

    # --- memory -------------------------------------------------------------------------------

    heap_grows = sys.platform == "esp32"  # total - used is not free: it takes more of the system

    gc_threshold = staticmethod(getattr(gc, "threshold", lambda: -1))  # -1: none is set

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
        with open(self.path + ".note", "w") as file:
            file.write(text)
