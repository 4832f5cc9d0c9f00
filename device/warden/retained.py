"""Registers that survive a reset, for the record; loaded on ports that have them."""

import sys

from micropython import const

_MAX_RECORD = const(42)  # bytes
_RP2040_SCRATCH = const(0x4005800C)  # RP2040 datasheet, 4.7.6: the first of eight registers
_USED_BY_BOOT = const(4)  # which of them the boot ROM reads


class RetainedWords:
    """Registers that take 32 bits at once: of each three bytes, for more would take heap.

    memory: `machine.mem32`, or what `machine.mem_backup()` returns; places: in it.
    """

    def __init__(self, memory, places):
        self.memory = memory
        self.places = places

    def load(self):
        """Return what is there, as bytes."""
        found = bytearray()
        for place in self.places:
            word = self.memory[place]
            found.extend(bytes((word & 0xFF, word >> 8 & 0xFF, word >> 16 & 0xFF)))
        return bytes(found)

    def copy(self, record):
        """Write a record; allocates nothing."""
        at = 0
        for place in self.places:
            self.memory[place] = record[at] | record[at + 1] << 8 | record[at + 2] << 16
            at += 3


def detect(machine):
    """Return (record, copy, content) as `last_boot.look_up`, of registers of 32 bits."""
    if hasattr(machine, "mem_backup"):
        memory = machine.mem_backup()
        places = list(range(len(memory)))
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
    words = RetainedWords(memory, places[-(_MAX_RECORD // 3) :])
    return bytearray(3 * len(words.places)), words.copy, words.load()
