"""Sets up what stops a hang, as the port can; loaded for each call that does, and then let go."""

import os
import sys

from micropython import const

from warden.hang_stopper import HangStopper, by_schedule, by_signal
from warden.sensors.threads import import_lock

_FIRST_WITH_SCHEDULE = const((1, 29))
_AGAIN_MS = const(2000)  # when another try makes sense
_AGAIN_BY_SIGNAL_MS = const(10_000)  # a second one would come into what runs anew
_NO_INTERRUPT = const(16)  # reasons, from ids
_NO_SLOT = const(17)


def hook(watchdog, settings):
    """Have the watchdog stop what hangs; return 0, or the reason why it cannot interrupt it.

    settings: what `warden.watchdog()` was given.
    """
    stopper = watchdog.action
    if stopper is None:
        stopper = make_stopper(watchdog)
    # All at once: where there is no memory for these, what it had goes on.
    stopper.interrupt, stopper.slot, stopper.again_ms, no_line = find_interrupt()
    stopper.resets = settings[1] == "reset"
    stopper.max_restarts = settings[4]
    stopper.settings = settings
    if watchdog.action is None:  # not before: there may be no memory for all of it
        package = sys.modules["warden"]
        stopper.load = package.__getattr__
        package.__getattr__ = stopper.find_public
        watchdog.action = stopper
    with import_lock:  # which another thread's import changes the same tables with
        sys.modules.pop("warden.stop_setup", None)
        sys.modules["warden"].__dict__.pop("stop_setup", None)
    return no_line


def make_stopper(watchdog):
    """Return a HangStopper, which has stopped nothing yet, and two public functions of its own."""
    stopper = HangStopper()
    stopper.watchdog = watchdog
    stopper.tries = 0  # to interrupt this hang
    stopper.requested_ms = None  # in ticks, when it was interrupted
    stopper.restarts = 0
    stopper.hour_ms = watchdog.ticks_ms()  # in which those were
    stopper.public = {"watchdog": stopper.watch_again, "checkin": stopper.check_in_again}
    return stopper


def find_interrupt():
    """Return what interrupts the main program on this port, its slot, again_ms, and 0.

    As `HangStopper` has them; the last is the reason why it cannot be, else.
    """
    version = sys.implementation.version
    # Before, it prints an error and does nothing, in the previews of that version, too.
    if version[:2] > _FIRST_WITH_SCHEDULE or (
        version[:2] == _FIRST_WITH_SCHEDULE and (len(version) < 4 or not version[3])
    ):
        return by_schedule, None, _AGAIN_MS, 0
    if hasattr(os, "dupterm_notify"):
        with import_lock:
            from warden.by_dupterm import ByDupterm
        slot = ByDupterm()
        found = slot.fire, slot, _AGAIN_MS
        if not slot.prepare():
            return found + (_NO_SLOT,)  # it may be free when it is needed
        slot.release()
        return found + (0,)
    if hasattr(os, "system"):
        return by_signal, None, _AGAIN_BY_SIGNAL_MS, 0
    return None, None, _AGAIN_MS, _NO_INTERRUPT
