"""A moment in the future that wraps nowhere: two small integers, as in `Clock`."""


class Deadline:
    """So many milliseconds from now; None is never."""

    def __init__(self, clock, ms):
        self._clock = clock
        self.set(ms)

    def set(self, ms):
        """Begin anew: so many milliseconds from now."""
        clock = self._clock
        self.s = None
        self.ms = 0
        if ms is not None:
            due = clock.ms + ms % 1000
            self.s = clock.s + ms // 1000 + due // 1000
            self.ms = due % 1000

    def left_ms(self):
        """Return the milliseconds until then, 0 if it has passed, None if never."""
        if self.s is None:
            return None
        return max(0, -self._clock.since(self.s, self.ms))

    def passed(self):
        """Tell whether the moment has come; allocates nothing."""
        return self.s is not None and self._clock.since(self.s, self.ms) >= 0
