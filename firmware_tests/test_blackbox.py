# targets: unix frozen qemu
"""The record that survives a reset, and the list of resets: a boot is a Crashes made anew."""

import os
from array import array

from figures import put_figure
from harness import has_module, no_heap, skip
from rig import board, forget_writes
from warden.crash_setup import make_crashes
from warden.detect import reset_cause
from warden.duties_setup import duties_of
from warden.retained import RetainedWords
from warden.sensors.threads import locks
from warden.setup import make_sample
from warden.watchdog_setup import make_watchdog
from warden.wear import wear

_FILE = "warden.resets"
_INFERRED, _EXPECTED = 1, 2
_CAUSE, _FLAGS, _COUNT, _UPTIME, _WHO, _LIVE, _LARGEST, _LAG = 0, 1, 2, 4, 5, 6, 7, 8
_TEXT = 10
_RUNNING, _ENDED, _EXCEPTION, _THRESHOLD = 0, 1, 2, 3  # states
_SAFE, _WATCHED, _UNFED, _HUNG = 4, 5, 6, 7
_APPLICATION = 3
_RESETS = 0  # a purpose of `wear`
_HEAD = 0xB1
_SIZE = 42  # of a record


class FakeMachine:
    """Stands in for `machine` of MicroPython 1.29 on: a memory that survives, bytes or words."""

    def __init__(self, memory):
        self.memory = memory

    def mem_backup(self):
        return memoryview(self.memory)


class FakeBoard:
    """Stands in for a board whose memory and port's word for the reset's cause the test sets."""

    def __init__(self, memory=None):
        real = board()
        self.ticks_ms = real.ticks_ms
        self.ticks_diff = real.ticks_diff
        self.memory = memory
        self.machine = None if memory is None else FakeMachine(memory)
        self.path = "warden"
        self.cause = None
        self.facts = {}

    @property
    def identity(self):
        return "fake", "fake", "fake", b"", self.cause, "0"


def _forget():
    for name in (_FILE, _FILE + ".new", _FILE + ".last"):
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
    """Boots of a board, one after the other; size: of its memory that survives."""

    def __init__(self, size=64):
        _forget()
        self.board = FakeBoard(bytearray(size) if size else None)

    def boot(self, cause=None):
        """Return the Crashes of a new boot; cause: as the port tells it."""
        self.board.cause = cause
        del locks[1:]  # a real boot begins with none
        forget_writes()  # as when its module is loaded
        return make_crashes(self.board)


def _entries(crashes):
    """Return the list of resets, the newest last."""
    return [row for row in crashes.rows[5:] if row]


def _last(crashes):
    entry = _entries(crashes)[-1]
    return entry[_CAUSE], entry[_FLAGS], entry[_COUNT]


def _set_culprit(crashes, name, state, save=False):
    crashes.subject = name
    crashes.enter(state, save)


def test_the_first_boot_has_nothing_to_tell():
    assert _entries(_Boots().boot()) == []


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
    box.enter(_THRESHOLD)
    box = boots.boot("wdt")  # which is what rp2 says of machine.reset()
    assert _last(box) == ("threshold", _INFERRED | _EXPECTED, 1)
    box.enter(_ENDED)
    assert _last(boots.boot("soft")) == ("soft", _EXPECTED, 1)


def test_the_hardware_watchdog_is_its_cause_where_it_was_on_and_the_port_says_nothing():
    boots = _Boots()
    _set_culprit(boots.boot(), "sensor", _UNFED)
    box = boots.boot()
    assert _last(box) == ("wdt", _INFERRED, 1)
    assert _entries(box)[-1][_WHO] == "sensor"
    box.enter(_WATCHED, False)
    assert _last(boots.boot("wdt"))[:2] == ("wdt", 0)
    box.enter(_WATCHED, False)
    for place in range(64):
        boots.board.memory[place] = 0
    if _has_files():
        assert _last(boots.boot("pwron"))[:2] == ("pwron", _EXPECTED)


def test_a_reset_for_a_hang_is_not_expected():
    boots = _Boots()
    _set_culprit(boots.boot(), "sensor", _HUNG, True)
    box = boots.boot("wdt")
    assert _last(box) == ("hang", _INFERRED, 1)
    assert (_entries(box)[-1][_WHO], box.bad) == ("sensor", 1)


def test_a_name_that_was_cut_inside_a_character_is_read_without_it():
    boots = _Boots()
    _set_culprit(boots.boot(), "abcdefghij" + "\xe9" * 10, _RUNNING)
    assert _entries(boots.boot())[-1][_WHO] == "abcdefghij" + "\xe9" * 5


def test_an_exception_of_the_application_is_its_cause_with_file_and_line():
    boots = _Boots()
    crashes = boots.boot()
    try:
        raise ValueError("wrong")
    except ValueError as error:
        crashes.keep(error, _APPLICATION, None)
    box = boots.boot()
    assert _last(box) == ("exception", _INFERRED, 1)
    if _has_files():
        assert _entries(box)[-1][_TEXT].endswith(b"ValueError: wrong\n")


def test_figures_and_the_running_operation_are_those_of_the_last_sample():
    boots = _Boots()
    box = boots.boot()
    box.add = _ignore
    sample = make_sample()
    put_figure(sample, "uptime_s", 70_000)
    put_figure(sample, "live_bytes", 51_200)
    put_figure(sample, "largest_free_block_bytes", None)
    put_figure(sample, "loop_lag_worst_ms", 84)
    box.update(sample)
    entry = _entries(boots.boot())[-1]
    assert (entry[_UPTIME], entry[_LIVE], entry[_LARGEST]) == (70_000, 51_200, None)
    assert (entry[_LAG], entry[_WHO]) == (84, None)


def _ignore(sample):
    pass


def test_to_keep_the_record_up_to_date_allocates_nothing():
    boots = _Boots()
    box = boots.boot()
    box.add = _ignore
    sample = make_sample()
    box.update(sample)
    with no_heap():
        box.update(sample)


def test_noise_is_no_record_and_what_is_somebody_elses_is_left_alone():
    for first in (_HEAD, 0x17):
        boots = _Boots()
        memory = boots.board.memory
        for place in range(64):
            memory[place] = (place * 37 + first) & 0xFF
        memory[-_SIZE] = first
        before = bytes(memory)
        box = boots.boot()
        assert not box.backed and _entries(box) == []
        assert bytes(memory) == before


def test_of_spare_memory_that_is_nobodys_noise_is_overwritten():
    if not has_module("uctypes"):
        skip("no uctypes")
    from uctypes import addressof

    boots = _Boots()
    memory = boots.board.memory
    boots.board.spare_ram = (addressof(memory), 64)
    memory[-_SIZE] = _HEAD
    box = boots.boot()
    assert _entries(box) == [] and box.backed
    assert _last(boots.boot())[:2] == ("soft", _INFERRED)


def test_a_memory_that_is_too_small_for_a_record_is_left_alone():
    for memory in [bytearray(size) for size in range(21)] + [array("I", [0] * 5)]:
        boots = _Boots()
        boots.board.machine = FakeMachine(memory)  # of small stm32: five registers
        box = boots.boot()
        assert not box.backed and not any(memory)
        box.enter(_ENDED)
        box.put_last()


def test_a_record_of_a_state_that_is_none_of_ours_is_no_record():
    boots = _Boots()
    boots.boot().enter(_HUNG + 1)
    box = boots.boot()
    assert _entries(box) == [] and not box.backed


def test_only_the_end_of_the_memory_is_used():
    boots = _Boots(100)
    boots.board.memory[57] = 5
    boots.boot()
    memory = boots.board.memory
    assert memory[57] == 5 and memory[58] == _HEAD and max(memory[:57]) == 0


def test_equal_ones_in_a_row_are_one_and_seldom_written():
    if not _has_files():
        skip("no files")
    boots = _Boots()
    boots.boot()
    written = []
    before = wear.written[_RESETS]
    for number in range(1, 121):
        box = boots.boot("hard")
        assert _last(box) == ("hard", _EXPECTED, number)
        if wear.written[_RESETS] > before:
            written.append(number)
        before = wear.written[_RESETS]
    assert written == [1, 2, 3, 10, 30, 100]
    assert _last(boots.boot("deepsleep")) == ("deepsleep", _EXPECTED, 1)
    assert [entry[_COUNT] for entry in _entries(boots.boot("hard"))] == [120, 1, 1]


def test_where_only_a_file_survives_they_are_counted_to_three():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    boots.boot()
    writes = wear.written[_RESETS]
    for number in range(1, 50):
        box = boots.boot("hard")
        assert _last(box) == ("hard", _EXPECTED, min(number, 3))
    assert wear.written[_RESETS] - writes == 3


def test_the_exception_that_came_last_is_that_of_the_reset_whichever_row_it_has():
    if not _has_files():
        skip("no files")
    boots = _Boots()
    for text in ("one", "two", "one"):  # the last one is in the first row again
        box = boots.boot("soft")
        box.keep(ValueError(text), _APPLICATION, None)
    box = boots.boot("soft")
    assert _entries(box)[-1][_TEXT] == b"ValueError: one\n"
    assert sorted([row[0] for row in box.rows[:2]]) == [1, 2]
    box.keep(ValueError("three"), _APPLICATION, None)
    assert _entries(boots.boot("soft"))[-1][_TEXT] == b"ValueError: three\n"


def test_the_last_ten_are_kept():
    boots = _Boots()
    boots.boot()
    for _ in range(8):
        boots.boot("deepsleep")
        box = boots.boot("hard")
    if _has_files():
        assert len(_entries(box)) == 10
        assert [entry[_CAUSE] for entry in _entries(box)] == ["deepsleep", "hard"] * 5


def test_a_file_that_is_damaged_anywhere_is_none():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    for cause in ("wdt", "hard"):
        boots.boot(cause)
    with open(_FILE, "rb") as file:
        whole = file.read()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1 :]):
            with open(_FILE, "wb") as file:
                file.write(damaged)
            assert len(_entries(boots.boot("pwron"))) == 1, at  # that of this boot
    _forget()


def test_a_whole_file_of_another_version_is_none_and_the_board_starts():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    exception = [1, _APPLICATION, None, 1, None, b"ValueError"]
    reset = ["wdt", 0, 1, 1, 5, None, None, None, None, 0, b"ValueError"]
    for row, place, value in (
        (exception, 1, 5),  # a kind that is not known here
        (exception, 1, None),
        (exception, 5, None),
        (exception, 5, "ValueError"),
        (reset, 1, None),
        (reset, _TEXT, 7),
    ):
        _forget()
        box = boots.boot()
        box.enter(_EXCEPTION)  # of which the text is looked for
        for other in (exception, reset):
            changed = list(other)
            if other is row:
                changed[place] = value
            box.rows[0 if other is exception else 5] = changed
        box.commit()
        box = boots.boot("pwron")
        assert box.rows[:5] == [None] * 5 and len(_entries(box)) == 1, (place, value)
    _forget()


def test_registers_of_32_bits_take_three_bytes_each():
    memory = array("I", [0] * 7)
    words = RetainedWords(None, memory, list(range(7)))
    record = bytearray([255 - place for place in range(21)])
    with no_heap():
        words.copy(record)
    assert RetainedWords(None, memory, list(range(7))).load() == bytes(record)
    assert max(memory) < 1 << 24


def test_in_seven_registers_all_fits_but_the_name():
    boots = _Boots()
    boots.board.machine = FakeMachine(array("I", [0] * 7))  # as an RP2040 has
    box = boots.boot()
    box.add = _ignore
    sample = make_sample()
    put_figure(sample, "uptime_s", 200)
    put_figure(sample, "live_bytes", 51_200)
    box.update(sample)
    entry = _entries(boots.boot())[-1]
    assert (entry[_CAUSE], entry[_UPTIME], entry[_LIVE], entry[_WHO]) == ("soft", 200, 51_200, None)


def test_what_an_application_puts_there_later_is_its_own():
    if not _has_files():
        skip("no files")
    for memory, value in ((bytearray(64), 0x17), (array("I", [0] * 7), 0xFFFFFFFF)):
        boots = _Boots()
        boots.board.machine = FakeMachine(memory)
        box = _joined(boots.boot())
        _pass(box, 200)
        memory[-1] = value
        for s in (201, 202):
            _pass(box, s)
            box.enter(_RUNNING)
        assert memory[-1] == value and not box.backed
        entry = _entries(boots.boot("wdt"))[-1]  # as the file has it
        assert (entry[_CAUSE], entry[_UPTIME]) == ("wdt", 202)
        assert memory[-1] == value


def test_what_looks_like_the_beginning_of_a_record_is_not_touched_either():
    for memory, of_ours in ((bytearray(_SIZE), 8), (array("I", [0] * 7), 3)):
        for changed in range(len(memory)):
            boots = _Boots(0)
            boots.board.machine = FakeMachine(memory)
            for place in range(len(memory)):
                memory[place] = 0
            box = _joined(boots.boot())
            _pass(box, 200)
            for place in range(changed, len(memory)):
                memory[place] ^= 1
            had = list(memory)
            with no_heap():
                box.copy(box.buf)
            if changed >= of_ours:  # else it would be one for the next boot
                had[0] = 0
            assert list(memory) == had, changed


class FakeEsp32:
    """Stands in for `machine` of esp32 before MicroPython 1.29: RTC().memory() has one value."""

    def __init__(self):
        self.value = b""
        machine = self

        class Rtc:
            def memory(self, *value):
                if not value:
                    return machine.value
                machine.value = bytes(value[0])
                return None

        self.RTC = Rtc


def _joined(box):
    box.add = _ignore
    return box


def _pass(box, s):
    """Have a sample taken at this uptime."""
    sample = make_sample()
    put_figure(sample, "uptime_s", s)
    box.uptime_s = lambda: s
    box.update(sample)


def test_an_application_that_starts_finds_nothing_of_ours_in_the_rtcs_memory():
    boots = _Boots(0)
    boots.board.machine = esp32 = FakeEsp32()
    box = _joined(boots.boot("pwron"))
    for s in range(3):
        _pass(box, s)
        assert esp32.value == b""
    _pass(box, 3)
    assert esp32.value[0] == _HEAD and len(esp32.value) == _SIZE and box.backed
    for s in range(4, 24):
        _pass(box, s)
    box = _joined(boots.boot("hard"))
    assert esp32.value == b""
    entry = _entries(box)[-1]
    assert (entry[_CAUSE], entry[_UPTIME]) == ("hard", 23)
    box.enter(_WATCHED)  # at once
    assert esp32.value[1] == _WATCHED
    box = _joined(boots.boot("wdt"))
    assert _last(box)[0] == "wdt"
    box.enter(_SAFE)
    assert esp32.value[1] == _SAFE
    box.enter(_RUNNING)  # after the wait in safe mode
    assert esp32.value == b""
    _pass(box, 3)
    assert esp32.value[1] == _RUNNING


def test_an_uptime_that_begins_anew_with_another_agent_holds_no_record_up():
    """As after an hour's wait in safe mode, when the application starts its own."""
    boots = _Boots(0)
    boots.board.machine = esp32 = FakeEsp32()
    box = _joined(boots.boot("pwron"))
    box.enter(_SAFE)
    _pass(box, 3595)
    _pass(box, 3600)
    box.enter(_RUNNING)
    for s in range(3):
        _pass(box, s)
        assert esp32.value == b""
    for s in range(3, 40):
        _pass(box, s)
        assert s - 10 < esp32.value[8] <= s
    for s in range(20):
        _pass(box, s)
    assert esp32.value[8] >= 9
    assert box.backed


def test_what_an_application_puts_into_the_rtcs_memory_stays_there():
    if not _has_files():
        skip("no files")
    for state in (b"{}", bytes(60), b"\xb1" * _SIZE):
        boots = _Boots(0)
        boots.board.machine = esp32 = FakeEsp32()
        box = _joined(boots.boot("pwron"))
        for s in range(40):
            if s == 5:
                esp32.value = state  # before it goes to sleep, say
            _pass(box, s)
        assert esp32.value == state and not box.backed
        box.enter(_EXCEPTION)
        assert esp32.value == state
        box = _joined(boots.boot("hard"))
        assert _entries(box)[-1][_CAUSE] == "exception"  # which the file has
        for s in range(40):
            _pass(box, s)
        box.enter(_ENDED)
        assert esp32.value == state, state


def test_while_the_rtcs_memory_is_not_looked_at_a_sample_takes_no_heap():
    boots = _Boots(0)
    boots.board.machine = FakeEsp32()
    box = _joined(boots.boot())
    _pass(box, 3)
    sample = make_sample()
    put_figure(sample, "uptime_s", 12)
    with no_heap():
        box.update(sample)


class FakeRp2040:
    """Stands in for `machine` of an RP2040, whose port takes each reset of its watchdog for "wdt".

    reason: what the watchdog's register has, 1 by its timer, 2 by software. MicroPython 1.28 on an
    emulated one showed these.
    """

    PWRON_RESET = 1
    WDT_RESET = 3

    def __init__(self, reason):
        self.mem32 = {0x40058008: reason}

    def reset_cause(self):
        return self.WDT_RESET if self.mem32[0x40058008] else self.PWRON_RESET


def test_an_rp2040_that_was_reset_by_software_is_not_said_to_be_by_its_watchdog():
    name = "Raspberry Pi Pico with RP2040"
    found = [reset_cause(FakeRp2040(reason), name) for reason in (0, 1, 2)]
    assert found == ["pwron", "wdt", "soft"]


def test_what_is_needed_once_in_a_boot_is_let_go():
    import sys

    from warden.crash_setup import install

    install()
    assert "warden.last_boot" not in sys.modules


def test_three_bad_boots_in_a_row_make_a_safe_one():
    for bad in ("wdt", "soft"):
        boots = _Boots()
        boots.boot()
        assert [boots.boot(bad).is_safe for _ in range(3)] == [False, False, True]
        assert boots.boot("hard").is_safe  # until its application was tried


def test_three_bad_boots_of_different_kinds_make_a_safe_one():
    boots = _Boots()
    boots.boot().keep(OSError(5), _APPLICATION, None)
    box = boots.boot("soft")
    _set_culprit(box, "sensor", _HUNG, True)
    causes = [_last(box)[0]]
    for _ in range(2):
        assert not box.is_safe
        box = boots.boot("wdt")
        causes.append(_last(box)[0])
    assert causes == ["exception", "hang", "wdt"] and box.is_safe


def test_what_the_owner_does_neither_counts_nor_clears():
    boots = _Boots()
    boots.boot()
    streaks = [boots.boot(cause).bad for cause in ("wdt", "hard", "wdt", "deepsleep", "pwron")]
    assert streaks[:4] == [1, 1, 2, 2]
    boots = _Boots()
    boots.boot().enter(_ENDED)  # Ctrl-C, say, and a reset from the REPL
    assert boots.boot("soft").bad == 0


def test_a_boot_of_three_minutes_clears():
    boots = _Boots()
    boots.boot()
    boots.boot("wdt")
    box = boots.boot("wdt")
    assert box.bad == 2
    box.add = _ignore
    sample = make_sample()
    put_figure(sample, "uptime_s", 180)
    box.update(sample)
    assert box.bad == 0
    assert not boots.boot("wdt").is_safe


def test_a_thousand_boots_that_crash_at_once_hardly_write():
    if not _has_files():
        skip("no files")
    for size, count in ((0, 1000), (64, 100)):
        boots = _Boots(size)
        tries = 0
        for number in range(count):
            crashes = boots.boot()
            box = crashes
            assert box.is_safe == (number >= 3), number
            if not box.is_safe or number % 3 == 0:  # reset while it waits, or tried again
                box.is_safe = False
                box.enter(_RUNNING, False)
                crashes.keep(OSError(5), _APPLICATION, None)
                tries += 1
        assert tries > count // 3
        assert wear.written[_RESETS] < 40, wear.written


def test_a_board_whose_hardware_watchdog_bites_at_each_boot_hardly_writes():
    if not _has_files():
        skip("no files")
    boots = _Boots(0)
    for _ in range(200):
        crashes = boots.boot("wdt")
        duties = duties_of(make_watchdog(crashes))
        duties.feed = bool
        duties.note_fault("sensor")
    assert _last(crashes)[:2] == ("wdt", 0)
    assert _entries(crashes)[-1][_WHO] == "sensor"
    assert wear.written[_RESETS] < 60, wear.written
