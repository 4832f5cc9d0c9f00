"""Counts what the agent writes to flash, by purpose, and holds that to a budget.

Loaded at the first write. A file that is written, or removed, is a write. There are so many at
once, and one more for each quarter of an hour that the board runs, no more than 96 a day. Where
there is a black box its file has the counts, which so go on over boots.
"""

from micropython import const

# As in ids: AGENT_WRITES.
_PURPOSES = const(("resets", "policy", "note", "budget"))
_MAX_WRITES = const(100)  # at once
_REFILL_S = const(900)
_CHANGED = const(1)  # of a row, see `warden.tables`


class Wear:
    """The counts and the budget of a board; `wear` is that of this one.

    written: by purpose, in the order of ids.AGENT_WRITES; left: so many writes are allowed;
    deadline_s: the uptime that earns one more.
    """

    written = [0] * len(_PURPOSES)
    left = _MAX_WRITES
    deadline_s = _REFILL_S
    storage = None  # of the agent, which shows the counts
    row = 0  # of the mount that the agent's files are on

    def join(self, storage):
        """Have the agent's storage show the counts, in the status and to a host."""
        if storage is not self.storage:
            self.storage = storage
            # The uptime may be that of another agent, which began later.
            self.deadline_s = min(self.deadline_s, storage.clock.s + _REFILL_S)
            storage.scan = self.scan
            storage.encode = self.encode
            self.renew()

    def spend(self, kind, uptime_s, count=1):
        """Count writes that are to be made; return False, with none counted, if they are too many.

        kind: the purpose. uptime_s: that has earned writes; 0 while a board crashes again and
        again.
        """
        earned = (uptime_s - self.deadline_s) // _REFILL_S + 1
        if earned > 0:
            self.deadline_s += earned * _REFILL_S
            self.left = min(_MAX_WRITES, self.left + earned)
        if self.left < count:
            return False
        self.left -= count
        self.written[kind] += count
        try:
            self.renew()
        except MemoryError:  # the next one shows it
            pass
        return True

    def renew(self):
        """Put the counts into the status, and have them sent."""
        storage = self.storage
        if storage is None:
            return
        mounts = storage.mounts
        for row in range(len(mounts)):
            mounts[row]["agent_writes"] = None
            if storage.board.path.startswith(mounts[row]["mount"]):
                self.row = row  # the last one: it is inside the others
        if self.row < len(mounts):
            mounts[self.row]["agent_writes"] = dict(zip(_PURPOSES, self.written))
            storage.dirty[self.row] = storage.dirty[self.row] or _CHANGED
            storage.clock.poll_now = storage.clock.rows_dirty = True

    def scan(self):
        """Measure every mount, and return what `Storage.scan` does; show the counts."""
        storage = self.storage
        is_slow = storage.__class__.scan(storage)
        self.renew()
        return is_slow

    def encode(self, row, uplink):
        """Put a mount's message into the uplink, with the counts as one field more."""
        storage = self.storage
        if not storage.__class__.encode(storage, row, uplink):
            return False
        uplink.payload[0] += 1
        uplink.put(self.written if row == self.row and storage.rows else None)
        return True


wear = Wear()
