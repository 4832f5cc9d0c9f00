"""Finds the heap's allocation table on stock firmware, and proves it: free and largest are in it.

The table lies below the blocks that it is of, with smaller ones between (py/gc.c, gc_setup_area).
Two probes of unusual lengths are allocated, and below them objects of just so many blocks are
searched for in the table, as far apart as the probes are. What looks like that in another object's
bytes is no table: a third probe does not come to be there. From that place and the size of the heap
follows where the table begins; it is the right one if it gives the free bytes that `gc.mem_free()`
gives. The search ends at the probe's own place at the latest, so nothing outside of the heap is
read.
"""

import sys
from array import array

from micropython import const

try:
    if sys.implementation.name != "micropython":
        raise ImportError
    from warden.sensors.heap_viper import buffer_address, find_object, object_length, read_table
except (ImportError, ValueError, SyntaxError, TypeError):
    # Not there, of another machine, no emitter, or a constant too large for it.
    read_table = None

# Reasons, from ids.
_NO_MACHINE_CODE = const(11)
_NO_ROOM = const(12)
_NO_TABLE = const(13)

# Lengths in blocks.
_PROBES = (71, 97)
_LAST_PROBE = const(83)
_MAX_LENGTH = const(100)
_PROOF_TRIES = const(20)  # another thread may allocate meanwhile
_MAX_HEAP_BYTES = const(0x3FFFFFFF)

# Places in the array of a pass, see heap_viper.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_TABLE_END = const(7)
_TABLE_SHIFT = const(8)
_HEAP_PLACES = const(14)
_WHOLE_TABLE = const(0xFFFFFF)  # groups of its entries

# Of a byte's four blocks, by bits 0, 2, 4 and 6: which are used. Two bits each for how many are free
# before the first used one, for the longest free run between two, for how many are free after the
# last one, and for how many are free.
FREE_RUNS = (
    b"\x00\xf0\x00\x00\xe1\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xd2\x94\x00\x00\x91\x50"
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc3\x88"
    b"\x00\x00\x85\x44\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x82\x44\x00\x00\x41\x00"
)


class HeapTable:
    """The table; called like the C module's heap(), with an array that new_state() made."""

    def __init__(self, table, total, shift):
        self.table = table  # its address
        self.total = total  # bytes of the heap
        self.shift = shift  # a block has 1 << shift bytes

    def new_state(self):
        """Return the array for a pass."""
        state = array("i", [0] * _HEAP_PLACES)
        state[_HEAP_TOTAL] = self.total
        state[_TABLE_END] = self.total >> self.shift + 2
        state[_TABLE_SHIFT] = self.shift
        return state

    def __call__(self, state, room):
        """Go on with a pass, or begin one; return whether it is whole. room: see read_table(), 0: all."""
        return read_table(self.table, state, FREE_RUNS, room or _WHOLE_TABLE) != 0

    def is_true(self, state, board):
        """Tell whether it has the free bytes that `gc` finds.

        Walks over the heap once if it has; several times if not, for another thread may allocate.
        """
        for _ in range(_PROOF_TRIES):
            self(state, 0)
            if state[_HEAP_FREE] == board.mem_free():
                return True
        return False


def find_table(board):
    """Return the HeapTable, or the reason why there is none."""
    if read_table is None:
        return _NO_MACHINE_CODE
    shift = 5 if sys.maxsize >> 32 else 4  # a block has four machine words
    total = _heap_bytes(board)
    if not board.heap_grows and 0 < total <= _MAX_HEAP_BYTES:
        try:
            # Of probes the address is needed only, but they must be there.
            probes = [bytearray(blocks << shift) for blocks in _PROBES]
            table = HeapTable(_table_address(probes, total, shift), total, shift)
            if table.table and table.is_true(table.new_state(), board):
                return table
        except MemoryError:
            return _NO_ROOM
    return _NO_TABLE


def _heap_bytes(board):
    """Return the heap's size, found twice the same while nothing was allocated; 0 if it was not."""
    last = 0
    for _ in range(_PROOF_TRIES):
        used = board.mem_alloc()
        total = used + board.mem_free()
        if board.mem_alloc() == used:
            if total == last:
                return total
            last = total
    return 0


def _table_address(probes, total, shift):
    """Return where the table begins, 0 if that was not found out."""
    first = probes[0]
    address = buffer_address(first)
    blocks = total >> shift
    entry = 0
    while True:
        entry = find_object(first, entry, -total - blocks)
        if entry > 0:
            return 0
        found = 0
        for probe in probes:
            place = entry + (buffer_address(probe) - address >> shift)
            found += object_length(first, place, _MAX_LENGTH) << shift == len(probe)
        if found == len(probes):
            # A copy of the table does not have what was allocated after it was made.
            last = bytearray(_LAST_PROBE << shift)
            place = entry + (buffer_address(last) - address >> shift)
            if object_length(first, place, _MAX_LENGTH) == _LAST_PROBE:
                break
    # Between the table and the blocks there are a byte, other tables of a bit for each block, and
    # what is left over: less than the blocks of one byte need.
    others = 1
    try:
        import weakref  # noqa: F401  # since 1.28: where it is, there is a table of its own

        others = 2
    except ImportError:
        pass
    between = (blocks >> 2) + 1 + others * (blocks + 7 >> 3)
    behind = (-(entry >> 2) - ((entry & 3) << shift) - between) // ((4 << shift) - 1)
    return address + (entry >> 2) - behind + 3 & -4  # it begins at a whole word
