"""Sets up check-ins and the hardware watchdog; loaded for each call that does, and then let go."""

import sys

from micropython import const

from warden.duties import Checkin, Duties
from warden.errors import check_text
from warden.hardware_watchdog import start_hardware
from warden.sensors.threads import import_lock
from warden_schema.codec import cut

_MAX_NAME = const(24)
_MAX_CHECKINS = const(8)


def duties_of(watchdog):
    """Return the Duties of a watchdog, made at the first call."""
    if watchdog.duties is None:
        duties = Duties()
        duties.watchdog = watchdog
        duties.rows = [None] * _MAX_CHECKINS
        duties.feed = duties.hardware_ms = None
        duties.fed_ms = 0
        duties.critical = None  # the Checkin of what is protected, fed while that is not critical
        duties.late = None  # the Checkin that is
        duties.ended_ms = None  # when nobody turned any more, and it was to be fed
        duties.notes = 0
        duties.is_saved = False  # whether the file names a culprit
        watchdog.duties = duties
    with import_lock:  # which another thread's import changes the same tables with
        sys.modules.pop("warden.duties_setup", None)
        sys.modules["warden"].__dict__.pop("duties_setup", None)
    return watchdog.duties


def add(watchdog, name, every_ms):
    """Return a new Checkin; ValueError if there are eight. One of the same name ends."""
    name = check_text(cut(name, _MAX_NAME))
    rows = duties_of(watchdog).rows
    old = None
    for each in rows:
        if each is not None and each.name == name:
            old = each
    if old not in rows:
        raise ValueError("no more than eight")
    checkin = Checkin()
    checkin.ticks_ms = watchdog.ticks_ms
    checkin.ticks_diff = watchdog.ticks_diff
    checkin.rows = rows
    checkin.name = name
    checkin.every_ms = every_ms
    checkin.feed()
    rows[rows.index(old)] = checkin  # not before there was memory for it
    return checkin


def protect(watchdog, board, hardware_ms, critical_ms):
    """Start the hardware watchdog, and return the Duties; see `watchdog_setup.watchdog`."""
    duties = duties_of(watchdog)
    if hardware_ms != duties.hardware_ms:
        duties.feed = start_hardware(board, hardware_ms)
        duties.hardware_ms = hardware_ms
    if critical_ms is not None and duties.critical is None:
        duties.critical = add(watchdog, "pressure", critical_ms)
    return duties
