"""Storage per mount, seldom: counting the free blocks of a large littlefs takes seconds."""

from micropython import const

_MAX_MOUNTS = const(4)
_PERIOD_S = const(60)
_PAUSE = const(500)  # after a scan of n ms, none for 500 n: a fifth of a percent of the core


class Storage:
    """`rows`: [mount, block_bytes, blocks, free_blocks, available_blocks] for each mount."""

    def __init__(self, board, clock):
        self._board = board
        self._clock = clock
        self.due_s = 0  # when the next scan is
        self.rows = []
        self.cost_ms = 0

    def due(self):
        """Tell whether it is time for a scan."""
        return self._clock.s >= self.due_s

    def read(self):
        """Scan all mounts; return the bit mask of the rows that changed, all if their number did.

        Allocates, and may take long: not part of the tick's steady state.
        """
        board = self._board
        began = board.ticks_ms()
        rows = [row for row in [self._scan(mount) for mount in board.mounts()] if row]
        rows = rows[:_MAX_MOUNTS]
        self.cost_ms = board.ticks_diff(board.ticks_ms(), began)
        self.due_s = self._clock.s + max(_PERIOD_S, self.cost_ms * _PAUSE // 1000)
        if len(rows) == len(self.rows):
            changed = 0
            for index, row in enumerate(rows):
                if row != self.rows[index]:
                    changed |= 1 << index
        else:
            changed = (1 << max(1, len(rows))) - 1
        self.rows = rows
        return changed

    def _scan(self, mount):
        stat = self._board.statvfs(mount)
        if stat is None or not stat[2]:
            return None
        block = stat[1] or stat[0]  # sizes count in f_frsize (POSIX statvfs)
        return [mount, block, stat[2], stat[3], stat[4]]
