"""What has to go on beside the event loop: check-ins, and the hardware watchdog that is fed then.

Loaded with the first `warden.checkin()` or `warden.watchdog(hardware_ms=…)`.
"""

from micropython import const

_MAX_NOTES = const(6)  # of a culprit, in the file, in a boot
_MAX_STREAK = const(9)  # of bad boots in a row, after which there are none
_CARE_MS = const(600_000)  # how long the hardware watchdog is fed for nobody
_WATCHED = const(5)  # states of the record, as in `crashes`
_UNFED = const(6)
_AT_CRITICAL = const(2)  # a level
_LATE = const(4)  # of ids.HANG_STEPS


class Checkin:
    """A part of the application that has to call `feed()` in time; `close()` ends that.

    Made by `duties_setup.add`. excused_ms: how long the loop was blocked since it was fed.
    """

    def feed(self):
        """Note that this part goes on; from any thread."""
        self.fed_ms = self.ticks_ms()
        self.excused_ms = 0

    def is_late(self, now):
        """Tell whether it was not fed in time."""
        ms = self.ticks_diff(now, self.fed_ms) - self.excused_ms
        if ms < 0:  # ticks have jumped back, or it was excused
            self.feed()
        return ms > self.every_ms

    def close(self):
        """End it: nobody has to check in any more."""
        if self in self.rows:
            self.rows[self.rows.index(self)] = None


class Duties:
    """`rows`: who has to check in; feed: of the hardware watchdog, None if it is not on.

    Made by `duties_setup.duties_of`, which lists what it has.
    """

    def begin(self):
        """Begin to look; what was before does not count."""
        self.ended_ms = self.late = None
        for each in self.rows:
            if each is not None:
                each.feed()
        self.note_fault(None)

    def end(self, was_on, feed):
        """Return whether to tick on: the hardware watchdog is fed for ten minutes more.

        feed: or it is not, and resets the board.
        """
        if self.feed is None or not feed:
            self.ended_ms = None
            return False
        if was_on:
            self.ended_ms = self.watchdog.ticks_ms()
            self.feed()
            for_ms = self.hardware_ms if self.watchdog.timer is None else _CARE_MS
            print("warden: the hardware watchdog resets the board in", for_ms // 1000, "s")
        return True

    def relax(self, now):
        """Feed the hardware watchdog for nobody, ten minutes at most."""
        if self.ended_ms is not None:
            if self.watchdog.ticks_diff(now, self.ended_ms) < _CARE_MS:
                self.feed()

    def skip(self, ms):
        """Give those who have to check in the time for which nobody had a turn."""
        for each in self.rows:
            if each is not None:
                each.excused_ms += ms

    def check(self, now, must_look):
        """Look for somebody who is late, and note it once; feed the hardware watchdog else."""
        if must_look:
            late = self.find(now)
            if late is not self.late:
                self.late = late
                if late is not None:
                    ms = self.watchdog.ticks_diff(now, late.fed_ms)
                    self.watchdog.post(_LATE, late.name, ms)
                self.note_fault(late and late.name)
        if self.late is None and self.feed is not None:
            late = self.watchdog.ticks_diff(now, self.fed_ms)
            if not 0 <= late < self.hardware_ms // 4:  # less: ticks have jumped back
                self.fed_ms = now
                self.feed()

    def find(self, now):
        """Return the first Checkin that is late, None if none is."""
        if self.critical is not None:
            each = self.watchdog.agent.policy
            if each is None or each.pressure.level != _AT_CRITICAL:
                self.critical.feed()
        for each in self.rows:
            if each is not None and each.is_late(now):
                return each
        return None

    def note_fault(self, name):
        """Note in the record why the hardware watchdog is not fed; None: it is."""
        if self.feed is None:
            return
        crashes = self.watchdog.crashes
        crashes.running = _WATCHED
        state = _WATCHED if name is None else _UNFED
        if state != crashes.state or name is not None:
            must_save = self.is_saved
            if name is not None:  # where nothing else survives, and not for ever
                self.notes += 1
                must_save = (
                    not crashes.backed and self.notes <= _MAX_NOTES and crashes.bad < _MAX_STREAK
                )
            self.is_saved = must_save and name is not None
            crashes.subject = name or None
            crashes.enter(state, must_save)
