"""What a look at the heap takes: nearly empty, with many small objects, full of holes, and with
every other block free.

Prints `= WHAT TICKS BYTES`, with _ for spaces in WHAT.
"""

import gc
from array import array

from meter import EMPTY, now, passed, tell, ticks_of

_state = array("i", bytes(80))
try:
    from _warden import heap

    rooms = (64, 256, 1024, 1536, 4096)  # bytes of the table
except ImportError:
    from warden.setup import detect, find_heap

    heap = None
    rooms = ()
    found = find_heap(detect())
    if not isinstance(found, int):  # there is machine code
        heap, _state, _, room, _ = found
        rooms = (room // 4, room // 2, room)


def whole():
    heap(_state, 0)


def in_slices(room):
    """Return the ticks of the longest of a pass in slices, and how many there were."""
    worst = count = 0
    more = True
    while more:
        began = now()
        more = not heap(_state, room)
        worst = max(worst, passed(began))
        count += 1
    began = now()
    not None
    return worst - passed(began), count


def look(state):
    began = now()
    gc.collect()
    tell("gc.collect(),_" + state, passed(began))
    tell("gc.mem_free(),_" + state, ticks_of(gc.mem_free) - EMPTY)
    if heap:
        tell("heap(state,_0),_" + state, ticks_of(whole) - EMPTY)
        for room in rooms:
            worst, count = in_slices(room)
            tell("longest_of_%d_slices_of_%d,_%s" % (count, room, state), worst)


gc.collect()
look("nearly_empty_heap")
keep = []
for size in range(600):
    keep.append(bytearray(size % 37 * 4))
look("600_small_objects")
filled = [None] * (gc.mem_free() // 110)
try:
    for last in range(len(filled)):
        filled[last] = bytearray(40)
except MemoryError:
    pass
for place in range(0, last, 2):
    filled[place] = None
look("full_of_holes")
filled = None
gc.collect()
filled = [None] * ((gc.mem_free() - 20_000) // 20)  # leaves room for the words below
try:
    for last in range(len(filled)):
        filled[last] = (last,)  # one block
except MemoryError:
    pass
for place in range(0, last, 2):
    filled[place] = None
look("every_other_block_free")
