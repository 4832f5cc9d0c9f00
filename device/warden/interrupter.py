"""Interrupts the main program where it stands: MicroPython raises KeyboardInterrupt there.

Loaded for `warden.watchdog(action="stop")` and `"reset"`. Each way, these and `by_dupterm`, has
`prepare()`, which returns whether it can be used now, `fire()`, after which the caller only
returns, and `release()`; again_ms: after so long without effect it may be tried again.
`stop_setup` knows which one is a port's.
"""

import os

from micropython import const

_AGAIN_MS = const(2000)  # when another try makes sense
_AGAIN_BY_SIGNAL_MS = const(10_000)


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
