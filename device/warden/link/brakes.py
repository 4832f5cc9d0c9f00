"""Makes those wait who failed to prove a key: a pause for each address, which doubles.

Those that proved one before go before all others, however many these are.
"""

from micropython import const

_MAX_ADDRESSES = const(4)
_FIRST_MS = const(500)
_LAST_MS = const(5000)
_FORGIVEN_MS = const(60_000)  # after so long without a failure the pause is short again


class Brakes:
    """Remembers the last four addresses that failed, and the last four that proved a key.

    agent: has ticks_ms and ticks_diff.
    """

    def __init__(self, agent):
        self.agent = agent
        self.proved = []
        self.rows = []  # [address, when it failed, its pause in ms]; the last one failed last

    def find(self, address):
        """Return the row of an address, or None."""
        for row in self.rows:
            if row[0] == address:
                return row
        return None

    def is_paused(self, address):
        """Tell whether an address still has to wait."""
        row = self.find(address)
        if row is None:
            return False
        agent = self.agent
        return 0 <= agent.ticks_diff(agent.ticks_ms(), row[1]) < row[2]

    def fail(self, address):
        """Note a failure: the pause begins, twice as long as the last one."""
        if address in self.proved:
            self.proved.remove(address)
        row = self.find(address)
        now = self.agent.ticks_ms()
        if row is None:
            row = [address, now, 0]
            if len(self.rows) == _MAX_ADDRESSES:
                self.rows.pop(0)
        else:
            self.rows.remove(row)
            if not 0 <= self.agent.ticks_diff(now, row[1]) < _FORGIVEN_MS:
                row[2] = 0
        row[1] = now
        row[2] = min(row[2] * 2 or _FIRST_MS, _LAST_MS)
        self.rows.append(row)

    def clear(self, address):
        """Note that an address has proved a key: it waits no more."""
        row = self.find(address)
        if row is not None:
            self.rows.remove(row)
        if address in self.proved:
            self.proved.remove(address)
        elif len(self.proved) == _MAX_ADDRESSES:
            self.proved.pop(0)
        self.proved.append(address)
