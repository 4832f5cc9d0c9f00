"""Keeps the agent to its budget: it stretches the interval between samples, and shrinks it again.

The budget is a share of the core. What a sample costs, divided by the interval, must fit into what
the rest of the agent (reading the link, answering it) leaves of it, a quarter of it at least: that
rest does not get smaller when samples are taken more seldom. A 64th of the budget is kept for what
the agent cannot time, because it is before its first look at the clock or after its last: the call
of a poll, and its return.
"""

from array import array

from micropython import const

from warden_schema import loops

_MAX_COST_US = const(8_000_000)  # so that nothing exceeds 30 bits
_MAX_BUSY_US = const(16_000_000)

# Places in `state`.
_BUDGET = const(0)  # permille
_WANTED = const(1)  # ms, what was asked for
_INTERVAL = const(2)  # ms, what is kept; 0: no samples
_COST_US = const(3)  # µs of a sample, a moving mean
_REST = const(4)  # what else the agent costs, in 64ths of a permille, a moving mean
_WORDS = const(5)


class Governor:
    """`state` is array("i"); the properties are for those who ask seldom."""

    def __init__(self, budget_permille):
        self.state = array("i", [0] * _WORDS)
        self.state[_BUDGET] = check_budget(budget_permille)
        self._warm = False  # the first sample makes what later ones find made

    @property
    def budget_permille(self):
        """Of the core, for the agent."""
        return self.state[_BUDGET]

    @property
    def wanted_ms(self):
        """What was asked for."""
        return self.state[_WANTED]

    @property
    def interval_ms(self):
        """What is kept; 0: no samples."""
        return self.state[_INTERVAL]

    def want(self, interval_ms, budget_permille=None):
        """Begin with this interval; what a sample costs is known from before."""
        if budget_permille is not None:
            self.state[_BUDGET] = check_budget(budget_permille)
        self.state[_WANTED] = self.state[_INTERVAL] = interval_ms

    def sampled(self, cost_us, busy_us, period_ms):
        """Take what a sample cost, and the agent's whole time in the period_ms since the last one.

        Allocates nothing.
        """
        if not self._warm:
            self._warm = True
            return
        if cost_us > _MAX_COST_US:
            cost_us = _MAX_COST_US
        if busy_us > _MAX_BUSY_US:
            busy_us = _MAX_BUSY_US
        loops.govern(self.state, cost_us, busy_us, period_ms)


def check_budget(permille):
    """Return a budget, 1 to 1000 permille of the core; raise ValueError or TypeError for others."""
    if not isinstance(permille, int) or isinstance(permille, bool):
        raise TypeError("budget_permille must be an int")
    if not 1 <= permille <= 1000:
        raise ValueError("budget_permille must be 1 to 1000")
    return permille
