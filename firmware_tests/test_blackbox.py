# targets: unix frozen qemu
"""The record that survives a reset, and the list of resets: a boot is a BlackBox made anew."""

import os
import sys
from array import array

from harness import no_heap, raises, skip
from rig import board
from warden.blackbox import ENDED, EXCEPTION, THRESHOLD, BlackBox, is_valid
from warden.crashes import Crashes
from warden.retained import RetainedBytes, RetainedWords, find_retained
from warden.sample import Sample

_FILE = "warden.resets"
_INFERRED, _EXPECTED = 1, 2
_APPLICATION = 3


class FakeMachine:
    """Stands in for `machine` of MicroPython 1.29 on: a memory that survives, by bytes."""

    class Memory:
        """Stands in for its memoryview, of which not every firmware tells the itemsize."""

    def __init__(self, memory):
        self.memory = memory

    def mem_backup(self):
        return self.memory


class FakeBoard:
    """Stands in for a board whose memory and port's word for the reset's cause the test sets."""

    def __init__(self, memory=None, cause=None):
        real = board()
        self.ticks_ms = real.ticks_ms
        self.ticks_diff = real.ticks_diff
        self.machine_module = None
        self.memory = memory
        self.cause = cause

    def identity(self):
        return "fake", "fake", "fake", b"", self.cause, "0"

    def boot(self, cause=None):
        """Return the Crashes of a new boot, with its black box."""
        self.cause = cause
        return Crashes(self)


class FakeMemory(FakeBoard):
    """A FakeBoard whose memory is the application's, too."""

    def __init__(self, size=64, cause=None):
        super().__init__(bytearray(size), cause)


def _find(fake):
    """Stands in for what finds the memory of a real board."""
    return None if fake.memory is None else RetainedBytes(fake.memory)


def _forget():
    for name in (_FILE, _FILE + ".new"):
        try:
            os.remove(name)
        except (AttributeError, OSError):
            pass


def _has_files():
    try:
        with open("probe", "w") as file:
            file.write("x")
        os.remove("probe")
        return True
    except OSError:
        return False


class _Boots:
    """Boots of a board, one after the other; `find_retained` gives its memory meanwhile."""

    def __init__(self, size=64):
        _forget()
        self.board = FakeBoard(bytearray(size) if size else None)
        self._module = sys.modules[BlackBox.__module__] if hasattr(BlackBox, "__module__") else None

    def boot(self, cause=None):
        return self.board.boot(cause).black_box


def _patch():
    """Have all boards of this file be asked for their memory by `_find`."""
    import warden.crashes

    for name in ("warden.blackbox", "warden.crashes"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "find_retained"):
            module.find_retained = _find
    return warden.crashes


_patch()


def _last(black_box):
    entry = black_box.entries[-1]
    return entry.cause, entry.flags, entry.count


def test_the_first_boot_has_nothing_to_tell():
    assert _Boots().boot().entries == []


def test_a_reset_that_nobody_announced_is_told_from_a_loss_of_power():
    boots = _Boots()
    boots.boot()
    assert _last(boots.boot()) == ("soft", _INFERRED, 1)
    for place in range(64):
        boots.board.memory[place] = 0
    if _has_files():
        assert _last(boots.boot()) == ("pwron", _INFERRED | _EXPECTED, 1)


def test_the_ports_word_goes_before_what_is_inferred_but_for_power_that_was_not_lost():
    boots = _Boots()
    boots.boot()
    assert _last(boots.boot("wdt")) == ("wdt", 0, 1)
    assert _last(boots.boot("hard")) == ("hard", _EXPECTED, 1)
    assert _last(boots.boot("deepsleep")) == ("deepsleep", _EXPECTED, 1)
    assert _last(boots.boot("pwron")) == ("soft", _INFERRED, 1)


def test_what_was_noted_before_a_reset_is_its_cause():
    boots = _Boots()
    box = boots.boot()
    box.set_state(THRESHOLD)
    box = boots.boot("wdt")  # which is what rp2 says of machine.reset()
    assert _last(box) == ("threshold", _INFERRED | _EXPECTED, 1)
    box.set_state(ENDED)
    assert _last(boots.boot("soft")) == ("soft", _EXPECTED, 1)


def test_an_exception_of_the_application_is_its_cause_with_file_and_line():
    boots = _Boots()
    crashes = boots.board.boot()
    try:
        raise ValueError("wrong")
    except ValueError as error:
        crashes.keep(error, _APPLICATION, None)
    box = boots.boot()
    assert _last(box) == ("exception", _INFERRED, 1)
    if _has_files():
        assert box.entries[-1].text.endswith(b"ValueError: wrong\n")


def test_figures_and_the_running_operation_are_those_of_the_last_sample():
    boots = _Boots()
    box = boots.boot()
    box.add_to_history = _ignore
    sample = Sample()
    sample.uptime_s = 70_000
    sample.live_bytes = 51_200
    sample.largest_free_block_bytes = None
    sample.loop_lag_worst_ms = 84
    box.update(sample)
    entry = boots.boot().entries[-1]
    assert (entry.uptime_s, entry.live, entry.largest, entry.lag_ms) == (70_000, 51_200, None, 84)
    assert entry.who is None


def _ignore(sample):
    pass


def test_to_keep_the_record_up_to_date_allocates_nothing():
    boots = _Boots()
    box = boots.boot()
    box.add_to_history = _ignore
    sample = Sample()
    box.update(sample)
    with no_heap():
        box.update(sample)


def test_noise_is_no_record_and_what_is_somebody_elses_is_left_alone():
    for first in (0xB1, 0x17):
        boots = _Boots()
        memory = boots.board.memory
        for place in range(64):
            memory[place] = (place * 37 + first) & 0xFF
        memory[-42] = first
        before = bytes(memory)
        box = boots.boot()
        assert box.store is None and box.entries == []
        assert bytes(memory) == before


def test_of_spare_memory_that_is_nobodys_noise_is_overwritten():
    boots = _Boots()
    boots.board.spare_ram = (0, 64)
    boots.board.memory[-42] = 0xB1
    assert boots.boot().entries == []
    assert boots.boot().store is not None
    assert is_valid(boots.board.memory[-42:])


def test_only_the_end_of_the_memory_is_used():
    boots = _Boots(100)
    boots.board.memory[57] = 5
    boots.boot()
    assert boots.board.memory[57] == 5 and is_valid(boots.board.memory[58:])


def test_equal_ones_in_a_row_are_one_and_seldom_written():
    if not _has_files():
        skip("no files")
    boots = _Boots()
    boots.boot()
    written = []
    for number in range(1, 121):
        box = boots.boot("hard")
        assert _last(box) == ("hard", _EXPECTED, number)
        if box.writes:
            written.append(number)
    assert written == [1, 2, 3, 10, 30, 100]
    assert _last(boots.boot("deepsleep")) == ("deepsleep", _EXPECTED, 1)
    assert [entry.count for entry in boots.boot("hard").entries] == [120, 1, 1]


def test_where_only_a_file_survives_they_are_counted_to_three():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    boots.boot()
    writes = 0
    for number in range(1, 50):
        box = boots.boot("hard")
        writes += box.writes
        assert _last(box) == ("hard", _EXPECTED, min(number, 3))
    assert writes == 3


def test_the_last_ten_are_kept():
    boots = _Boots()
    boots.boot()
    for _ in range(8):
        boots.boot("deepsleep")
        box = boots.boot("hard")
    if _has_files():
        assert len(box.entries) == 10
        assert [entry.cause for entry in box.entries] == ["deepsleep", "hard"] * 5


def test_a_file_that_is_damaged_anywhere_is_none():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    for cause in ("wdt", "hard"):
        boots.boot(cause)
    with open(_FILE, "rb") as file:
        whole = file.read()
    box = BlackBox(boots.board, Crashes(boots.board))
    entries = len(box.entries)
    with open(_FILE, "rb") as file:
        whole = file.read()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1 :]):
            with open(_FILE, "wb") as file:
                file.write(damaged)
            fresh = BlackBox(boots.board, Crashes(boots.board))
            assert len(fresh.entries) <= 1 < entries, at
    _forget()


def test_registers_of_32_bits_take_three_bytes_each():
    memory = array("I", [0] * 7)
    words = RetainedWords(memory, list(range(7)))
    record = words.record
    for place in range(21):
        record[place] = 255 - place
    with no_heap():
        words.save(record)
    assert words.load() == bytes(record)
    assert max(memory) < 1 << 24
    few = RetainedWords(memory, [1, 2, 3])
    assert len(few.record) == 9


def test_a_board_without_such_memory_has_none():
    fake = FakeBoard()
    assert find_retained(fake) is None
    raises(AttributeError, getattr, fake, "spare_ram")
    assert EXCEPTION == 2
