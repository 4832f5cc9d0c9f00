"""Keeps the agent to its budget: it stretches the interval between samples, and shrinks it again.

The budget is a share of the core. What a sample costs, divided by the interval, must fit into what
the rest of the agent (reading the link, answering it) leaves of it, a quarter of it at least: that
rest does not get smaller when samples are taken more seldom. A 16th of the budget is kept for what
the agent cannot time, because it is before its first look at the clock or after its last: the call
of a poll, and its return.
"""

from micropython import const

# Places in the sample's words: see `plain.renew`, which governs.
_BUDGET = const(31)  # permille
_WANTED = const(32)  # ms, what was asked for
_INTERVAL = const(33)  # ms, what is kept; 0: no samples
# 34: µs of a sample, a moving mean; 35: what else the agent costs, in 64ths of a permille, another


class Governor:
    """What it knows is in `values`, array("i"); the properties are for those who ask seldom."""

    def __init__(self, values, budget_permille):
        self.state = values
        values[_BUDGET] = check_budget(budget_permille)

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


def check_budget(permille):
    """Return a budget, 1 to 1000 permille of the core; raise ValueError or TypeError for others."""
    if not isinstance(permille, int) or isinstance(permille, bool):
        raise TypeError("budget_permille must be an int")
    if not 1 <= permille <= 1000:
        raise ValueError("budget_permille must be 1 to 1000")
    return permille
