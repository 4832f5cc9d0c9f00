"""Interrupts the main program by a Ctrl-C that `os.dupterm` reads, where a port has that.

A way of `hang_stopper`; loaded where it is the one.
"""

import io
import os

from micropython import const

_MAX_SLOTS = const(2)  # of os.dupterm: two on esp8266, one elsewhere
_CTRL_C = const(3)
_POLL = const(3)  # a request to ioctl, and
_READABLE = const(1)  # its answer, as in py/stream.h


class ByDupterm(io.IOBase):
    """A stream that gives one Ctrl-C to `os.dupterm`, in a slot that nobody else has.

    It is in the slot only from the interrupt to its end: what is in one receives all that is
    printed.
    """

    def __init__(self):
        self.is_armed = False
        self.slot = None

    def prepare(self):
        """Put this stream into a slot; return False if all are in use, which they stay."""
        self.release()
        for slot in range(_MAX_SLOTS):
            try:
                owner = os.dupterm(self, slot)
            except ValueError:  # there are no more
                break
            if owner is None:
                self.slot = slot
                return True
            os.dupterm(owner, slot)
        return False

    def fire(self):
        """Have MicroPython read the Ctrl-C: it raises at the next jump of the bytecode."""
        self.is_armed = True
        os.dupterm_notify(None)

    def release(self):
        """Leave the slot, unless somebody has taken it meanwhile."""
        slot = self.slot
        self.slot = None
        self.is_armed = False
        if slot is not None:
            owner = os.dupterm(None, slot)
            if owner is not None and owner is not self:
                os.dupterm(owner, slot)

    # --- as a stream ----------------------------------------------------------------------------

    def readinto(self, buf):
        """Read the Ctrl-C, once; None: nothing is there."""
        if not self.is_armed:
            return None
        self.is_armed = False
        buf[0] = _CTRL_C
        return 1

    def write(self, buf):
        """Drop what is printed meanwhile: it is printed elsewhere, too."""
        return len(buf)

    def ioctl(self, request, flags):
        """Tell whether the Ctrl-C is there to be read."""
        return flags & _READABLE if request == _POLL and self.is_armed else 0
