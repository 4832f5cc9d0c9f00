"""Finds the heap's allocation table on stock firmware, and proves it: free and largest are in it.

The table lies below the blocks that it describes, with smaller tables between (py/gc.c,
gc_setup_area). Two probes of unusual lengths are allocated, one close behind the other, so that a
heap of several areas has them in one. Below them their entries are searched for: objects of just so
many blocks, as far apart. What looks like that in another object's bytes is no table: it does not
change when a probe grows. From that place and the heap's size follows where the table begins; it is
the right one if it gives the free bytes that `gc.mem_free()` gives. The search ends at the probe's
own entry at the latest, so nothing outside of the heap is read.
"""

import sys
from array import array

from micropython import const

# Reasons, from ids.
_NO_MODULE = const(1)
_NO_MACHINE_CODE = const(11)
_NO_TABLE = const(13)

# Lengths in blocks.
_PROBES = const((71, 97))
_PROBE_TRIES = const(12)  # holes of the heap that a probe may fall into
# Blocks between two probes, for what else is allocated. Between two areas are more: the second
# one's table, if that area has more than 11 KB.
_MAX_GAP = const(16)
_MAX_LENGTH = const(160)
_FOUR_TAILS = const(0xAA)  # in a byte; 16 such bytes are in a row where the shortest probe is
_PROOF_TRIES = const(20)  # another thread may allocate meanwhile
_MAX_HEAP_BYTES = const(0x3FFFFFFF)

# Places in the array of a pass, see heap_viper.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_TABLE_END = const(7)
_TABLE_SHIFT = const(8)
_TABLE_BELOW = const(14)
_HEAP_PLACES = const(15)

_PCS = const(("linux", "darwin"))  # they read all of it in some microseconds


def find_table(board):
    """Return (read_table, two arrays for it, room, True), or the reason why it cannot be had.

    room: for a slice, as read_table() has it; True: see `warden.setup.find_heap`. MemoryError where
    the probes have no room.
    """
    try:
        try:
            from warden.sensors.heap_thumb_viper import SLICE, read_table
        except (ImportError, ValueError, SyntaxError):
            from warden.sensors.heap_viper import SLICE, read_table
    except (ImportError, ValueError, SyntaxError, TypeError):
        # Not there, of another machine, no emitter, or a constant too large for it.
        return _NO_MACHINE_CODE
    try:
        from uctypes import addressof, bytearray_at
    except ImportError:
        return _NO_MODULE
    shift = 5 if sys.maxsize >> 32 else 4  # a block has four machine words
    total = _heap_bytes(board)
    if board.heap_grows or not 0 < total <= _MAX_HEAP_BYTES:
        return _NO_TABLE
    length = total + (total >> 4)  # more than the heap has below a probe
    kept = []  # so that the next probes do not come to the same places
    entry = None
    while entry is None:
        if len(kept) == _PROBE_TRIES:
            raise MemoryError
        probes = [bytearray(blocks << shift) for blocks in _PROBES]
        kept.append(probes)
        first = addressof(probes[0])
        base = first - length
        if 0 <= addressof(probes[1]) - first - len(probes[0]) < _MAX_GAP << shift:
            entry = _find_entry(bytearray_at(base, length), probes, shift, addressof)
    block = first - ((entry & 3) << shift)
    table = _table_address(base + (entry >> 2), block, total >> shift, (4 << shift) - 1)
    states = []
    for _ in range(2):
        state = array("i", [0] * _HEAP_PLACES)
        state[_HEAP_TOTAL] = total
        state[_TABLE_END] = total >> shift + 2
        state[_TABLE_SHIFT] = shift
        state[_TABLE_BELOW] = addressof(state) - table
        states.append(state)
    for _ in range(_PROOF_TRIES):
        read_table(state, 0)
        if state[_HEAP_FREE] == board.mem_free():
            return read_table, states[0], states[1], 0 if sys.platform in _PCS else SLICE, True
    return _NO_TABLE


def _heap_bytes(board):
    """Return the heap's size, 0 if other threads allocate all the time."""
    for _ in range(_PROOF_TRIES):
        used = board.mem_alloc()
        free = board.mem_free()
        if board.mem_alloc() == used and board.mem_free() == free:
            return used + free
    return 0


def _find_entry(memory, probes, shift, addressof):
    """Return the first probe's entry in the table: four times its byte in `memory`, and which.

    memory: what lies below that probe. None if the second one could not grow where it is.
    """
    second = addressof(probes[1])
    apart = second - addressof(probes[0]) >> shift
    blocks = _PROBES[1]
    at = len(memory)
    while blocks < _MAX_LENGTH:
        at -= 16
        if memory[at] != _FOUR_TAILS:
            continue
        while memory[at] == _FOUR_TAILS:
            at -= 1
        entry = 3
        while memory[at] >> 2 * entry & 3 == 2:
            entry -= 1
        entry += 4 * at
        if _length(memory, entry) == _PROBES[0] and _length(memory, entry + apart) == blocks:
            probes[1].extend(bytes(1 << shift))
            if _length(memory, entry + apart) != blocks:
                return entry
            if addressof(probes[1]) != second:
                return None
            blocks += 1  # that was a copy of the table
    return None


def _length(memory, entry):
    """Return the length of the object with its head at an entry, 0 if there is no head."""
    if entry + _MAX_LENGTH >> 2 >= len(memory) or not memory[entry >> 2] >> 2 * (entry & 3) & 1:
        return 0
    count = 1
    while count < _MAX_LENGTH and memory[entry + count >> 2] >> 2 * (entry + count & 3) & 3 == 2:
        count += 1
    return count


def _table_address(byte, block, blocks, step):
    """Return where the table begins that has the entry of the block at `block` first in a byte.

    Between the table and the blocks there are a byte, other tables of a bit for each block, and
    what is left over: less than the blocks of one byte need. step: what these need, but one.
    """
    others = 1  # of finalisers
    try:
        import weakref  # noqa: F401  # since 1.28: where it is, it has a table of its own

        others = 2
    except ImportError:
        pass
    between = (blocks >> 2) + 1 + others * (blocks + 7 >> 3)
    behind = (block - byte - between) // step
    return byte - behind + 3 & -4  # it begins at a whole word
