# targets: unix frozen
"""Writes to flash are counted and have a budget, and so have the application's files."""

import os

import harness
import no_memory
import warden
from figures import figure, put_figure
from harness import Skip, no_heap, raises
from rig import board, forget_writes
from warden.crash_setup import make_crashes
from warden.metered_file import MeteredFile
from warden.running import running_agent
from warden.sensors.threads import locks
from warden.setup import make_sample
from warden.wear import wear

_APPLICATION, _HANG = 3, 4
_RESETS = 0
_RUNNING, _HUNG = 0, 7  # states of the record
_MAX_LIST = 3000  # bytes in the file
_BUDGETS = "warden.budgets"


class _Machine:
    def __init__(self, memory):
        self.memory = memory

    def mem_backup(self):
        return memoryview(self.memory)


class _Board:
    """A board whose file is in a directory; memory: what survives a reset of it, or None."""

    identity = ("fake", "fake", "fake", b"", None, "0")

    def __init__(self, memory=None):
        real = board()
        self.ticks_ms = real.ticks_ms
        self.ticks_diff = real.ticks_diff
        self.facts = {}
        self.machine = None if memory is None else _Machine(memory)


def _boot(fake):
    """Return the Crashes of another boot."""
    del locks[1:]
    forget_writes()
    fake.path = os.getcwd().rstrip("/") + "/warden"
    return make_crashes(fake)


def _forget(*names):
    for name in names or ("warden.resets",):
        for end in ("", ".new", ".last"):
            try:
                os.remove(name + end)
            except OSError:
                pass


def _crash(crashes, text):
    crashes.is_safe = False  # it is tried again, if it waited
    crashes.enter(_RUNNING, False)
    crashes.keep(ValueError(text), _APPLICATION, None)


def test_boots_that_crash_each_in_another_way_write_less_than_200_times():
    for memory in (None, bytearray(64)):
        _forget()
        fake = _Board(memory)
        counted = 0
        boots = 1000 if harness.SOAK else 250
        for number in range(boots):
            crashes = _boot(fake)
            written = wear.written[_RESETS]
            assert written >= counted, "the counts go on over boots"
            _crash(crashes, "reading %d" % number)
            counted = wear.written[_RESETS]
        assert 20 < counted < 200, counted
        assert crashes.bad >= 3
    _forget()


def test_what_the_budget_does_not_allow_is_written_when_it_does():
    _forget()
    box = _boot(_Board(bytearray(64)))
    box.add = lambda sample: None
    wear.left = 0
    before = wear.written[_RESETS]
    box.commit()
    sample = make_sample()
    assert (wear.written[_RESETS], box.deadline_s) == (before, 900)
    box.uptime_s = lambda: figure(sample, "uptime_s")
    for s in (60, 899, 900, 960):
        put_figure(sample, "uptime_s", s)
        box.update(sample)
        assert (wear.written[_RESETS] > before) == (s >= 900)
    assert box.deadline_s == 0 and wear.left == 0
    _forget()


def test_the_uptime_of_an_agent_that_began_later_earns_writes_from_its_begin():
    _forget()
    try:
        for before in (0, 18_900):  # the uptime of the agent before
            forget_writes()
            wear.left = 0
            wear.storage = None
            wear.deadline_s = before + 900
            warden.start(600_000, link=False)
            wear.join(running_agent().storage)
            now = running_agent().clock.s
            assert now < 100 and not wear.spend(_RESETS, now + 899), before
            assert wear.spend(_RESETS, now + 900), before
            assert not wear.spend(_RESETS, now + 901)
            warden.stop()
    finally:
        warden.stop()
        forget_writes()


def test_time_without_a_crash_and_boots_are_counted_over_boots():
    _forget()
    fake = _Board(bytearray(64))
    fake.identity = ("fake", "fake", "fake", b"", "hard", "0")
    box = _boot(fake)
    for number in range(2, 7):
        box.add = lambda sample: None
        sample = make_sample()
        put_figure(sample, "uptime_s", 7200)
        box.update(sample)
        box = _boot(fake)
        assert (box.boots, box.live_s) == (number, 7200 * (number - 1))
    _crash(box, "now")
    assert _boot(fake).live_s == 0
    _forget()


def test_a_board_that_crashes_after_each_wait_of_safe_mode_stays_in_it():
    _forget()
    fake = _Board(bytearray(64))
    for number in range(8):
        crashes = _boot(fake)
        box = crashes
        assert box.is_safe == (number >= 3), number
        assert box.bad == number
        _crash(crashes, "at once")
        if box.bad >= 3:  # it has waited for long before
            box.uptime_s = lambda: 3600
            box.enter(box.state, False)
    _forget()


# --- the application's files ----------------------------------------------------------------------


class _Files:
    """An agent that has started, and a lease; files and budgets are gone afterwards."""

    def __enter__(self):
        _forget(_BUDGETS, "log")
        MeteredFile.budgets = None
        forget_writes()
        warden.start(link=False)
        return warden.allocate(warden.STORAGE, 1_000_000, ttl_ms=None)

    def __exit__(self, kind, error, trace):
        warden.stop()
        _forget(_BUDGETS, "log")
        MeteredFile.budgets = None


def _write(lease, size, count=1):
    """Return how many writes of `size` bytes of `count` were refused."""
    refused = 0
    with lease.open("log", "a") as file:
        for _ in range(count):
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == 122
                refused += 1
    return refused


def _events():
    from warden.running import running_policy

    ring = running_policy().events.ring
    return [tuple(ring[at + 4 : at + 6]) for at in range(0, len(ring), 6) if ring[at] == "budget"]


def test_a_file_is_refused_what_its_budget_does_not_have():
    with _Files() as lease:
        warden.file_budget("log", 800)
        assert _write(lease, 100, 10) == 2
        assert os.stat("log")[6] == 800
        ((path, value),) = _events()
        assert path.endswith("/log") and value == 800
        assert wear.written[3] == 8
        mount = warden.status()["storage"][0]
        assert mount["agent_writes"]["budget"] == 8
        budget = MeteredFile.budgets[os.getcwd() + "/log"]
        budget.earned_s -= 10_800  # three hours: an eighth of a day
        if budget.earned_at is not None:
            budget.earned_at -= 10_800
        assert _write(lease, 100, 2) == 1
        warden.file_budget("log", None)
        assert _write(lease, 100, 2) == 0


def test_a_write_is_counted_where_no_memory_is_left_to_show_it():
    forget_writes()
    warden.start(link=False)
    try:
        wear.join(running_agent().storage)
        with no_heap():
            assert wear.spend(_RESETS, 0)
        assert wear.written[_RESETS] == 1
        assert warden.status()["storage"][0]["agent_writes"] is None
        wear.renew()
        assert warden.status()["storage"][0]["agent_writes"]["resets"] == 1
    finally:
        warden.stop()
        forget_writes()


def test_a_budget_that_only_tells_refuses_nothing():
    with _Files() as lease:
        warden.file_budget("log", 800, refuse=False)
        assert _write(lease, 500, 4) == 0
        assert len(_events()) == 1


def test_where_a_budget_cannot_be_noted_it_holds_for_this_boot():
    with _Files() as lease:
        warden.file_budget("log", 800)
        policy = MeteredFile.budgets[os.getcwd() + "/log"].policy
        policy.agent.board.path = "/nowhere/warden"
        assert _write(lease, 100, 10) == 2
        wear.left = 0  # that it was written too often is another matter
        warden.file_budget("log", 1600)
        assert _write(lease, 100) == 1
        wear.left = 100


def test_a_board_that_boots_again_and_again_keeps_to_the_budget_of_a_file():
    with _Files() as lease:
        for _ in range(30):
            MeteredFile.budgets = None  # as after a reset
            warden.file_budget("log", 800)
            _write(lease, 10, 3)
        assert os.stat("log")[6] <= 800
        raises(ValueError, warden.file_budget, "x" * 200, 800)
        raises(ValueError, warden.file_budget, "log", 3)
        for name in "abc":
            warden.file_budget(name, 800)
        raises(ValueError, warden.file_budget, "d", 800)


# --- loss of power --------------------------------------------------------------------------------


class _Disk:
    """A disk in memory; after `left` writes and erasures it has lost its power."""

    def __init__(self, data, left=None):
        self.data = data
        self.left = left

    def readblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        if self._has_power():
            at = block * 512 + (offset or 0)
            self.data[at : at + len(buf)] = buf

    def _has_power(self):
        if self.left is not None:
            self.left -= 1
            return self.left >= 0
        return True

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // 512
        if op == 5:
            return 512
        if op == 6 and self._has_power():
            self.data[arg * 512 : arg * 512 + 512] = b"\xff" * 512
        return 0


class _FrugalDisk(_Disk):
    """One that takes no heap, as a board's own driver does."""

    def readblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        for place in range(len(buf)):
            buf[place] = self.data[at + place]

    def writeblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        for place in range(len(buf)):
            self.data[at + place] = buf[place]

    def ioctl(self, op, arg):
        return 0 if op == 6 else super().ioctl(op, arg)


def _check_full_heap(kind, options):
    """Check, on a file system of its own, that what is kept in a full heap is in the file."""
    data = bytearray(128 * 512)
    kind.mkfs(_FrugalDisk(data), **options)
    os.mount(kind(_FrugalDisk(data), **options), "/disk")
    os.chdir("/disk")
    try:
        for cause in ("exception", "hang"):
            box = _boot(_Board())
            box.commit()  # which gives back what it takes
            error = ValueError("in a full heap")
            no_memory.fill()
            if cause == "hang":
                box.note_fault(box.keep(error, _HANG, None), _HUNG)
            else:
                box.keep(error, _APPLICATION, None)
            no_memory.empty()
            entry = [row for row in _boot(_Board()).rows[5:] if row][-1]
            assert entry[0] == cause, (kind, options, entry)
            assert entry[10].endswith(b"ValueError: in a full heap\n"), entry
    finally:
        no_memory.empty()
        os.umount("/disk")


def test_in_a_full_heap_what_ended_the_application_is_in_the_file():
    here = os.getcwd()
    try:
        for size in (32, 128):  # littlefs gives each open file a buffer of four of them
            _check_full_heap(os.VfsLfs2, {"readsize": size, "progsize": size})
            os.chdir(here)
        _check_full_heap(os.VfsFat, {})
    finally:
        os.chdir(here)


def _fill_up():
    """Write until the file system is full."""
    with open("log", "ab") as file:
        try:
            while file.write(b"x" * 64) == 64:
                file.flush()
        except OSError:
            pass


def test_on_a_full_file_system_boots_that_crash_end_in_safe_mode():
    here = os.getcwd()
    for kind, was_cut in ((os.VfsLfs2, False), (os.VfsLfs2, True), (os.VfsFat, True)):
        data = bytearray(128 * 512)
        kind.mkfs(_Disk(data))
        os.mount(kind(_Disk(data)), "/disk")
        os.chdir("/disk")
        try:
            if was_cut:  # the power was lost while the file for that was made
                open("warden.resets.last", "wb").close()
            _crash(_boot(_Board()), "when there was room")
            before = _boot(_Board())
            _fill_up()
            for number in (1, 2, 3):
                _crash(before, "%d without room for it %s" % (number, "x" * 30))
                before = _boot(_Board())
                assert (before.bad, before.boots) == (number + 1, number + 2), kind
                first, entry = [row for row in before.rows[5:] if row]
                assert first[10].endswith(b"when there was room\n"), "those in the list stay"
                assert entry[0] == "exception"
                assert entry[10] is None or b"without room" in entry[10], "not that of another one"
                assert "warden.resets.new" not in os.listdir()
            assert before.is_safe
            os.remove("log")
            _crash(before, "with room")
            entry = [row for row in _boot(_Board()).rows[5:] if row][-1]
            assert entry[10].endswith(b"with room\n"), entry
            with open("warden.resets", "wb"):
                pass
            after = _boot(_Board())
            assert (after.boots, after.bad) == (1, 0), "what is left is older than what was lost"
        finally:
            os.chdir(here)
            os.umount("/disk")


def test_a_loss_of_power_on_a_full_file_system_loses_no_crash_before():
    here = os.getcwd()
    for kind in (os.VfsLfs2, os.VfsFat):
        data = bytearray(128 * 512)
        kind.mkfs(_Disk(data))
        os.mount(kind(_Disk(data)), "/disk")
        os.chdir("/disk")
        try:
            before = _boot(_Board())
            assert wear.written[_RESETS] == 2  # the list, and the file for this
            _crash(before, "when there was room")
            before = _boot(_Board())
            _fill_up()
            _crash(before, "without room")
        finally:
            os.chdir(here)
            os.umount("/disk")
        found = set()
        was_cut = True
        left = 0
        while was_cut:
            disk = _Disk(bytearray(data))
            os.mount(kind(disk), "/disk")
            os.chdir("/disk")
            try:
                before = _boot(_Board())
                assert before.bad == 2
                disk.left = left
                _crash(before, "while the power goes")
                was_cut = disk.left < 0
                os.chdir(here)
                try:
                    os.umount("/disk")  # what it writes now is lost, too
                except OSError:
                    pass
                os.mount(kind(_Disk(disk.data)), "/disk")
                os.chdir("/disk")
                after = _boot(_Board())
                found.add((after.bad, after.boots))
            finally:
                os.chdir(here)
                os.umount("/disk")
            left += 1
        assert found == {(2, 4), (3, 4)}, (kind, found)  # the record before it, or the new one


def _texts(box):
    """Return what identifies the entries of the list of resets."""
    return [(entry[0], entry[10]) for entry in box.rows[5:] if entry]


def test_whenever_the_power_is_lost_the_list_of_resets_is_the_old_or_the_new_one():
    try:
        from random import randint
    except ImportError:
        raise Skip("no random")
    here = os.getcwd()
    cuts = 250 if harness.SOAK else 10  # of each file system
    for kind in (os.VfsLfs2, os.VfsFat):
        data = bytearray(128 * 512)
        kind.mkfs(_Disk(data))
        fake = _Board()
        writes = 12
        outcomes = set()
        number = 0
        while number < cuts:
            disk = _Disk(data, 1_000_000)
            os.mount(kind(disk), "/disk")
            os.chdir("/disk")
            try:
                before = _boot(fake)
                old = _texts(before)
                used = disk.left
                disk.left = randint(0, writes)
                _crash(before, "%d %s" % (number, "x" * randint(0, 30)))
                was_cut = disk.left < 0
                if not was_cut:
                    writes = min(used, max(4, writes - 1))
                os.chdir(here)
                try:
                    os.umount("/disk")  # what it writes now is lost, too
                except OSError:
                    pass
                os.mount(kind(_Disk(data)), "/disk")
                os.chdir("/disk")
                found = _texts(_boot(fake))
                if found != old:  # the boot that ended is in it
                    assert found[-1][0] in ("exception", None), found
                    assert found[:-1] == old or len(old) == 10, (old, found)
                    text = found[-1][1]
                    if found[-1][0] == "exception" and text is None:
                        # FAT loses clusters where its power is lost, until it is full of them.
                        assert kind is os.VfsFat and os.statvfs("/disk")[3] * 512 < _MAX_LIST
                        kind.mkfs(_Disk(data))
                    elif found[-1][0] == "exception":
                        assert text.endswith("x\n") or text.endswith(" \n")
                number += was_cut
                outcomes.add((was_cut, found[-1][0] if found else None))
            finally:
                os.chdir(here)
                os.umount("/disk")
        assert (True, "exception") in outcomes or (False, "exception") in outcomes, outcomes
