"""Keeps the agent to its share of the core.

What sampling may take decides how often a sample is taken; what a host may have the agent do is
limited apart, so that no host moves a sample. Shares are permille of the core, which is the same
as microseconds a millisecond.
"""

from micropython import const

from warden.checks import check_int

_MIN_INTERVAL_MS = const(20)
_MAX_INTERVAL_MS = const(600_000)
_MAX_STRETCHED_MS = const(60_000)  # the wanted interval may be longer
_HOST_BURST_MS = const(2000)  # unused share of this long a host may use at once
_SNAPSHOT_MS = const(2000)  # share of this long a new host gets in advance,
_SNAPSHOT_PERIOD_S = const(60)  # no more often than this
_MAX_DEBT_MS = const(375)  # half a second, of which its share is three quarters
_MAX_COST_US = const(8_000_000)  # so that nothing exceeds 30 bits
_MAX_RATE_PERIOD_MS = const(60_000)  # in which 2**16 bytes cannot have gone unseen, at 1 kB/s
_UNKNOWN = const(-0x3FFFFFFF - 1)
# Places among a sample's figures.
_OVERHEAD_FIGURE = const(4)
_LINK_FIGURE = const(8)
_INTERVAL_FIGURE = const(20)
_WANTED_FIGURE = const(22)
_BUDGET_FIGURE = const(23)
_MAX_RISE = const(64)  # a mean may double, and rise by so much, at a time


class Governor:
    """Sets `interval_ms` before each sample; `host_us`: time that may be spent for a host.

    Made by `warden.setup.make_governor`, which lists what else it has.

    interval_ms: 0 while monitoring is stopped; wanted_interval_ms: what was requested.
    """

    def set(self, interval_ms, budget_permille):
        """Sample every interval_ms (20 to 600 000), within a budget (1 to 1000; None: as it is).

        ValueError or TypeError for what makes no sense.
        """
        if budget_permille is None:
            budget_permille = self.budget_permille
        check_int("interval_ms", interval_ms, _MIN_INTERVAL_MS, _MAX_INTERVAL_MS)
        check_int("budget_permille", budget_permille, 1, 1000)
        self.budget_permille = budget_permille
        self.wanted_interval_ms = self.interval_ms = interval_ms

    def refill_host(self, ms):
        """Add a host's share of the last `ms` milliseconds: three quarters of the budget.

        With those that samples may take, and what it saved up, the agent stays below twice that.
        """
        budget = self.budget_permille
        ms = max(0, min(ms, _HOST_BURST_MS))
        if self.host_us < budget * _HOST_BURST_MS:
            self.host_us = min(self.host_us + ms * budget * 3 // 4, budget * _HOST_BURST_MS)

    def allow_snapshot(self, s):
        """Give a host that subscribes at uptime s time in advance, for its first full state."""
        if s >= self.snapshot_s:
            self.snapshot_s = s + _SNAPSHOT_PERIOD_S
            self.host_us += self.budget_permille * _SNAPSHOT_MS

    def charge_host(self, us):
        """Charge a host for `us` of work. It waits half a second for that at most.

        What took longer was another thread, say, that had the core meanwhile.
        """
        self.host_us = max(self.host_us - us, -_MAX_DEBT_MS * self.budget_permille)
        self.host_spent_us += us

    def host_wait_ms(self):
        """Return the milliseconds until time may be spent for a host again."""
        return 0 if self.host_us > 0 else 2 - self.host_us * 4 // (3 * self.budget_permille)

    def update(self, sample, sent):
        """Put the agent's cost since the last sample into this one; set the next interval.

        sent: bytes on the wire, modulo 2**16, or None without a link. Allocates nothing.
        """
        figures = sample.figures
        figures[_LINK_FIGURE] = _UNKNOWN
        if sample.period_ms > 0:
            us = max(min(self.spent_us, _MAX_COST_US), 0)
            figures[_OVERHEAD_FIGURE] = min(
                (us + (sample.period_ms >> 1)) // sample.period_ms, 1000
            )
            us -= self.sample_us + self.host_spent_us
            us = (us << 6) // sample.period_ms if us > 0 else 0
            self.other_mean = self.smooth(self.other_mean, us)
            if sent is not None and sample.period_ms < _MAX_RATE_PERIOD_MS:
                figures[_LINK_FIGURE] = (sent - self.sent & 0xFFFF) * 1000 // sample.period_ms
        self.sent = sent or 0
        if self.interval_ms:
            # The interval at which samples stay within their part of the budget: a quarter is a
            # host's and what cannot be timed; of the rest samples get what the agent's other work
            # leaves, a third at least: that work is not less with fewer samples.
            us = min(self.sample_us, _MAX_COST_US)
            if us:
                needed = self.sample_mean_us  # a variable of its own would be one too many
                if needed <= 0:  # at the start: of two samples one is of the agent alone
                    needed = min(-needed or us, us)
                self.sample_mean_us = self.smooth(needed, us)
            left = self.budget_permille * 48  # three quarters, in 64ths of a permille
            left = max(left // 3, left - self.other_mean)
            needed = (self.sample_mean_us << 6) // left + 1
            if not 0 <= self.interval_ms - needed <= self.interval_ms >> 2:
                needed = min(needed + (needed >> 3), _MAX_STRETCHED_MS)
                self.interval_ms = max(needed, self.wanted_interval_ms)
                if not self.wanted_interval_ms:  # another thread has stopped monitoring meanwhile
                    self.interval_ms = 0
        self.spent_us = self.sample_us = self.host_spent_us = 0
        figures[_INTERVAL_FIGURE] = self.interval_ms
        figures[_WANTED_FIGURE] = self.wanted_interval_ms
        figures[_BUDGET_FIGURE] = self.budget_permille

    def smooth(self, mean, value):
        """Return a moving mean with one more value, which counts a quarter and is capped.

        One sample during which something else took the core does not change the interval by much.
        """
        return mean + (min(value, 2 * mean + _MAX_RISE) - mean) // 4
