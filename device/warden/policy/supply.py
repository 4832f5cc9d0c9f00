"""What there is to be granted, by measurement, less the reserve."""

from micropython import const

_LEASE_OF_MEMORY = const(0)  # kinds of a lease
_LEASE_OF_STORAGE = const(1)
_LEASE_OF_CPU_TIME = const(2)
_CPU_LIMIT_PERMILLE = const(900)
_UNLIMITED = const(0x3FFFFFFF)
_COLLECT_PAUSE = const(20)  # to look before a refusal, at most a twentieth of the core goes


class Supply:
    """Measures at the moment of a decision."""

    def __init__(self, board, memory, sample, limits):
        self._board = board
        self._memory = memory
        self._sample = sample
        self._limits = limits

    def available(self, kind, mount):
        """Return bytes, permille of a core or bytes a second; 0 for a mount that is not there."""
        if kind == _LEASE_OF_MEMORY:
            return self._memory.free_now() - self._reserve(self._memory.total)
        if kind == _LEASE_OF_STORAGE:
            stat = self._board.statvfs(mount)  # now: what was written since the last scan counts
            if stat is None:
                return 0
            reserve = stat[2] * self._limits.memory_reserve_permille // 1000
            return (stat[4] - reserve) * (stat[1] or stat[0])
        if kind == _LEASE_OF_CPU_TIME:
            return _CPU_LIMIT_PERMILLE - (self._sample.cpu_permille or 0)
        return _UNLIMITED

    def _reserve(self, total):
        return total // 1000 * self._limits.memory_reserve_permille

    def most(self):
        """Return the most memory that could ever be granted, in bytes."""
        return self._memory.total - self._reserve(self._memory.total)

    def largest_block(self):
        """Return the largest free block in bytes, None where nothing tells it."""
        return self._memory.largest_now()

    def collect(self):
        """Collect garbage, if it was not done just now; return whether it was."""
        return self._memory.collect(_COLLECT_PAUSE)

    def collect_in_ms(self):
        """Return the ms until collect() may do something again."""
        return self._memory.collect_in_ms(_COLLECT_PAUSE)
