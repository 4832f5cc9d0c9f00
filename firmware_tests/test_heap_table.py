# targets: unix unix32 frozen qemu qemu-m0 frozen-native qemu-native
"""The heap's table is found on stock firmware; it gives what `gc` gives and an allocation shows."""

import gc
import sys
from array import array

import harness
from harness import has_module, needs, no_heap, skip
from native_rig import Chance, churn
from rig import FakeBoard, board
from warden.sensors.find_table import find_table
from warden.setup import find_heap

try:
    from heap_viper import read_table as in_viper
except (ImportError, ValueError, SyntaxError, TypeError):
    in_viper = None
try:
    from heap_thumb_viper import read_table as in_assembler
except (ImportError, ValueError, SyntaxError):
    in_assembler = None

_FREE, _LARGEST, _LONGEST, _AT, _END, _BELOW, _PLACES = 1, 2, 3, 6, 7, 14, 15
_NO_ROOM, _NO_TABLE = 12, 13
_BLOCK = 32 if sys.maxsize >> 32 else 16  # bytes
_IS_SMALL = sys.platform != "linux"  # one in QEMU, which takes long
_READERS = [read for read in (in_viper, in_assembler) if read is not None]


class _Board(FakeBoard):
    """This board's heap."""

    mem_free = staticmethod(getattr(gc, "mem_free", None))
    mem_alloc = staticmethod(getattr(gc, "mem_alloc", None))

    def __init__(self):
        pass


def _found():
    """Return what reads the table, and an array; skip the test where there is no table, rightly."""
    gc.collect()  # else there may be no place for the probes
    found = find_table(_Board())
    if has_module("_probe") and sys.platform == "linux":
        assert found == _NO_TABLE
        skip("the heap of this firmware is in four areas")
    assert not isinstance(found, int), found
    return found[0], found[1]


def _address(state):
    """Return where the table begins."""
    from uctypes import addressof

    return addressof(state) - state[_BELOW]


def _check(read, state):
    """Have a pass agree with gc's figures."""
    with no_heap():
        assert read(state, 0)
        free = gc.mem_free()
    assert state[_FREE] == free, (state, free)


def _allocates(size):
    try:
        return len(bytearray(size)) == size
    except MemoryError:
        return False


class _Holes:
    """Two blocks free here and there, for the heads of arrays and for what is raised."""

    def __init__(self):
        self._pins = [bytearray(1) for _ in range(24)]

    def open(self):
        """Have them be free, between others that are not; collects garbage."""
        for place in range(0, len(self._pins), 2):
            self._pins[place] = None
        gc.collect()

    def close(self):
        """Take them again."""
        for place in range(0, len(self._pins), 2):
            self._pins[place] = bytearray(1)


def test_random_heaps():
    read, state = _found()
    chance = Chance(11)
    kept = [None] * 150
    holes = _Holes()
    gc.disable()  # else a refused allocation collects, and tries again
    try:
        for number in range(1000 if harness.SOAK else 20 if _IS_SMALL else 40):
            largest = (40, 300, 2000, (gc.mem_free() + gc.mem_alloc()) // 20)[number & 3]
            for _ in range(10):
                try:
                    churn(chance, kept, largest, 20)
                except MemoryError:
                    for place in range(0, len(kept), 2):
                        kept[place] = None
                    gc.collect()
            _check(read, state)  # with garbage in it
            holes.open()
            _check(read, state)
            assert not _allocates(state[_LARGEST] + 1), state
            gc.collect()
            _check(read, state)
            assert _allocates(state[_LARGEST]), state
            gc.collect()
            try:
                holes.close()
            except MemoryError:
                kept = [None] * 150
                gc.collect()
                holes.close()
    finally:
        gc.enable()


def test_a_heap_full_to_the_last_block():
    read, state = _found()
    gc.disable()
    gc.collect()
    kept = None
    try:
        while True:
            kept = [kept]
    except MemoryError:
        pass
    with no_heap():
        read(state, 0)
        free = gc.mem_free()
    kept = None
    gc.enable()
    assert state[_FREE] == free
    assert state[_LARGEST] <= free < 4 * _BLOCK, (state, free)


def test_the_probes_are_let_go():
    _found()
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(5):
        find_table(_Board())
    gc.collect()
    assert gc.mem_alloc() - before < 71 * _BLOCK  # one may be on the stack still


def test_without_room_for_the_probes_there_is_none():
    if has_module("_warden"):
        skip("the C module needs no probes")
    _found()
    try:
        adapter = board()
    except ImportError:
        skip("there is no adapter for this board")
    gc.disable()
    gc.collect()
    kept = None
    try:
        while True:
            kept = (kept, bytearray(40 * _BLOCK))
    except MemoryError:
        pass
    found = find_heap(adapter)
    kept = None
    gc.enable()
    assert found == _NO_ROOM


def test_what_looks_like_the_table_does_not_deceive():
    """Below the probes are copies of the table, with probes in it at just these places."""
    from uctypes import addressof, bytearray_at

    state = _found()[1]
    address, length = _address(state), state[_END]
    table = bytearray_at(address, length)
    kept = [b"\x55" + b"\xaa" * tails + b"\x95" for tails in (15, 16, 17, 18, 24)]
    for _ in range(3):
        gc.collect()
        if gc.mem_free() < 3 * length + 400 * _BLOCK:
            break
        copy = bytearray(length)
        while True:  # fills the holes below it in which probes would find place
            kept.append(bytearray(71 * _BLOCK))
            if addressof(kept[-1]) > addressof(copy):
                break
        probes = [bytearray(71 * _BLOCK), bytearray(97 * _BLOCK)]
        copy[:] = table
        kept.append(copy)
        del probes
        gc.collect()  # the next ones take their places
        assert _address(find_table(_Board())[1]) == address
    assert len(kept) > 5


# --- tables that are made up ----------------------------------------------------------------------


_MARGIN = 16


def _reference(entries):
    """Return free blocks, the longest free run and the longest object, one block after another."""
    free = best = run = 0
    for byte in entries:
        for block in range(4):
            if byte >> 2 * block & 3:
                run = 0
            else:
                free += 1
                run += 1
                best = max(best, run)
    return free, best


def _needs_readers():
    if not _READERS:
        skip("this interpreter runs no machine code")


def _read_made_up(entries, room):
    """Have each reader go over these bytes of a table; return free, largest, longest and slices."""
    answers = []
    for read in _READERS:
        # One buffer for both, so that the array is above the table.
        length = _MARGIN + len(entries) + _MARGIN & -4
        whole = bytearray(length + 4 * _PLACES)
        whole[_MARGIN : _MARGIN + len(entries)] = entries
        state = memoryview(whole)[length:]
        places = array("i", [0] * _PLACES)
        places[_END] = len(entries)
        places[_BELOW] = length - _MARGIN
        state[:] = bytes(places)
        slices = 1
        while not read(state, room):
            slices += 1
        assert whole[:_MARGIN] == bytes(_MARGIN)
        places = array("i", bytes(state))
        answers.append((places[_FREE], places[_LARGEST], places[_LONGEST], slices))
    return answers


def test_each_pattern_at_each_place():
    _needs_readers()
    for byte in range(0, 256, 13 if _IS_SMALL else 1):
        for place in range(0, 39, 3):
            for other in (0x55, 0xAA, 0):
                entries = bytearray([other] * 39)
                entries[place] = byte
                for answer in _read_made_up(entries, 0):
                    assert answer[:2] == _reference(entries)


def test_random_tables():
    _needs_readers()
    chance = Chance(12)
    for _ in range(40 if _IS_SMALL else 300):
        entries = bytearray()
        for _ in range(chance.below(12)):
            kind = (0, 0x55, 0xAA, None)[chance.below(4)]
            for _ in range(chance.below(40)):
                entries.append(chance.below(256) if kind is None else kind)
        for answer in _read_made_up(entries, (1, 2, 9, 0)[chance.below(4)]):
            assert answer[:2] == _reference(entries), bytes(entries)


def test_a_slice_ends_when_its_room_is_used_up():
    _needs_readers()
    for byte, groups in ((0, 40), (0x55, 20), (0x11, 3)):  # so many to a room of 20, in viper
        entries = bytes([byte] * 1600)
        answers = _read_made_up(entries, 20)
        for answer in answers:
            assert answer[:2] == _reference(entries)
        if in_viper is not None:
            assert abs(answers[0][3] - 100 // groups) <= 2, (byte, answers)
        if in_assembler is not None:
            assert answers[-1][3] >= 20, (byte, answers)
        for answer in _read_made_up(entries, 0):
            assert answer[3] == 1


def test_the_longest_object_is_found():
    _needs_readers()
    for blocks in (100, 130, 200, 300):
        for start in range(0, 129, 43 if _IS_SMALL else 9):
            table = bytearray(b"\x55" * 120)
            for block in range(start + 1, start + blocks):
                shift = 2 * (block & 3)
                table[block >> 2] = table[block >> 2] & ~(3 << shift) | 2 << shift
            for answer in _read_made_up(table, 0):
                assert blocks - 128 <= answer[2] < blocks, answer


def test_a_large_heap_is_read_in_slices():
    _found()
    read, whole, state = find_table(_Board())[:3]
    for room in (5, 30, 100):
        with no_heap():
            read(whole, 0)
            while not read(state, room):
                assert state[_AT] > 0
        assert (state[_FREE], state[_LARGEST]) == (whole[_FREE], whole[_LARGEST])


def test_with_the_c_module_it_is_the_same():
    needs("_warden")
    from _warden import heap

    from native_rig import new_state

    read, state = _found()
    native = new_state()
    kept = [None] * 60
    chance = Chance(13)
    for _ in range(50):
        churn(chance, kept, 500, 20)
        with no_heap():
            heap(native, 0)
            read(state, 0)
        assert list(native)[:3] == list(state)[:3]


def test_threads_that_allocate_do_no_harm():
    needs("_thread")
    import _thread
    import time

    read, state = _found()
    running = [True, 0]

    def work():
        kept = [None] * 40
        chance = Chance(14)
        while running[0]:
            try:
                churn(chance, kept, 200, 20)
            except MemoryError:
                kept = [None] * 40
        running[1] += 1

    for _ in range(3):
        _thread.start_new_thread(work, ())
    began = time.ticks_ms()
    looks = times_found = 0
    try:
        while time.ticks_diff(time.ticks_ms(), began) < 1500:
            read(state, (0, 50)[looks & 1])
            total = state[0]
            assert 0 < state[_FREE] < total
            assert 0 < state[_LARGEST] <= state[_FREE]
            try:
                found = find_table(_Board())
            except MemoryError:  # others allocate between the probes
                found = _NO_ROOM
            if not isinstance(found, int):
                assert _address(found[1]) == _address(state)
                times_found += 1
            looks += 1
    finally:
        running[0] = False
    while running[1] < 3:
        time.sleep_ms(5)
    gc.collect()
    _check(read, find_table(_Board())[1])
    assert looks > 3 and times_found > looks // 2
