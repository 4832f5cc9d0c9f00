"""Time that does not wrap for those who ask, made of ticks that do.

`ticks_ms` wraps at 2**30 on a 32-bit board, after 12.4 days, and an integer from 2**30 up would
have to be allocated. So the time is kept as two small integers: whole seconds, good for 34 years,
and the milliseconds of the running one.
"""

from micropython import const

from warden_schema.loops import advance as _advance

_NEWS = const(24)
_LONGEST_S = const(60)
_LOW_BITS = const(0x3FFFFFFF)


def mask_of(ticks_diff):
    """Return the mask of ticks' 30 lowest bits, or of as many as they have: MicroPython's period is
    a power of two.
    """
    bits = 20
    while bits < 29 and ticks_diff(1 << bits, 0) > 0:  # half a period is taken for a negative one
        bits += 1
    return (2 << bits) - 1


class Clock:
    """Uptime since it was made: `s` seconds and `ms` (0 to 999) as of the last `advance()`.

    `advance()` must be called at least once in half a wrap of the ticks (6.2 days where they are
    MicroPython's own). Allocates nothing.

    It also remembers when the next deadline is, so that nobody has to look at all of them all the
    time: `sooner` whenever one is set, `rested` before all are looked at. `news` says that there is
    something to do before it: a byte for each table of a host session, and the first for all else.
    """

    def __init__(self, ticks_ms, ticks_diff, lock=None, deadlines=None):
        self._lock = lock  # where several threads may advance it,
        self._deadlines = deadlines  # or set deadlines
        self.news = bytearray(_NEWS)
        self.s = 0
        self.ms = 0
        self.ticks_ms = ticks_ms
        self.half = mask_of(ticks_diff) + 1 >> 1  # of a period of the ticks
        self.last = ticks_ms() & _LOW_BITS
        if lock is None:
            self.advance = self._advance  # one call less
        self.next_s = 0  # when something has to be looked at: at once
        self.next_ms = 0
        self._asked_s = self._asked_ms = 0

    def advance(self):
        """Bring `s` and `ms` up to now; a thread that comes while another does it goes on."""
        if self._lock.acquire(0):
            try:  # Ctrl-C may come at any place
                self._advance()
            finally:
                self._lock.release()

    _advance = _advance

    def sooner(self, s, ms):
        """Have a deadline at (s, ms) looked at in time."""
        if s > self.next_s or (s == self.next_s and ms >= self.next_ms):
            return
        if self._deadlines is None:
            self._set_next(s, ms)
        else:
            self._deadlines.acquire(1)
            self._asked_s = s  # not as arguments, lest the frame be too large: see `agent`
            self._asked_ms = ms
            self._set_asked()

    def _set_asked(self):
        """Set what the holder of the lock asked for, and release it."""
        try:
            self._set_next(self._asked_s, self._asked_ms)
        finally:
            self._deadlines.release()

    def _set_next(self, s, ms):
        if s < self.next_s or (s == self.next_s and ms < self.next_ms):
            self.next_s = s
            self.next_ms = ms
            self.news[0] = 1

    def now(self):
        """Have all deadlines looked at, at the next turn."""
        self.sooner(-1, 0)

    def left_ms(self):
        """Return the milliseconds until the next deadline, at most; not positive if it has come."""
        s = self.next_s - self.s  # at most _LONGEST_S
        return -1 if s < -1 else s * 1000 + self.next_ms - self.ms

    def due(self):
        """Tell whether a deadline has come, or something else is to be looked at."""
        s = self.s
        return s > self.next_s or (s == self.next_s and self.ms >= self.next_ms)

    def rested(self):
        """Note that all deadlines are looked at now; those that remain tell `sooner` again.

        So one must be in its table before it tells `sooner` for the last time: see `Timed`.
        """
        if self._deadlines is not None:
            self._deadlines.acquire(1)
        try:
            self.next_s = self.s + _LONGEST_S
            self.next_ms = 0
        finally:
            if self._deadlines is not None:
                self._deadlines.release()

    def since(self, s, ms):
        """Return the milliseconds from (s, ms) to now, negative if that is still to come.

        Beyond six days it stops counting, at 2**29 in either direction.
        """
        s = self.s - s
        if s > 536_000:
            return 1 << 29
        if s < -536_000:
            return -(1 << 29)
        return s * 1000 + self.ms - ms
