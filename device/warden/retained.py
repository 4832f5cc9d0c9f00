"""Registers that survive a reset, for the black box; loaded where a board has them."""


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
