"""The black box: a record of the board's state that survives a reset, and the list of resets.

The record lies in memory that survives a reset, and is brought up to date with each sample; where a
board has none, it is only in the file, and written when something has happened. At the next start
it becomes an entry of the list. A record is, little-endian:

    0  magic and version   1  state      2  bad boots in a row     3  boots (2)
    5  how often the last entry came     6  CRC-16 of these six (2)
    8  uptime in seconds (4)            12  live bytes (2)        14  largest block (2)
    16 loop lag, worst (2)              18  number of the next event (2)
    20 level of the pressure            21  name of the running operation, as far as there is room

Bytes are in units of 256, the lag is in units of 4 ms; 0 of them: not known, or less than that.
What is right by the CRC has survived, and the figures behind it with it: they
have none, for that would be most of what a sample may cost.

The file has an item for the record, for each entry and for each exception, and one for the end: its
length, msgpack, and the CRC-16 of both. It is written under another name and renamed, as a stored
policy is.
"""

import os
from struct import pack_into, unpack_from

from micropython import const

from warden.retained import find_retained
from warden_schema.codec import Reader, put
from warden_schema.frame import crc16
from warden_schema.values import read_value

_FILE = const("warden.resets")  # in the directory that the board starts in
_HEAD = const(0xB1)
_CRC = const(6)  # where parts of the record begin
_FIGURES = const(8)
_EVENT_NUMBER = const(18)
_LEVEL = const(20)
_NAME = const(21)
_MAX_RECORD = const(42)
_MAX_RESETS = const(10)
_MAX_TOLD = const(90)  # bytes of a traceback: the innermost frames
_MAX_EQUAL = const(255)
_MAX_KNOWN = const(3)  # where only a file survives, more of the same are not counted
_GOOD_S = const(180)  # a boot of less is bad if it ends in one of these

# Items of the file.
_RECORD_ITEM = const(0)
_RESET_ITEM = const(1)
_EXCEPTION_ITEM = const(2)
_END_ITEM = const(3)

# States of the record: what would have happened if the board were reset now.
RUNNING = 0
ENDED = 1  # the application returned, or Ctrl-C stopped it
EXCEPTION = 2  # it was ended by one
THRESHOLD = 3  # the agent resets the board
SAFE = 4  # it does not run
_CAUSES = const((None, None, "exception", "threshold", None))
_INFERRED = const(1)  # flags of an entry
_EXPECTED = const(2)


class Reset:
    """An entry of the list: a boot that ended, and why."""

    def __init__(self, number, values):
        self.id = number
        (
            self.cause,  # None where nobody knows
            self.flags,
            self.count,  # of equal ones in a row
            self.boot,  # the last of them
            self.uptime_s,
            self.who,
            self.live,
            self.largest,
            self.lag_ms,
            self.level,
            self.text,
        ) = values

    def values(self):
        """Return what makes a Reset of this again."""
        return (
            self.cause, self.flags, self.count, self.boot, self.uptime_s, self.who,
            self.live, self.largest, self.lag_ms, self.level, self.text,
        )  # fmt: skip


class BlackBox:
    """Reads what the last boot left, and keeps the record of this one.

    is_safe: whether this boot must not run the application.
    """

    def __init__(self, board, crashes):
        # What each sample needs comes first: the last attributes of an object take longest to find.
        self.buf = self.add_to_history = self.events = None
        self.seq = -1  # of the next event, when the record had it last
        self.streak = 0  # of bad boots in a row
        self.copies = False  # whether the record must be copied to where it survives
        self.board = board
        self.crashes = crashes
        self.agent = None
        self.began_ms = board.ticks_ms()
        self.entries = []
        self.chunk = bytearray(256)
        self.store = store = find_retained(board)
        self.writes = 0  # of the file
        self.who = None
        self.state = RUNNING
        self.path = _FILE
        try:
            self.path = os.getcwd().rstrip("/") + "/" + _FILE
        except (AttributeError, OSError):  # nothing is mounted
            pass
        saved = self.load(self.path) or self.load(self.path + ".new")
        in_file = RUNNING if saved is None else saved[1]
        self.has_survived = False
        if store is not None:
            found = store.load()
            is_blank = found == bytes(len(found)) or found == b"\xff" * len(found)
            if is_valid(found):
                saved = found
                self.has_survived = True
                if self.entries:
                    self.entries[-1].count = found[5]  # the file has not each of them
            elif not is_blank and not hasattr(board, "spare_ram"):
                self.store = None  # somebody else's
        self.buf = bytearray(_MAX_RECORD) if self.store is None else store.record
        for place in range(len(self.buf)):
            self.buf[place] = 0
        self.copies = self.store is not None and store.save is not None
        self.name_format = "%ds" % (len(self.buf) - _NAME)
        self.boots = self.count = 0
        if self.note_boot(saved) or in_file in (EXCEPTION, THRESHOLD) or self.state != in_file:
            self.save()

    def load(self, path):
        """Read the file; return its record, None if it is not whole."""
        record = None
        entries = []
        try:
            with open(path, "rb") as file:
                while True:
                    size = file.read(1)[0]
                    item = bytes((size,)) + file.read(size + 2)
                    if crc16(item, 0, size + 1) != item[size + 1] << 8 | item[size + 2]:
                        return None
                    reader = Reader(item)
                    reader.begin(1, size + 1)
                    kind, values = read_value(reader)
                    if kind == _END_ITEM:
                        break
                    if kind == _RECORD_ITEM:
                        record = values if is_valid(values) else None
                    elif kind == _RESET_ITEM:
                        entries.append(Reset(len(entries) + 1, values))
                    elif kind == _EXCEPTION_ITEM:
                        self.crashes.restore(*values)
        except (OSError, IndexError, TypeError, ValueError):  # none, or none of ours
            return None
        self.entries = entries
        return record

    # --- the boot that ended --------------------------------------------------------------------

    def note_boot(self, saved):
        """Add an entry for the boot that left this record, and begin the record of this one.

        saved: None where there is none: the first boot, or one after a loss of power. Return
        whether the list must be written.
        """
        port = self.board.identity()[4]  # as it tells it, None where it does not
        state = RUNNING
        if saved is not None:
            state = saved[1]
            self.streak = saved[2]
            self.boots = saved[3] | saved[4] << 8
            self.count = saved[5]
        self.boots = self.boots + 1 & 0xFFFF
        self.is_safe = state == SAFE
        if self.is_safe:
            self.state = SAFE
        if self.is_safe or (saved is None and port is None and not self.entries):
            self.update_record()
            return False
        cause = _CAUSES[state]
        flags = 0
        if cause is not None:
            flags = _INFERRED if state == EXCEPTION else _INFERRED | _EXPECTED
        elif self.has_survived and (port is None or port == "pwron"):  # it has kept its power
            cause = "soft"
            flags = _INFERRED
        elif self.store is not None and not self.has_survived and port is None:
            cause = "pwron"
            flags = _INFERRED | _EXPECTED
        else:
            cause = port
            if port not in ("wdt", "soft"):
                flags = _EXPECTED
        if state == ENDED:
            flags |= _EXPECTED
        values = [cause, flags, 1, self.boots - 1] + [None] * 7
        if self.has_survived or state in (EXCEPTION, THRESHOLD):
            self.read_record(saved, values, state)
        uptime_s = values[4]
        if flags & _EXPECTED == 0 and cause is not None:
            bad = uptime_s is not None and uptime_s < _GOOD_S
            self.streak = min(self.streak + 1, 9) if bad else 0
        is_new = self.add(values)
        if self.streak >= 3:
            self.is_safe = True
            self.state = SAFE
        self.update_record()
        return is_new

    def read_record(self, saved, values, state):
        """Put the figures of a record into the values of an entry."""
        values[4], live, largest, lag = unpack_from("<IHHH", saved, _FIGURES)
        name = saved[_NAME:].rstrip(b"\x00")
        if name:
            values[5] = str(name, "utf-8")
        values[6] = live * 256 or None
        values[7] = largest * 256 or None
        values[8] = lag * 4 or None
        values[9] = saved[_LEVEL]
        if state == EXCEPTION:
            caught = self.crashes.last_of_application()
            values[10] = caught.text[-_MAX_TOLD:] if caught is not None else None

    def add(self, values):
        """Add an entry, or count the last one again if it is equal; tell whether to write that."""
        entries = self.entries
        last = entries[-1] if entries else None
        if last is None or [last.cause, last.flags, last.who, last.text] != [
            values[0], values[1], values[5], values[10],
        ]:  # fmt: skip
            number = last.id + 1 if last is not None else 1
            self.entries = entries[1 - _MAX_RESETS :] + [Reset(number, values)]
            self.count = 1
            return True
        if self.store is None and self.count >= _MAX_KNOWN:
            return False
        self.count = min(self.count + 1, _MAX_EQUAL)
        values[2] = self.count
        entries[-1] = Reset(last.id, values)
        return self.count in (2, 3, 10, 30, 100)

    # --- this boot ------------------------------------------------------------------------------

    def attach(self, agent):
        """Keep the record up to date with each sample of an agent, and write it before a reset."""
        self.agent = agent
        self.add_to_history = agent.history.add
        agent.history.add = self.update  # which the agent calls with each sample
        if agent.policy is not None:
            self.events = agent.policy.events
        if self.board is not agent.board:
            self.board = agent.board
        save_note = agent.board.save_note

        def save(text):
            self.set_state(THRESHOLD)
            save_note(text)

        agent.board.save_note = save

    def update(self, sample):
        """Add a sample to the history, then bring the record up to it; allocates nothing."""
        self.add_to_history(sample)
        pack_into(
            "<IHHH", self.buf, _FIGURES, sample.uptime_s, (sample.live_bytes or 0) >> 8,
            (sample.largest_free_block_bytes or 0) >> 8, (sample.loop_lag_worst_ms or 0) >> 2,
        )  # fmt: skip
        events = self.events
        if events is not None and events.seq != self.seq:
            self.put_decided()
        if self.streak and sample.uptime_s >= _GOOD_S:
            self.end_streak()
        if self.copies:
            self.store.save(self.buf)

    def put_decided(self):
        """Put the last event's number, the level and the operation that began last into it."""
        buf = self.buf
        self.seq = seq = self.events.seq
        policy = self.agent.policy
        pack_into("<HB", buf, _EVENT_NUMBER, seq & 0xFFFF, policy.pressure.level)
        operations = policy.operations
        name = operations.last_name if operations.places else None
        if name is not self.who:
            self.who = name
            pack_into(self.name_format, buf, _NAME, name or "")

    def end_streak(self):
        """Note that this boot is a good one."""
        if not self.is_safe:
            self.streak = 0
            self.seal()
            if self.store is None:
                self.save()

    def update_record(self):
        """Make the record anew from what this boot knows of itself."""
        agent = self.agent
        if agent is not None:
            agent.clock.advance()
            s = agent.clock.s
        else:
            s = max(0, self.board.ticks_diff(self.board.ticks_ms(), self.began_ms)) // 1000
        pack_into("<I", self.buf, _FIGURES, s)
        if self.events is not None:
            self.put_decided()
        self.seal()

    def seal(self):
        """Put state and counts into the record with their CRC, and it where it survives a reset."""
        buf = self.buf
        pack_into("<BBBHB", buf, 0, _HEAD, self.state, self.streak, self.boots, self.count)
        crc = crc16(buf, 0, _CRC)
        buf[_CRC] = crc >> 8
        buf[_CRC + 1] = crc & 0xFF
        if self.copies:
            self.store.save(buf)

    def set_state(self, state, must_save=True):
        """Note what a reset from now on would mean; must_save: in the file, too."""
        self.state = state
        self.update_record()
        if must_save:
            self.save()

    def note_exception(self, caught):
        """Note that an exception ended the application; write it, unless it is an old tale."""
        is_quick = self.streak < 9 and self.store is None
        self.set_state(EXCEPTION, caught.count <= _MAX_KNOWN or is_quick)

    # --- the file -------------------------------------------------------------------------------

    def save(self):
        """Write the file; one that cannot be written changes nothing."""
        new = self.path + ".new"
        try:
            with open(new, "wb") as file:
                self.write_item(file, _RECORD_ITEM, bytes(self.buf))
                for entry in self.entries:
                    self.write_item(file, _RESET_ITEM, entry.values())
                for caught in self.crashes.rows:
                    if caught is not None:
                        self.write_item(file, _EXCEPTION_ITEM, caught.values())
                self.write_item(file, _END_ITEM, None)
            os.rename(new, self.path)
            self.writes += 1
        except (OSError, AttributeError, MemoryError):  # AttributeError: this firmware has no files
            try:
                os.remove(new)
            except (OSError, AttributeError):
                pass

    def write_item(self, file, kind, value):
        """Write one item; OSError where there is no room."""
        chunk = self.chunk
        end = put(chunk, 1, (kind, value))
        chunk[0] = end - 1
        crc = crc16(chunk, 0, end)
        chunk[end] = crc >> 8
        chunk[end + 1] = crc & 0xFF
        if file.write(memoryview(chunk)[: end + 2]) != end + 2:
            raise OSError(28)  # ENOSPC


def is_valid(record):
    """Tell whether bytes are a record: magic, version and CRC are right."""
    if len(record) < _NAME or record[0] != _HEAD:
        return False
    return crc16(record, 0, _CRC) == record[_CRC] << 8 | record[_CRC + 1]
