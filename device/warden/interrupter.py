"""Interrupts the main program where it stands: MicroPython raises KeyboardInterrupt there.

Loaded for `warden.watchdog(action="stop")` and `"reset"`. Each way has `prepare()`, which returns
whether it can be used now, `fire()`, after which the caller only returns, and `release()`;
again_ms: after so long without effect it may be tried again.
"""

import io
import os
import sys

from micropython import const

_FIRST_WITH_SCHEDULE = const((1, 29))
_MAX_SLOTS = const(2)  # of os.dupterm: two on esp8266, one elsewhere
_CTRL_C = const(3)
_POLL = const(3)  # a request to ioctl, and
_READABLE = const(1)  # its answer, as in py/stream.h
_AGAIN_MS = const(2000)  # when another try makes sense
_AGAIN_BY_SIGNAL_MS = const(10_000)
_NO_INTERRUPT = const(16)  # reasons, from ids
_NO_SLOT = const(17)


class ByDupterm(io.IOBase):
    """A stream that gives one Ctrl-C to `os.dupterm`, in a slot that nobody else has.

    It is in the slot only from the interrupt to its end: what is in one receives all that is
    printed.
    """

    again_ms = _AGAIN_MS

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


class BySchedule:
    """`micropython.schedule(micropython.kbd_intr, None)`, from MicroPython 1.29 on."""

    again_ms = _AGAIN_MS

    def __init__(self, micropython):
        self.micropython = micropython

    def prepare(self):
        """Return True: it can always be used."""
        return True

    def fire(self):
        """Schedule it; where the queue is full, the watchdog tries again."""
        try:
            self.micropython.schedule(self.micropython.kbd_intr, None)
        except RuntimeError:
            pass

    def release(self):
        """Do nothing: nothing is occupied."""


class BySignal(BySchedule):
    """SIGINT, on unix, from a shell in the background: while system() runs, it is ignored.

    The unix port raises in the midst of C code, as for Ctrl-C: one that comes into an allocation
    leaves the heap locked.
    """

    again_ms = _AGAIN_BY_SIGNAL_MS  # a second one would come into what runs anew

    def fire(self):
        """Have it sent soon."""
        os.system("(sleep 0.1; kill -INT $PPID) &")


def find_interrupter():
    """Return (the way of this port, 0), or (None, the reason why there is none)."""
    micropython = __import__("micropython")
    version = sys.implementation.version
    # Before, it prints an error and does nothing, in the previews of that version, too.
    if version[:2] > _FIRST_WITH_SCHEDULE or (
        version[:2] == _FIRST_WITH_SCHEDULE and (len(version) < 4 or not version[3])
    ):
        return BySchedule(micropython), 0
    if hasattr(os, "dupterm_notify"):
        interrupter = ByDupterm()
        if not interrupter.prepare():
            return interrupter, _NO_SLOT  # it may be free when it is needed
        interrupter.release()
        return interrupter, 0
    if hasattr(os, "system"):
        return BySignal(micropython), 0
    return None, _NO_INTERRUPT
