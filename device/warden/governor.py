"""Keeps the agent to its budget: it stretches the interval between samples, and shrinks it again.

The budget is a share of the core. What a sample costs, divided by the interval, must fit into what
the rest of the agent (reading the link, answering it) leaves of it, a quarter of it at least: that
rest does not get smaller when samples are taken more seldom.
"""

from micropython import const

_MAX_STRETCHED_MS = const(60_000)
_SMOOTH_SHIFT = const(2)  # a sample counts a quarter in the means
_STEP = const(64)  # so that a mean of 0 can rise
_REST_SHIFT = const(6)
_MAX_COST_US = const(8_000_000)  # so that nothing exceeds 30 bits
_MAX_BUSY_US = const(16_000_000)


class Governor:
    """`interval_ms` is what is kept, `wanted_ms` what was asked for; 0: no samples."""

    def __init__(self, budget_permille):
        self.budget_permille = check_budget(budget_permille)
        self.wanted_ms = 0
        self.interval_ms = 0
        self.cost_us = 0  # of a sample, a moving mean
        self._rest = 0  # what else the agent costs, in 64ths of a permille, a moving mean
        self._warm = False  # the first sample makes what later ones find made

    def want(self, interval_ms):
        """Begin with this interval; what a sample costs is known from before."""
        self.wanted_ms = self.interval_ms = interval_ms

    def sampled(self, cost_us, busy_us, period_ms):
        """Take what a sample cost, and the agent's whole time in the period_ms since the last one.

        Allocates nothing.
        """
        if not self._warm:
            self._warm = True
            return
        if cost_us > _MAX_COST_US:
            cost_us = _MAX_COST_US
        mean = self.cost_us
        if mean:
            cost_us = _bounded(cost_us, mean)
            mean += (cost_us - mean) >> _SMOOTH_SHIFT
        else:
            mean = cost_us
        self.cost_us = mean
        interval = self.interval_ms
        if not interval:
            return
        if period_ms > 0:
            if busy_us > _MAX_BUSY_US:
                busy_us = _MAX_BUSY_US
            rest = 0
            if busy_us > mean:
                rest = (busy_us - mean << _REST_SHIFT) // period_ms  # µs / ms: permille
            mean = self._rest
            self._rest = mean + ((_bounded(rest, mean) - mean) >> _SMOOTH_SHIFT)
        needed = self._needed()
        if needed > interval or needed < interval - (interval >> 2):
            # What was asked for may be longer than any stretched one.
            interval = min(needed + (needed >> 3), _MAX_STRETCHED_MS)
            self.interval_ms = max(self.wanted_ms, interval)

    def _needed(self):
        """Return the shortest interval that keeps to the budget."""
        budget = self.budget_permille
        left = (budget << _REST_SHIFT) - self._rest
        least = budget << (_REST_SHIFT - 2)
        if left < least:
            left = least
        return (self.cost_us << _REST_SHIFT) // left + 1


def _bounded(value, mean):
    """Return what a moving mean takes of a value.

    One that is high may be another thread's or an interrupt's doing: it counts as twice the mean
    at most. If they go on, the mean follows soon.
    """
    most = 2 * mean + _STEP
    return most if value > most else value


def check_budget(permille):
    """Return a budget, 1 to 1000 permille of the core; raise ValueError or TypeError for others."""
    if not isinstance(permille, int) or isinstance(permille, bool):
        raise TypeError("budget_permille must be an int")
    if not 1 <= permille <= 1000:
        raise ValueError("budget_permille must be 1 to 1000")
    return permille
