"""Time that does not wrap for those who ask, made of ticks that do.

`ticks_ms` wraps at 2**30 on a 32-bit board, after 12.4 days, and an integer from 2**30 up would
have to be allocated. So the time is kept as two small integers: whole seconds, good for 34 years,
and the milliseconds of the running one.
"""


class Clock:
    """Uptime since it was made: `s` seconds and `ms` (0 to 999) as of the last `advance()`.

    `advance()` must be called at least once in half a wrap of the ticks (6.2 days where they are
    MicroPython's own). Allocates nothing.
    """

    def __init__(self, ticks_ms, ticks_diff):
        self.s = 0
        self.ms = 0
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._last = ticks_ms()

    def advance(self):
        """Bring `s` and `ms` up to now."""
        now = self._ticks_ms()
        ms = self.ms + self._ticks_diff(now, self._last)
        self._last = now
        if ms >= 1000:
            self.s += ms // 1000
            ms %= 1000
        self.ms = ms

    def since(self, s, ms):
        """Return the milliseconds from (s, ms) to now; at most 2**29, where it stops counting."""
        s = self.s - s
        if s > 536_000:
            return 1 << 29
        return s * 1000 + self.ms - ms
