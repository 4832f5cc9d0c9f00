"""Uptime that does not wrap, made of ticks that do.

`ticks_ms` wraps at 2**30 on a 32-bit board, after 12.4 days, and an integer from 2**30 up would
have to be allocated. So a moment is two small integers: whole seconds, good for 34 years, and the
milliseconds of the running one. Ticks that jump back, as after the sleep of some ports, do not take
it back: it goes on from where it was.
"""

from micropython import const

_MAX_S = const(536_000)  # six days: 2**29 ms
_FAR_MS = const(0x20000000)
_HALF_SHIFT = const(29)  # ticks that are half of 2**30 ms later, or more, have jumped back
_TICKS_MASK = const(0x3FFFFFFF)  # a port's ticks may have more bits
# The uptime is counted in spans of 2**20 ms, which are 1048 s and 576 ms.
_SPAN_BITS = const(20)
_SPAN_MASK = const(0xFFFFF)
_SPAN_S = const(1048)
_SPAN_MS = const(576)
_TICK_SPANS_MASK = const(0x3FF)  # so many are in 2**30 ms


class Clock:
    """`s` and `ms` (0 to 999) are the uptime as of the last `advance()`.

    `advance()` must be called at least once in six days. `deadline_s` and `deadline_ms` are the
    next deadline of all, so that a poll compares one only; `policy.deadlines` sets them. Two flags
    tell the agent of other work: `poll_now` is True until its next poll, `rows_dirty` until all
    rows are sent. Made by `warden.setup.make_clock`, which lists what it has.
    """

    def advance(self):
        """Bring s and ms up to now.

        It needs no lock: threads that are in it together, and one that Ctrl-C ends in the midst,
        find the same time from any `spans` of the last twelve days, and from any `last_ms`.
        """
        last_ms = self.last_ms  # both before the ticks, which then are later
        spans = self.spans
        ms = self.ticks_ms()
        last_ms = ms - last_ms & _TICKS_MASK
        self.last_ms = ms
        if last_ms >> _HALF_SHIFT:
            last_ms = last_ms - _TICKS_MASK - 1  # negative: else the sum may exceed 30 bits
            self.start_ms = self.start_ms + last_ms & _TICKS_MASK
        ms = ms - self.start_ms & _TICKS_MASK
        ms = ms - ((spans & _TICK_SPANS_MASK) << _SPAN_BITS) & _TICKS_MASK
        if ms >> _SPAN_BITS:
            spans += ms >> _SPAN_BITS
            self.spans = spans
            ms &= _SPAN_MASK
        ms += spans * _SPAN_MS
        # Another core that reads between these has a time that is a second past at most.
        self.ms = ms % 1000
        self.s = ms // 1000 + spans * _SPAN_S

    def until_ms(self, s, ms):
        """Return the milliseconds from now until (s, ms), negative if that is past.

        Beyond six days it stops counting, at 2**29 in either direction.
        """
        s -= self.s
        if s > _MAX_S:
            return _FAR_MS
        if s < -_MAX_S:
            return -_FAR_MS
        return s * 1000 + ms - self.ms
