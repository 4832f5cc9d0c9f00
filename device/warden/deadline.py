"""A moment in the future that wraps nowhere: two small integers, as in `Clock`."""


class Deadline:
    """So many milliseconds from now; None is never."""

    def __init__(self, clock, ms):
        self._clock = clock
        self.s = None
        self.ms = 0
        self.set(ms)

    def set(self, ms):
        """Begin anew: so many milliseconds from now."""
        clock = self._clock
        if ms is None:
            self.s = None
            return
        due = clock.ms + ms % 1000
        # The seconds first: another thread that looks in between must not find it passed.
        self.s = clock.s + ms // 1000 + due // 1000
        self.ms = due % 1000
        clock.sooner(self.s, self.ms)

    def left_ms(self):
        """Return the milliseconds until then, 0 if it has passed, None if never."""
        s = self.s
        self._clock.advance()  # between two turns it may have rested
        return None if s is None else max(0, -self._clock.since(s, self.ms))

    def passed(self):
        """Tell whether the moment has come; if not, it is looked at in time. Allocates nothing."""
        s = self.s
        if s is None:
            return False
        clock = self._clock
        if clock.s > s or (clock.s == s and clock.ms >= self.ms):
            return True
        clock.sooner(s, self.ms)
        return False
