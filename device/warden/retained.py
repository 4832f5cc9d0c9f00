"""Memory that survives a reset and is the application's, too, for the record.

Loaded on ports that have such. What somebody else has written there since is left alone: from then
on only the file has the record.
"""

import sys
from struct import pack_into

from micropython import const

_MAX_RECORD = const(42)  # bytes
_RP2040_SCRATCH = const(0x4005800C)  # RP2040 datasheet, 4.7.6: the first of eight registers
_USED_BY_BOOT = const(4)  # which of them the boot ROM reads
_STATE_PLACE = const(1)  # of a record, see `crashes`
_UPTIME_PLACE = const(8)
_HEAD = const(0xB1)  # as in `crashes`
_CRC_END = const(8)  # as in `last_boot`: it is a record by what is before that
_RUNNING = const(0)
_FIRST_S = const(3)
_LOOK_S = const(10)


def give_up(crashes):
    """Leave the memory to somebody else; the next sample has the file written."""
    crashes.copy = None
    crashes.backed = False
    crashes.deadline_s = 1


class RetainedBytes:
    """The end of a memory of bytes. record: what was there last, as far as it is known."""

    def __init__(self, crashes, memory):
        self.crashes = crashes
        self.memory = memory
        self.record = bytearray(memory)
        self.format = "%ds" % len(memory)

    def copy(self, record):
        """Write a record; allocates nothing."""
        if self.memory != self.record:
            at = 0
            while self.memory[at] == self.record[at]:
                at += 1
            if at >= _CRC_END:
                self.memory[0] = 0  # what is left of it is no record for the next boot
            give_up(self.crashes)
            return
        pack_into(self.format, self.memory, 0, record)
        pack_into(self.format, self.record, 0, record)


class RetainedWords:
    """Registers that take 32 bits at once: of each three bytes, for more would take heap.

    memory: `machine.mem32`, or what `machine.mem_backup()` returns; places: in it; words: what was
    there last, as far as it is known.
    """

    def __init__(self, crashes, memory, places):
        self.crashes = crashes
        self.memory = memory
        self.places = places
        self.words = [memory[place] for place in places]

    def load(self):
        """Return what was there, as bytes."""
        found = bytearray()
        for word in self.words:
            found.extend(bytes((word & 0xFF, word >> 8 & 0xFF, word >> 16 & 0xFF)))
        return bytes(found)

    def copy(self, record):
        """Write a record; allocates nothing."""
        memory = self.memory
        words = self.words
        at = 0
        for place in self.places:
            if memory[place] != words[at]:
                if 3 * at >= _CRC_END:
                    memory[self.places[0]] = 0  # as above
                give_up(self.crashes)
                return
            at += 1
        at = 0
        for place in self.places:
            byte = 3 * at
            words[at] = record[byte] | record[byte + 1] << 8 | record[byte + 2] << 16
            memory[place] = words[at]
            at += 1


class RtcMemory:
    """`machine.RTC().memory` of esp32 and esp8266: one value of bytes.

    An application that keeps its state there reads it as it starts, and must not find a record: it
    is taken out, and put there after three seconds, or when the state changes. To look whether it
    is still there takes heap, so a sample does that once in ten seconds.
    """

    def __init__(self, crashes, memory):
        self.crashes = crashes
        self.memory = memory
        self.record = None  # which is there; None before the first call
        self.state = None  # of the last record
        self.since_s = 0  # the uptime at which it was put there, or taken out, and
        self.due_s = 0  # at which the next one is written

    def copy(self, record):
        """Write a record where it is time for it; take it out as the application starts."""
        s = record[_UPTIME_PLACE] | record[_UPTIME_PLACE + 1] << 8
        s |= record[_UPTIME_PLACE + 2] << 16
        state = record[_STATE_PLACE]
        if s < self.since_s:  # it has begun anew, with another agent
            self.due_s -= self.since_s
            self.since_s = 0
        if state == self.state and s < self.due_s:
            return
        starts = self.record is None or (state == _RUNNING and state != self.state)
        try:
            if self.record is not None and (self.memory() or b"") != self.record:
                give_up(self.crashes)
                return
            self.record = b"" if starts else bytes(record)
        except MemoryError:
            return
        self.memory(self.record)
        self.state = state
        self.since_s = s
        self.due_s = s + (_FIRST_S if starts else _LOOK_S)
        if not starts:
            self.crashes.backed = True


def detect(crashes, machine):
    """Return what `last_boot.look_up` does."""
    rtc = getattr(machine, "RTC", None)
    if hasattr(machine, "mem_backup"):
        memory = machine.mem_backup()
        if len(bytes(memory)) == len(memory):
            memory = memoryview(memory)[-min(len(memory), _MAX_RECORD) :]
            return bytearray(memory), RetainedBytes(crashes, memory).copy, bytes(memory)
        places = list(range(len(memory)))
    elif hasattr(rtc, "memory"):
        memory = rtc().memory
        content = memory() or b""
        if content and content[0] != _HEAD:
            return None
        return bytearray(_MAX_RECORD), RtcMemory(crashes, memory).copy, content
    elif "RP2040" in sys.implementation._machine:
        memory = machine.mem32
        places = [_RP2040_SCRATCH + 4 * n for n in range(8) if n != _USED_BY_BOOT]
    else:  # stm32: the first and the last register are others'
        import stm

        memory = machine.mem32
        count = 1
        while hasattr(stm, "RTC_BKP%dR" % (count + 1)):
            count += 1
        places = [stm.RTC + getattr(stm, "RTC_BKP%dR" % n) for n in range(1, count)]
    words = RetainedWords(crashes, memory, places[-(_MAX_RECORD // 3) :])
    return bytearray(3 * len(words.places)), words.copy, words.load()
