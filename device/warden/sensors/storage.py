"""Measures storage by mount: at the start, and once a minute, where that takes 20 ms at most.

To count the free blocks of a large littlefs takes seconds: then it is the application that says
when, by `warden.scan_storage()`.
"""

from micropython import const

from warden_schema.codec import cut

_STORAGE = const(4)
_CHANGED = const(1)  # of a row, see `warden.tables`
_SUBSCRIBED = const(2)
_NO_MOUNT = const((None, None, None, None, None))
_MAX_MOUNT_NAME = const(24)  # bytes of UTF-8
_MAX_MOUNTS = const(4)
_SCAN_PERIOD_S = const(60)
_MAX_SCAN_MS = const(20)  # one that took longer is not made again unless it is asked for
_NEVER_S = const(0x3FFFFFFF)
_MAX_BLOCKS = const(0xFFFFFFFF)  # beyond, a file system is considered wrong
_MAX_BLOCK_BYTES = const(0x3FFFFFFF)
_MAX_FIGURE = const(0xFFFE)  # of 16 bits, in the history
_STORAGE_PLACE = const(25)  # among a sample's figures, behind those that are sent
_UNKNOWN = const(-0x3FFFFFFF - 1)
_NOTHING_MOUNTED = const(5)  # reasons, from ids
_IMPOSSIBLE = const(18)


def shift_for(total):
    """Return by how much to shift a figure of up to `total`, so that the history can hold it."""
    shift = 0
    while total >> shift > _MAX_FIGURE:
        shift += 1
    return shift


class Storage:
    """`rows`: (mount, block_bytes, blocks, free_blocks, available_blocks) for up to four mounts.

    A host mirrors them as those of a `tables.Table`; of no mount it is sent one row that says so.
    Made by `warden.setup.make_storage`.

    permille: what of the first mount is in use, None if there is none; scaled: the same in the
    history's scale, or _UNKNOWN. reason: why not, from ids. deadline_s: the uptime of the next
    scan. spent_us: what the scan took, which has a budget of its own; who charges it to the agent
    sets it to 0.
    """

    on_sent = bool  # of a row whose frame has left: there is nothing to note

    def read(self, figures):
        """Put the figure among a sample's, after a scan where one is due.

        A scan allocates, and may take long. Return whether it became known or unknown.
        """
        if self.clock.s >= self.deadline_s:
            self.deadline_s = self.clock.s + _SCAN_PERIOD_S
            try:
                self.scan()
            except Exception:  # in a full heap, say: what is known stands until the next scan
                pass
        # Only what is unknown is negative. A variable for it would be one too many.
        if figures[_STORAGE_PLACE] ^ self.scaled >= 0:
            figures[_STORAGE_PLACE] = self.scaled
            return False
        figures[_STORAGE_PLACE] = self.scaled
        return True

    def scan(self):
        """Measure every mount, however long it takes; return whether that was long."""
        board = self.board
        began_ms = board.ticks_ms()
        rows = []
        mounts = []
        self.reason = _NOTHING_MOUNTED
        is_known = True  # the first mount that has figures
        for mount in sorted(board.mounts()):  # that of the root first
            row = self.measure(mount)
            if row and len(rows) < _MAX_MOUNTS:
                rows.append(row)
                _, block, blocks, free, available = row
                mounts.append(
                    {
                        "mount": mount,
                        "total_bytes": block * blocks,
                        "used_bytes": block * (blocks - free),
                        "available_bytes": block * available,
                        "usage_permille": (blocks - free) * 1000 // blocks,
                    }
                )
            elif row is not None:
                self.reason = _IMPOSSIBLE
                is_known = bool(rows)
        took_ms = board.ticks_diff(board.ticks_ms(), began_ms)
        self.spent_us = took_ms * 1000
        if took_ms > _MAX_SCAN_MS:
            self.deadline_s = _NEVER_S
        self.mounts = mounts
        old = self.rows
        self.rows = rows
        for row in range(max(1, len(rows))):
            if len(rows) != len(old) or (rows and rows[row] != old[row]):
                self.dirty[row] = self.dirty[row] or _CHANGED
                self.clock.poll_now = self.clock.rows_dirty = True
        self.permille = None
        self.scaled = _UNKNOWN
        if rows and is_known:
            _, _, blocks, free, _ = rows[0]
            self.permille = self.mounts[0]["usage_permille"]
            self.scaled = blocks - free >> shift_for(blocks)
        return took_ms > _MAX_SCAN_MS

    def measure(self, mount):
        """Return a mount's row, None where the file system does not say, False: what cannot be."""
        try:
            stat = self.board.statvfs(mount)
            if stat is None:
                return None
            # Sizes count in f_frsize (POSIX statvfs); int(): a driver may have divided.
            block = int(stat[1] or stat[0])
            blocks, free, available = int(stat[2]), int(stat[3]), int(stat[4])
            if 0 < block <= _MAX_BLOCK_BYTES and 0 <= available <= free <= blocks <= _MAX_BLOCKS:
                return (mount, block, blocks, free, available) if blocks else False
        except MemoryError:
            raise
        except Exception:  # a driver written in Python may do anything
            pass
        return False

    def subscribe(self):
        """Mark all mounts for sending, or one row that says that there is none."""
        for row in range(max(1, len(self.rows))):
            self.dirty[row] = _SUBSCRIBED

    def encode(self, row, uplink):
        """Put a mount's message into the uplink."""
        mounts = self.rows
        if row and row >= len(mounts):
            return False
        uplink.begin(_STORAGE, 7)
        uplink.put(row)
        uplink.put(len(mounts))
        for value in mounts[row] if mounts else _NO_MOUNT:
            uplink.put(cut(value, _MAX_MOUNT_NAME) if isinstance(value, str) else value)
        return True
