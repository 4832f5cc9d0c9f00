"""The black box: a record of the board's state that survives a reset, and the list of resets.

The record lies in memory that survives a reset, and is brought up to date with each sample; where a
board has none, it is only in the file, and written when something has happened. At the next start
it becomes an entry of the list. A record is, little-endian:

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

The file has an item for the record, for each entry and for each exception, one for what was written
and how long nothing went wrong, and one for the end: its length, msgpack, and the CRC-16 of both.
It is written under another name and renamed, as a stored policy is.
"""

import os
import sys
from struct import pack_into

from micropython import const

from warden.wear import wear
from warden_schema.codec import put
from warden_schema.frame import crc16

_HEAD = const(0xB1)
_CRC = const(6)  # where parts of the record begin
_FIGURES = const(8)
_EVENT_NUMBER = const(18)
_NAME = const(21)
_TRACEBACK = const(42)
_MAX_KNOWN = const(3)  # of the same exception, more are not written
_MAX_STREAK = const(9)  # of bad boots, more are not counted

# Items of the file.
_RECORD_ITEM = const(0)
_RESET_ITEM = const(1)
_EXCEPTION_ITEM = const(2)
_END_ITEM = const(3)
_WEAR_ITEM = const(4)

_RESETS_WRITE = const(0)  # purposes of `wear`
_NOTE_WRITE = const(2)

# States of the record: what it would mean if the board were reset now.
_RUNNING = const(0)
_HAS_ENDED = const(1)  # the application returned, or Ctrl-C stopped it
_BY_EXCEPTION = const(2)  # it was ended by one
_BY_THRESHOLD = const(3)  # the agent resets the board
_SAFE = const(4)  # it does not run
_WATCHED = const(5)  # it runs, and the hardware watchdog is on
_UNFED = const(6)  # the hardware watchdog is not fed any more
_HUNG = const(7)  # the agent resets the board because the application hangs


def let_go(name):
    """Let go of a module of the agent that is not needed again: its memory is the application's."""
    sys.modules.pop("warden." + name, None)
    setattr(sys.modules["warden"], name, None)


class BlackBox:
    """Keeps the record of this boot; `entries` are the last resets, see `last_boot.ENTRY`.

    is_safe: whether this boot must not run the application. Made by `crash_setup.make_box`, which
    lists what else it has.
    """

    # --- this boot ------------------------------------------------------------------------------

    def update(self, sample):
        """Add a sample to the history, then bring the record up to it; allocates nothing."""
        self.add_to_history(sample)
        self.facts["crash_free_s"] = self.crash_free_s + sample.uptime_s
        pack_into(
            "<IHHH", self.buf, _FIGURES, sample.uptime_s, (sample.live_bytes or 0) >> 8,
            (sample.largest_free_block_bytes or 0) >> 8, (sample.loop_lag_worst_ms or 0) >> 2,
        )  # fmt: skip
        events = self.events
        if events is not None and events.seq != self.seq:
            self.put_decided()
        if self.streak and sample.uptime_s >= self.good_s and not self.is_safe:
            self.streak = 0  # this boot is a good one
            self.seal()
            self.save()
        if self.retry_s and sample.uptime_s >= self.retry_s:
            self.save()
        if self.copy is not None:
            self.copy(self.buf)

    def save_note(self, text):
        """Save a note over a reset, which the agent is about to make, and that in the record."""
        can_write = wear.spend(_NOTE_WRITE, self.earned_s(), 2)  # and its removal
        self.set_state(_BY_THRESHOLD)
        if can_write:
            self.write_note(text)

    def put_decided(self):
        """Put the last event's number, the level and the operation that began last into it."""
        buf = self.buf
        self.seq = seq = self.events.seq
        policy = self.agent.policy
        pack_into("<HB", buf, _EVENT_NUMBER, seq & 0xFFFF, policy.pressure.level)
        name = self.culprit
        if name is None and policy.operations.places:
            name = policy.operations.last_name
        self.put_name(name)

    def put_name(self, name):
        """Put a name into it, unless it has that already."""
        if name is not self.who:
            self.who = name
            pack_into(self.name_format, self.buf, _NAME, name or "")

    def set_culprit(self, name, state, must_save):
        """Note what a reset from now on would be about; name: None for nothing any more."""
        self.culprit = name
        self.put_name(name)
        self.set_state(state, must_save)

    def uptime_s(self):
        """Return the seconds of this boot."""
        agent = self.agent
        if agent is not None:
            agent.clock.advance()
            return agent.clock.s
        return max(0, self.board.ticks_diff(self.board.ticks_ms(), self.began_ms)) // 1000

    def earned_s(self):
        """Return the uptime that has earned writes: none while the board keeps crashing."""
        return 0 if self.streak else self.uptime_s()

    def seal(self):
        """Put state and counts into the record with their CRC, and it where it survives a reset."""
        buf = self.buf
        pack_into("<BBBHB", buf, 0, _HEAD, self.state, self.streak, self.boots, self.count)
        crc = crc16(buf, 0, _CRC)
        buf[_CRC] = crc >> 8
        buf[_CRC + 1] = crc & 0xFF
        if self.copy is not None:
            self.copy(buf)

    def set_state(self, state, must_save=True):
        """Note what a reset from now on would mean; must_save: in the file, too."""
        self.state = state
        pack_into("<I", self.buf, _FIGURES, self.uptime_s())
        if self.events is not None:
            self.put_decided()
        self.seal()
        if must_save:
            self.save()

    def note_exception(self, caught, state=_BY_EXCEPTION):
        """Note that an exception ended the application; write it, unless it is an old tale."""
        if len(self.buf) > _TRACEBACK:
            pack_into("148s", self.buf, _TRACEBACK, caught.text)
        is_quick = self.streak < _MAX_STREAK and self.is_in_file
        self.set_state(state, caught.count <= _MAX_KNOWN or is_quick)

    # --- the file -------------------------------------------------------------------------------

    def save(self):
        """Write the file; one that cannot be written changes nothing.

        What the budget does not allow is written once it does, if the boot lasts so long.
        """
        self.retry_s = 0
        if not wear.spend(_RESETS_WRITE, self.earned_s()):
            self.retry_s = wear.next_s
            return
        new = self.path + ".new"
        try:
            with open(new, "wb") as file:
                self.write_item(file, _RECORD_ITEM, bytes(self.buf))
                for entry in self.entries:
                    self.write_item(file, _RESET_ITEM, entry)
                for caught in self.crashes.rows:
                    if caught is not None:
                        values = (caught.kind, caught.name, caught.count, caught.text)
                        self.write_item(file, _EXCEPTION_ITEM, values)
                state = (wear.counts, wear.left, self.crash_free_s)
                self.write_item(file, _WEAR_ITEM, state)
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
        chunk = self.crashes.reserve
        end = put(chunk, 1, (kind, value))
        chunk[0] = end - 1
        crc = crc16(chunk, 0, end)
        chunk[end] = crc >> 8
        chunk[end + 1] = crc & 0xFF
        if file.write(memoryview(chunk)[: end + 2]) != end + 2:
            raise OSError(28)  # ENOSPC
