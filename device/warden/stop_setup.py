"""Sets up what stops a hang, as the port can; loaded for each call that does, and then let go."""

import os
import sys

from micropython import const

from warden.hang_stopper import HangStopper
from warden.interrupter import BySchedule, BySignal
from warden.sensors.threads import import_lock

_FIRST_WITH_SCHEDULE = const((1, 29))
_NO_INTERRUPT = const(16)  # reasons, from ids
_NO_SLOT = const(17)


def hook(watchdog, settings):
    """Have the watchdog stop what hangs; return 0, or the reason why it cannot interrupt it.

    settings: what `warden.watchdog()` was given.
    """
    if watchdog.action is None:
        watchdog.action = make_stopper(watchdog)
    stopper = watchdog.action
    stopper.interrupter, no_line = find_interrupter()
    stopper.resets = settings[1] == "reset"
    stopper.max_restarts = settings[4]
    stopper.settings = settings
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
    package = sys.modules["warden"]
    stopper.load = package.__getattr__
    package.__getattr__ = stopper.find_public
    return stopper


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
        with import_lock:
            from warden.by_dupterm import ByDupterm
        interrupter = ByDupterm()
        if not interrupter.prepare():
            return interrupter, _NO_SLOT  # it may be free when it is needed
        interrupter.release()
        return interrupter, 0
    if hasattr(os, "system"):
        return BySignal(micropython), 0
    return None, _NO_INTERRUPT
