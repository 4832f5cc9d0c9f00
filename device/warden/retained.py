"""Finds memory of a board that survives a reset, for the record of the black box.

`machine.mem_backup()` where there is one, MicroPython 1.29 on; before that what a port has: RTC
memory (esp32, esp8266), scratch registers (RP2040), backup registers (stm32), or spare RAM that the
adapter names. All but that may be in use by the application: see `BlackBox`.
"""

import sys

from micropython import const

_MAX_RECORD = const(42)  # bytes
_RP2040_SCRATCH = const(0x4005800C)  # RP2040 datasheet, 4.7.6: the first of eight registers
_USED_BY_BOOT = const(4)  # which of them the boot ROM reads


class RetainedBytes:
    """The end of a memory that is written by bytes: the record is made in it.

    record: a bytearray to make it in; save(record): what then puts it where it survives, or None.
    """

    save = None

    def __init__(self, memory):
        self.record = memoryview(memory)[-min(len(memory), _MAX_RECORD) :]

    def load(self):
        """Return what is there, as bytes."""
        return bytes(self.record)


class RetainedWords:
    """Registers that take 32 bits at once: of each three bytes, for more would take heap.

    memory: `machine.mem32`, or what `machine.mem_backup()` returns; places: in it.
    """

    def __init__(self, memory, places):
        self.memory = memory
        self.places = places[-(_MAX_RECORD // 3) :]
        self.record = bytearray(3 * len(self.places))

    def load(self):
        """Return what is there, as bytes."""
        found = bytearray()
        for place in self.places:
            word = self.memory[place]
            found.extend(bytes((word & 0xFF, word >> 8 & 0xFF, word >> 16 & 0xFF)))
        return bytes(found)

    def save(self, record):
        """Write a record; allocates nothing."""
        at = 0
        for place in self.places:
            self.memory[place] = record[at] | record[at + 1] << 8 | record[at + 2] << 16
            at += 3


class RetainedRtc:
    """`machine.RTC().memory()` before 1.29: one value of bytes, which only all is written of."""

    def __init__(self, rtc):
        self.record = bytearray(_MAX_RECORD)
        self.memory = rtc.memory
        self.save = rtc.memory

    def load(self):
        """Return what is there, as bytes; blank if nothing is."""
        return self.memory() or bytes(_MAX_RECORD)


def find_retained(board):
    """Return the board's memory that survives a reset; None where it has none that is known."""
    machine = board.machine_module
    try:
        if hasattr(board, "spare_ram"):
            from uctypes import bytearray_at

            return RetainedBytes(bytearray_at(*board.spare_ram))
        if hasattr(machine, "mem_backup"):
            memory = machine.mem_backup()
            if memory.itemsize == 1:
                return RetainedBytes(memory)
            return RetainedWords(memory, list(range(len(memory))))
        if sys.platform in ("esp32", "esp8266"):
            return RetainedRtc(machine.RTC())
        if "RP2040" in sys.implementation._machine:
            places = [_RP2040_SCRATCH + 4 * n for n in range(8) if n != _USED_BY_BOOT]
            return RetainedWords(machine.mem32, places)
        if sys.platform == "pyboard":  # stm32: the first and the last register are others'
            import stm

            count = 1
            while hasattr(stm, "RTC_BKP%dR" % (count + 1)):
                count += 1
            places = [stm.RTC + getattr(stm, "RTC_BKP%dR" % n) for n in range(1, count)]
            return RetainedWords(machine.mem32, places)
    except (AttributeError, ImportError, TypeError, ValueError):  # another version's
        pass
    return None
