"""Keeps what ends on a board: exceptions with their traceback, and a record that survives a reset.

Loaded when the application sets it up, with `warden.run()` or the first `warden.exceptions()`; what
is needed once only is in `crash_setup` and `last_boot`. What it takes to keep an exception when no
memory is left is made then.

The record lies in memory that survives a reset, and is brought up to date with each sample; where a
board has none, it is only in the file, and written when something has happened. At the next start
it becomes an entry of the list of resets. A record is, little-endian:

    0  magic and version   1  state      2  bad boots in a row     3  boots (2)
    5  how often the last entry came     6  CRC-16 of these six (2)
    8  uptime in seconds (4)            12  live bytes (2)        14  largest block (2)
    16 loop lag, worst (2)              18  number of the next event (2)
    20 level of the pressure            21  name of the running operation, or of what the watchdog
                                            found to hang or be late, as far as there is room
    42  in spare RAM: traceback of the exception that ended the application (148)

Bytes are in units of 256, the lag is in units of 4 ms; 0 of them: not known, or less than that.
What is right by the CRC has survived, and the figures behind it with it: they
have none, for that would be most of what a sample may cost.

The file has an item for the record, for each exception and each reset, one for what was written and
how long nothing went wrong, and one for the end: its length, msgpack, and the CRC-16 of both. It is
written under another name and renamed, as a stored policy is. Where the file system is full, record
and counts are written over those of a small file that was made at the first boot, "….last": which
of the two is newer is known by the counts.
"""

import io
import os
import sys
from struct import pack_into

from micropython import const

from warden.wear import wear
from warden_schema.codec import cut, put
from warden_schema.loops import crc16

# Places among a sample's figures.
_UPTIME_S = const(0)
_WORST_LAG_FIGURE = const(5)
_LIVE_FIGURE = const(7)
_LARGEST_FIGURE = const(13)
_HEAD = const(0xB1)
_CRC = const(6)  # where parts of the record begin
_FIGURES = const(8)
_EVENT_NUMBER = const(18)
_NAME = const(21)
_TRACEBACK = const(42)
_MAX_KNOWN = const(3)  # of the same exception, more are not written
_MAX_STREAK = const(9)  # of bad boots, more are not counted

_RESETS_WRITE = const(0)  # purposes of `wear`
_NOTE_WRITE = const(2)

# States of the record: what it would mean if the board were reset now. The others: 0 the
# application runs, 1 it returned or Ctrl-C stopped it, 4 it does not run, 5 it runs and the
# hardware watchdog is on, 6 which is not fed any more, 7 the agent resets the board for a hang.
_BY_EXCEPTION = const(2)  # it was ended by one
_BY_THRESHOLD = const(3)  # the agent resets the board

_EXCEPTION = const(18)  # kinds of messages
_RESTART = const(19)
_MAX_EXCEPTIONS = const(5)
_MAX_TEXT = const(148)  # bytes of a traceback; the innermost frames are the last ones
_MAX_WORD = const(48)  # bytes of a function's name or an error's text
_MAX_FILE = const(32)  # bytes of a file's name: its end
_MAX_LINE = const(72)  # bytes of the error itself, which may have several words
_LEFT_OUT = const(-1)  # what is left of a line that is not kept
_ROOM_BYTES = const(35)  # so many bytes go at once to make room
_MAX_NAME = const(24)
_MAX_ID = const(0x3FFFFFFF)
_TASK = const(0)  # of ids.EXCEPTION_KINDS
_CALLBACK = const(2)
_APPLICATION = const(3)
_HANG = const(4)

# Places in the row of an exception.
_ID_PLACE = const(0)  # the order in which they came last
_KIND = const(1)  # a place in ids.EXCEPTION_KINDS
_NAMED = const(2)
_COUNT = const(3)
_UPTIME = const(4)  # of the last one, in seconds; None unless an agent ran
_TEXT_PLACE = const(5)  # bytes: its traceback


class Crashes(io.IOBase):
    """`keep()` keeps an exception; a stream, for a traceback is printed to it.

    rows: those of the last five exceptions, then the last ten resets, see `last_boot`; is_safe:
    whether this boot must not run the application. current: the one of this board, None before it
    is set up; made by `crash_setup.make_crashes`, which lists what it has.
    """

    current = None
    # Bytes of `reserve`: for a row, its text, and what is garbage while it is written; or an item.
    room = 640 if sys.maxsize >> 32 else 320

    # --- exceptions -----------------------------------------------------------------------------

    def write(self, text):
        """Add what `sys.print_exception` writes: each word by itself, as py/obj.c has it.

        It is shortened to `file:line function` a line. The frames of asyncio and of the agent are
        left out; of a long traceback the end is held.
        """
        count = len(text)
        at = 0
        if self.left < 0:
            if text == b"\n":
                self.left = _MAX_LINE
            return count
        if self.in_frame:  # it is a file's name
            self.in_frame = False
            at = max(0, count - _MAX_FILE)
            if b"asyncio/" in text or b"/warden/" in text or text.startswith(b"warden/"):
                self.left = _LEFT_OUT
                self.early = self.early or not self.length
                return count
        elif text == b'  File "' or text == b"Traceback (most recent call last):\n":
            self.in_frame = count < _MAX_FILE
            self.left = _MAX_TEXT
            return count
        elif text == b'", line ':
            text = b":"
        elif text == b", in ":
            text = b" "
        end = min(len(text), at + min(_MAX_WORD, self.left))
        while at < end < len(text) and text[end] & 0xC0 == 0x80:  # not inside a character
            end -= 1
        self.left -= end - at
        if text == b"\n":
            end = 1
            self.left = _MAX_LINE
        buf = self.text
        length = self.length
        for place in range(at, end):
            if length == _MAX_TEXT:
                self.early = False  # which function is the first one is not known any more
                length -= _ROOM_BYTES
                for to in range(length):
                    buf[to] = buf[to + _ROOM_BYTES]
            buf[length] = text[place]
            length += 1
        self.length = length
        return count

    def keep(self, error, kind, name):
        """Keep an exception that ended something, and post its event; see `Events.report`.

        Return its row, None if there was no memory. Of a hang the watchdog posts the event.
        """
        count = row = None
        subject = name
        with self.lock:
            self.reserve = None
            try:
                self.length = 0
                self.left = _MAX_LINE
                self.in_frame = self.early = False
                try:
                    sys.print_exception(error, self)
                except Exception:  # of the application's own class: it cannot be printed
                    self.write(type(error).__name__.encode())
                    self.write(b"\n")
                row = self.find(kind, name)
                count = row[_COUNT]
                if kind != _CALLBACK:
                    subject = row[_NAMED]
            except Exception:  # no memory, or not UTF-8; there is its event
                pass
            self.reserve = self.text  # to write with: what it had is in the row
            if kind == _APPLICATION:
                self.note_fault(row, _BY_EXCEPTION)
            try:
                self.reserve = bytearray(self.room)
            except MemoryError:
                pass
        events = self.events
        if events is not None and kind != _HANG:
            events.__class__.report(events, error, kind, subject, count)
        return row

    def find(self, kind, name):
        """Return the row of an exception, counted once more; the one that came first makes room."""
        place = 0
        while place < self.length and self.text[place] & 0xC0 == 0x80:  # inside a character
            place += 1
        text = bytes(memoryview(self.text)[place : self.length])
        if kind == _CALLBACK:
            name = None
        elif kind == _TASK and self.early and name is None and text.count(b"\n") > 1:
            name = cut(text[: text.find(b"\n")].decode().split(" ")[-1], _MAX_NAME)
        rows = self.rows
        place = 0
        for at in range(_MAX_EXCEPTIONS):
            row = rows[at]
            if row is None or (
                row[_KIND] == kind and row[_TEXT_PLACE] == text and row[_NAMED] == name
            ):
                place = at
                break
            if row[_ID_PLACE] < rows[place][_ID_PLACE]:
                place = at
        else:
            row = None
        if row is None:
            row = [0, kind, name, 0, None, text]
        rows[place] = row
        row[_ID_PLACE] = self.next_id
        self.next_id = self.next_id % _MAX_ID + 1
        row[_COUNT] += 1
        row[_UPTIME] = None if self.agent is None else self.uptime_s()
        if self.table is not None:
            self.table.mark_dirty(place)
        return row

    def encode(self, row, uplink):
        """Put an exception, or an entry of the list of resets, into the uplink; see `Table`."""
        entry = self.rows[row]
        if entry is None:
            return False
        count = len(entry) + 1
        if row < _MAX_EXCEPTIONS:
            uplink.begin(_EXCEPTION, count)
        else:
            uplink.begin(_RESTART, count + 1)
            row -= _MAX_EXCEPTIONS
            uplink.put(row)
            row += 1
        uplink.put(row)
        for value in entry:
            uplink.put(value)
        return True

    # --- the record -----------------------------------------------------------------------------

    def update(self, sample):
        """Add a sample to the history, then bring the record up to it; allocates nothing."""
        self.add(sample)
        # What is not known has zeros in its 16 bits. `figures` would be one variable too many.
        pack_into(
            "<IHHH", self.buf, _FIGURES, sample.figures[_UPTIME_S],
            sample.figures[_LIVE_FIGURE] >> 8 & 0xFFFF,
            sample.figures[_LARGEST_FIGURE] >> 8 & 0xFFFF,
            sample.figures[_WORST_LAG_FIGURE] >> 2 & 0xFFFF,
        )  # fmt: skip
        if self.events is not None and self.events.seq != self.seq:
            self.put_last()
        elif self.copy is not None:
            self.copy(self.buf)
        self.board.facts["crash_free_s"] = self.live_s + sample.figures[_UPTIME_S]
        if self.bad and sample.figures[_UPTIME_S] >= self.end_s and not self.is_safe:
            self.bad = 0  # this boot is a good one
            self.enter(self.state)
        elif self.deadline_s and sample.figures[_UPTIME_S] >= self.deadline_s:
            self.commit()

    def put_last(self):
        """Put the last event's number, the level and the operation that began last into it."""
        name = self.subject
        if self.events is not None:
            self.seq = seq = self.events.seq
            policy = self.agent.policy
            pack_into("<HB", self.buf, _EVENT_NUMBER, seq & 0xFFFF, policy.pressure.level)
            if name is None and policy.operations.places:
                name = policy.operations.last_name
        pack_into(self.format, self.buf, _NAME, name or "")
        if self.copy is not None:
            self.copy(self.buf)

    def uptime_s(self):
        """Return the seconds of this boot."""
        if self.agent is not None:
            clock = self.agent.clock
            clock.advance()
            return clock.s
        board = self.board
        return max(0, board.ticks_diff(board.ticks_ms(), self.start_ms)) // 1000

    def enter(self, state, commit=True):
        """Note what a reset from now on would mean; commit: in the file, too."""
        self.state = state
        buf = self.buf
        pack_into("<BBBHB", buf, 0, _HEAD, state, self.bad, self.boots, self.count)
        crc = crc16(buf, 0, _CRC)
        buf[_CRC] = crc >> 8
        buf[_CRC + 1] = crc & 0xFF
        pack_into("<I", buf, _FIGURES, self.uptime_s())
        self.put_last()
        if commit:
            self.commit()

    def note_fault(self, row, state):
        """Note what ended the application; write it, unless the same came often.

        row: that of its exception; None where nobody knows, or there was no memory for one.
        """
        save = self.bad < _MAX_STREAK and not self.backed
        if row is not None:
            save = save or row[_COUNT] <= _MAX_KNOWN
            if len(self.buf) > _TRACEBACK:
                pack_into("148s", self.buf, _TRACEBACK, row[_TEXT_PLACE])
        self.enter(state, save)

    def save_note(self, text):
        """Save a note over a reset, which the agent is about to make, and that in the record."""
        s = 0 if self.bad else self.uptime_s()
        can_write = wear.spend(_NOTE_WRITE, s, 2)  # and its removal
        self.enter(_BY_THRESHOLD)
        if can_write:
            board = self.board
            board.__class__.save_note(board, text)

    # --- the file -------------------------------------------------------------------------------

    def commit(self):
        """Write the file; one that cannot be written changes nothing.

        What the budget does not allow is written once it does, if the boot lasts so long. While the
        board keeps crashing, its uptime earns nothing.
        """
        self.deadline_s = 0
        new = ""
        try:
            if not wear.spend(_RESETS_WRITE, 0 if self.bad else self.uptime_s()):
                self.deadline_s = wear.deadline_s
                return
            self.file_room = None  # what follows takes it
            new = self.path + ".new"
            try:
                with open(new, "wb") as file:
                    self.put_all(file, self.rows)
                os.rename(new, self.path)
            except OSError:  # the file system is full: this one is there, and does not grow
                with open(self.path + ".last", "r+b") as file:
                    self.put_all(file, ())
                os.remove(new)
        except Exception:  # no memory for it, or this firmware has no files
            try:
                os.remove(new)
            except Exception:
                pass
        try:
            self.file_room = bytearray(self.file_bytes)
        except MemoryError:
            pass

    def put_all(self, file, rows):
        """Write the record, rows and counts."""
        self.put(file, bytes(self.buf))
        for row in rows:
            if row is not None:
                self.put(file, row)
        self.put(file, (wear.written, wear.left, self.live_s))
        self.put(file, None)

    def put(self, file, value):
        """Write one item; OSError where there is no room."""
        spare = self.reserve
        end = put(spare, 1, value)
        spare[0] = end - 1
        crc = crc16(spare, 0, end)
        spare[end] = crc >> 8
        spare[end + 1] = crc & 0xFF
        if file.write(memoryview(spare)[: end + 2]) != end + 2:
            raise OSError(28)  # ENOSPC
