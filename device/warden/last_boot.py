"""What the boot before this one left: its record becomes an entry of the list of resets.

Loaded once in a boot, and then let go.
"""

import gc
import os
import sys
from struct import unpack_from

from micropython import const

from warden.board import module
from warden.wear import wear
from warden_schema.codec import Reader
from warden_schema.loops import crc16

_MAX_RECORD = const(42)  # bytes
_MAX_TRACEBACK = const(148)  # which follow it in spare RAM
_MAX_EXCEPTIONS = const(5)  # rows of them; those of resets follow
_MAX_RESETS = const(10)
_RESET_FIELDS = const(11)
_WEAR_FIELDS = const(3)
_RESETS_WRITE = const(0)  # a purpose of `wear`
_MAX_TOLD = const(90)  # bytes of a traceback: the innermost frames
_MAX_EQUAL = const(255)
_MAX_FREE_S = const(0x3FFFFFFF)
_MAX_KNOWN = const(3)  # where only a file survives, more of the same are not counted
_MAX_STREAK = const(9)  # of bad boots, more are not counted
_BAD_BOOTS = const(3)  # in a row: then the next one is a safe one
_GOOD_S = const(180)  # a boot of less is bad if it ends in one of these
_LONG_S = const(3600)  # the crash-free time of such a boot is worth a write
_REFILL_S = const(900)  # of uptime earn a write, as in `wear`
_MAX_WRITES = const(100)

# As in `crashes`: parts of the record, states.
_HEAD = const(0xB1)
_CRC_END = const(8)
_FIGURES = const(8)
_LEVEL = const(20)
_NAME = const(21)
_RUNNING = const(0)
_HAS_ENDED = const(1)
_BY_EXCEPTION = const(2)
_BY_THRESHOLD = const(3)
_SAFE = const(4)
_WATCHED = const(5)
_HUNG = const(7)
_NOTED = const((2, 3, 7))  # states in which the record was brought up to date, in the file, too
_CAUSES = const((None, None, "exception", "threshold", None, None, None, "hang"))  # by state
_WORDS = const(("pwron", "soft", "wdt"))  # of ports; not as names, which would stay
_APPLICATION_KIND = const(3)  # of ids.EXCEPTION_KINDS
_HANG_KIND = const(4)

# An entry is a list: cause (None where nobody knows), flags, count of equal ones in a row, boot
# (the last of them), uptime_s, who, live bytes, largest block, lag_ms, level, text.
_INFERRED = const(1)  # flags
_EXPECTED = const(2)
_CAUSE = const(0)  # places
_FLAGS = const(1)
_EQUAL = const(2)
_UPTIME = const(4)
_WHO = const(5)
_LIVE = const(6)
_TEXT = const(10)


class LastBoot:
    """Reads what is left of the last boot, and puts what follows into the Crashes of this one."""

    def __init__(self, crashes):
        self.crashes = crashes
        self.rows = []  # of the list of resets, the newest last
        self.board = crashes.board
        crashes.path = self.board.path + ".resets"
        self.has_held = False  # whether memory has
        self.writes = 0  # as the newest file counts them
        self.backed = self.load(crashes.path) or self.load(crashes.path + ".new")
        self.has_text = True  # else the exceptions are older than the record
        if self.backed is not None:  # else it is older than what is lost
            last = self.load(crashes.path + ".last")
            if last is not None:
                self.backed = last
                self.has_text = False
        self.found = self.backed  # the newer record
        record = copy = None
        retained = look_up(crashes)
        if retained is not None:
            record, copy, found = retained
            is_blank = found == bytes(len(found)) or found == b"\xff" * len(found)
            if prove(found):
                self.found = found
                self.has_held = True
                if self.rows:
                    self.rows[-1][_EQUAL] = found[5]  # the file has not each of them
            elif len(record) < _NAME or not (is_blank or hasattr(self.board, "spare_ram")):
                record = copy = None  # too small, or somebody else's
        crashes.backed = record is not None and len(found) > 0
        crashes.buf = bytearray(_MAX_RECORD) if record is None else record
        crashes.copy = copy
        crashes.format = "%ds" % (min(len(crashes.buf), _MAX_RECORD) - _NAME)
        for place in range(len(crashes.buf)):
            crashes.buf[place] = 0

    def load(self, path):
        """Read the file; return its record, None if it is not whole."""
        record = None
        entries = []
        exceptions = []
        try:
            with open(path, "rb") as file:
                from warden_schema.values import read_value

                while True:
                    size = file.read(1)[0]
                    item = bytes((size,)) + file.read(size + 2)
                    if len(item) != size + 3 or crc16(item, 0, size + 3):
                        return None
                    value = read_value(Reader(item, 1, size + 1))
                    if value is None:
                        break
                    if isinstance(value, bytes):
                        record = value if prove(value) else None
                    elif len(value) == _RESET_FIELDS:
                        entries.append(value)
                    elif len(value) == _WEAR_FIELDS:
                        written = value
                    else:
                        exceptions.append(value)
            for _, kind, _, _, _, text in exceptions:
                if not 0 <= kind <= _HANG_KIND or not isinstance(text, bytes):
                    return None  # another version's
            for entry in entries:
                if not (entry[_TEXT] is None or isinstance(entry[_TEXT], bytes)):
                    return None
                entry[_FLAGS] &= _INFERRED | _EXPECTED
            if written[0][0] < self.writes:
                return None
            self.writes = written[0][0]
            wear.written[:], wear.left, self.crashes.live_s = written
            exceptions.sort(key=lambda value: value[0])  # the last one gets the highest id again
            for _, kind, name, count, _, text in exceptions:
                self.put(kind, name, count, text)
        except Exception:  # there is none, or none of ours
            return None
        self.rows = entries or self.rows
        return record

    def advance(self):
        """Add an entry for the boot that ended, and begin the record of this one."""
        crashes = self.crashes
        found = self.found
        state = _RUNNING
        if found is not None:
            state = found[1]
            crashes.bad = found[2]
            crashes.boots = found[3] | found[4] << 8
            crashes.count = found[5]
        crashes.boots = crashes.boots + 1 & 0xFFFF
        port = self.board.identity[4]  # the cause as it tells it, None where it does not
        is_new = False
        self.dirty = False
        if state == _SAFE:
            crashes.is_safe = True
        elif found is not None or port is not None or self.rows:
            is_new = self.add(self.entry(state, port))
            crashes.is_safe = crashes.bad >= _BAD_BOOTS
        state = _SAFE if crashes.is_safe else crashes.state
        crashes.rows[_MAX_EXCEPTIONS : _MAX_EXCEPTIONS + len(self.rows)] = self.rows
        is_there = self.backed is not None and self.backed[1] == state
        crashes.enter(state, is_new or self.dirty or not is_there)
        self.make_last()
        crashes.file_bytes = self.file_bytes()
        crashes.file_room = bytearray(crashes.file_bytes)

    def make_last(self):
        """Have the file that takes the record where the file system is full."""
        path = self.crashes.path + ".last"
        try:
            try:
                size = os.stat(path)[6]
            except OSError:
                size = 0  # as it is where the power was lost meanwhile
            if not size and wear.spend(_RESETS_WRITE, 0):
                with open(path, "wb") as file:
                    self.crashes.put_all(file, ())
        except Exception:  # it is full already, or this firmware has no files
            pass

    def file_bytes(self):
        """Return the heap that it takes to write a file: on littlefs an open one has a buffer."""
        room = self.crashes.room // 2  # for names and values
        if gc.isenabled():
            gc.collect()  # none comes between then
        before = gc.mem_alloc()
        try:
            with open(self.crashes.path, "rb"):
                return max(0, gc.mem_alloc() - before) + room
        except Exception:  # there is none, or this firmware has no files
            return 0

    def entry(self, state, port):
        """Return an entry for the boot that ended, and count it among the bad ones if it is one."""
        crashes = self.crashes
        cause = _CAUSES[state]
        flags = 0
        if cause is not None:
            flags = _INFERRED | _EXPECTED if state == _BY_THRESHOLD else _INFERRED
        elif ((self.has_held or state >= _WATCHED) and port is None) or (
            self.has_held and port == _WORDS[0]  # it has kept its power
        ):
            cause = _WORDS[2 if state >= _WATCHED else 1]
            flags = _INFERRED
        elif crashes.backed and not self.has_held and port is None:
            cause = _WORDS[0]
            flags = _INFERRED | _EXPECTED
        else:
            cause = port
            if port not in _WORDS[1:]:
                flags = _EXPECTED
        if state == _HAS_ENDED:
            flags |= _EXPECTED
        entry = [cause, flags, 1, crashes.boots - 1] + [None] * 7
        if self.found is not None and (self.has_held or cause == _WORDS[2] or state in _NOTED):
            self.fill_status(entry, state)
        uptime_s = entry[_UPTIME]
        if self.has_held and not crashes.bad and uptime_s is not None:
            wear.left = min(_MAX_WRITES, wear.left + uptime_s // _REFILL_S)
        if cause is not None and not flags & _EXPECTED:
            # A safe one waits before the application is tried, and ends its streak itself.
            is_bad = uptime_s is not None and (uptime_s < _GOOD_S or crashes.bad >= _BAD_BOOTS)
            crashes.bad = min(crashes.bad + 1, _MAX_STREAK) if is_bad else 0
            crashes.live_s = 0
        elif uptime_s is not None:
            crashes.live_s = min(crashes.live_s + uptime_s, _MAX_FREE_S)
            self.dirty = uptime_s >= _LONG_S
        return entry

    def fill_status(self, entry, state):
        """Put the figures of the record into an entry, and the exception if there was one."""
        found = self.found
        entry[_UPTIME], live, largest, lag = unpack_from("<IHHH", found, _FIGURES)
        name = found[_NAME:_MAX_RECORD].rstrip(b"\x00")
        while name and entry[_WHO] is None:
            try:
                entry[_WHO] = str(name, "utf-8")
            except ValueError:  # UnicodeError: it was cut inside a character
                name = name[:-1]
        entry[_LIVE:_TEXT] = [
            live * 256 or None,
            largest * 256 or None,
            lag * 4 or None,
            found[_LEVEL],
        ]
        if state == _BY_EXCEPTION or state == _HUNG:
            kind = _APPLICATION_KIND if state == _BY_EXCEPTION else _HANG_KIND
            text = found[_MAX_RECORD:].rstrip(b"\x00")
            if text and self.backed is None:  # which would have it, too
                self.put(kind, None, 1, text)
            rows = [row for row in self.crashes.rows if row is not None and row[1] == kind]
            if rows and self.has_text:
                text = max(rows, key=lambda row: row[0])[-1]  # of the one that came last
                entry[_TEXT] = text[-_MAX_TOLD:]

    def put(self, kind, name, count, text):
        """Put an exception of an earlier boot into the next row."""
        crashes = self.crashes
        row = [crashes.next_id, kind, name, count, None, text]
        crashes.rows[(crashes.next_id - 1) % _MAX_EXCEPTIONS] = row
        crashes.next_id += 1

    def add(self, entry):
        """Add an entry, or count the last one again if it is equal; tell whether to write that."""
        crashes = self.crashes
        last = self.rows[-1] if self.rows else None
        for place in (_CAUSE, _FLAGS, _WHO, _TEXT):
            if last is None or last[place] != entry[place]:
                self.rows = self.rows[1 - _MAX_RESETS :] + [entry]
                crashes.count = 1
                return True
        if not crashes.backed and crashes.count >= _MAX_KNOWN:
            return False
        crashes.count = entry[_EQUAL] = min(crashes.count + 1, _MAX_EQUAL)
        self.rows[-1] = entry
        return crashes.count in (2, 3, 10, 30, 100)


def prove(buf):
    """Tell whether bytes are a record: magic, version, state and CRC are right."""
    if len(buf) < _NAME or buf[0] != _HEAD or buf[1] > _HUNG:
        return False
    return crc16(buf, 0, _CRC_END) == 0


def look_up(crashes):
    """Return (record, copy, content) of memory that survives a reset; None if none is known.

    record: a bytearray or memoryview to make a record in; copy(record): what puts it where it
    survives, None if it is there; content: the bytes that are there now, none where its size is
    that of what is written.

    `machine.mem_backup()` where there is one, MicroPython 1.29 on; before that what a port has. All
    but spare RAM, which the adapter names, may be in use by the application.
    """
    board = crashes.board
    machine = getattr(board, "machine", None) or module("machine")
    try:
        if hasattr(board, "spare_ram"):
            from uctypes import bytearray_at

            memory = bytearray_at(*board.spare_ram)
            memory = memoryview(memory)[-min(len(memory), _MAX_RECORD + _MAX_TRACEBACK) :]
            return memory, None, bytes(memory)
        if not (
            hasattr(machine, "mem_backup")
            or hasattr(getattr(machine, "RTC", None), "memory")  # as on esp32 and esp8266
            or sys.platform in ("rp2", "pyboard")
        ):
            return None
        from warden.retained import detect

        return detect(crashes, machine)
    except (AttributeError, ImportError, TypeError, ValueError):  # another version's
        return None
