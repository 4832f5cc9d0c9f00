"""Mounts are scanned seldom, not by itself where it takes long; only what changed is sent."""

import sys

from figures import figure
from harness import no_heap, skip
from rig import FakeTicks, PressedBoard, SinkLink, forget_writes
from warden.policy.forecast import Forecast
from warden.sensors.storage import shift_for
from warden.setup import make_agent, make_clock, make_sample, make_storage
from warden.uplink import Uplink
from warden.wear import wear

NOTHING_MOUNTED, NO_SCAN, IMPOSSIBLE = 5, 10, 18  # reasons, of ids


class FakeDisks(FakeTicks):
    """Stands in for a board's file systems: name -> os.statvfs, a scan takes `scan_ms`."""

    def __init__(self):
        super().__init__()
        self.disks = {"/": (4096, 4096, 100, 60, 50, 0, 0, 0, 0, 255)}
        self.scan_ms = 3

    def mounts(self):
        return sorted(self.disks)

    def statvfs(self, mount):
        self.pass_ms(self.scan_ms)
        if isinstance(self.disks[mount], Exception):
            raise self.disks[mount]
        return self.disks[mount]


def _storage():
    disks = FakeDisks()
    clock = make_clock(disks)
    return disks, clock, make_storage(disks, clock)


def _scan(storage):
    """Have it scan now; return the bits of the rows that changed."""
    _marked(storage)
    storage.deadline_s = 0
    storage.read(make_sample().figures)
    return _marked(storage)


def _marked(storage):
    """Return the bits of the rows that are to be sent, and have none to be sent from now on."""
    bits = 0
    for row in range(4):
        bits |= storage.dirty[row] << row
        storage.dirty[row] = 0
    return bits


def _is_due(storage):
    """Have it read; tell whether it scanned."""
    storage.spent_us = 0
    storage.read(make_sample().figures)
    return storage.spent_us > 0


def test_a_row_holds_what_statvfs_says_in_blocks():
    _, _, storage = _storage()
    assert _scan(storage) == 1
    assert storage.rows == [("/", 4096, 100, 60, 50)]


def test_only_what_changed_is_marked():
    disks, _, storage = _storage()
    disks.disks["/sd"] = (512, 0, 1000, 900, 900, 0, 0, 0, 0, 255)
    assert _scan(storage) == 0b11
    assert storage.rows[1][1] == 512  # f_frsize of 0: a FAT driver of old
    assert _scan(storage) == 0
    disks.disks["/sd"] = (512, 0, 1000, 800, 800, 0, 0, 0, 0, 255)
    assert _scan(storage) == 0b10
    del disks.disks["/sd"]
    assert _scan(storage) == 0b01


def test_without_a_mount_one_row_is_sent_to_say_so():
    disks, _, storage = _storage()
    _scan(storage)
    disks.disks = {}
    assert _scan(storage) == 1
    assert storage.rows == []


def test_a_mount_without_figures_is_left_out():
    disks, _, storage = _storage()
    disks.disks["/rom"] = None
    disks.disks["/empty"] = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    _scan(storage)
    assert [row[0] for row in storage.rows] == ["/"]


def test_a_mount_with_invalid_figures_is_left_out():
    disks, _, storage = _storage()
    for number, stat in enumerate(
        (
            (4096, 4096, 100, 101, 50),  # more free blocks than there are
            (4096, 4096, 100, 60, 61),
            (4096, 4096, 100, -1, -1),
            (4096, 4096, -100, -60, -60),
            (-4096, -4096, 100, 60, 50),
            (4096, 4096, 1 << 60, 60, 50),
            (1 << 40, 1 << 40, 100, 60, 50),
            (0, 0, 100, 60, 50),
            (4096, 4096),
            (4096, 4096, None, None, None),
            ValueError("a driver that somebody wrote"),
        )
    ):
        disks.disks["/" + str(number)] = stat
    assert _scan(storage) == 1
    assert storage.rows == [("/", 4096, 100, 60, 50)]


def test_what_a_driver_has_divided_is_whole_bytes_and_blocks():
    disks, _, storage = _storage()
    disks.disks["/"] = (4096, 4096.0, 100, 60.5, 50.25)
    assert _scan(storage) == 1
    assert [repr(value) for value in storage.rows[0][1:]] == ["4096", "100", "60", "50"]
    assert (storage.permille, storage.reason) == (400, storage.reason)


def test_with_no_memory_left_the_last_figures_stay():
    disks, clock, storage = _storage()
    disks.disks["/sd"] = disks.disks["/"]
    sample = make_sample()
    assert storage.read(sample.figures)
    _marked(storage)
    known = disks.disks["/sd"]
    disks.disks["/sd"] = MemoryError()
    storage.deadline_s = 0
    assert not storage.read(sample.figures)
    assert (len(storage.rows), storage.permille, _marked(storage)) == (2, 400, 0)
    assert storage.deadline_s == clock.s + 60
    disks.disks["/sd"] = known
    assert _scan(storage) == 0


class _Limit(Forecast):
    """Returns what a forecast of storage would have to reach."""

    def __init__(self):
        pass

    def seconds(self, metric, limit):
        return limit


def _limit(storage):
    return _Limit().storage(storage)


def test_the_sample_has_the_first_mount():
    disks, _, storage = _storage()
    sample = make_sample()
    assert storage.read(sample.figures)
    assert (storage.permille, figure(sample, "storage_used"), _limit(storage)) == (400, 40, 100)
    disks.disks["/"] = (4096, 4096, 1_000_000, 300_000, 300_000)
    storage.deadline_s = 0
    assert not storage.read(sample.figures)  # no capability may have changed
    assert (storage.permille, figure(sample, "storage_used")) == (700, 700_000 >> 4)
    assert _limit(storage) == 1_000_000 >> 4
    disks.disks = {}
    storage.deadline_s = 0
    assert storage.read(sample.figures)
    assert (storage.permille, figure(sample, "storage_used"), _limit(storage)) == (None, None, None)


def test_a_scale_is_the_finest_that_16_bits_hold():
    for total in (0, 1, 65_534, 65_535, 131_069, 131_070, 200_000_000, 1 << 32):
        shift = shift_for(total)
        assert total >> shift <= 65_534
        assert shift == 0 or total >> shift - 1 > 65_534


def test_between_two_scans_nothing_is_allocated():
    _, _, storage = _storage()
    sample = make_sample()
    storage.read(sample.figures)
    _marked(storage)
    storage.spent_us = 0
    with no_heap():
        assert not storage.read(sample.figures)
    assert (_marked(storage), storage.spent_us) == (0, 0)


def test_the_table_has_a_fixed_size():
    disks, _, storage = _storage()
    for number in range(9):
        disks.disks["/" + str(number)] = disks.disks["/"]
    assert _scan(storage) == 0b1111
    assert len(storage.rows) == 4


def test_a_quick_scan_comes_once_a_minute():
    disks, clock, storage = _storage()
    _scan(storage)
    for _ in range(59):
        disks.pass_ms(1000)
        clock.advance()
        assert not _is_due(storage)
    disks.pass_ms(1000)
    clock.advance()
    assert _is_due(storage)


def test_a_scan_that_took_long_is_not_made_again_by_itself():
    disks, clock, storage = _storage()
    disks.scan_ms = 21
    assert _is_due(storage)
    assert storage.permille == 400  # what it found is there all the same
    for _ in range(8):
        disks.pass_ms(1 << 28)
        clock.advance()
        assert not _is_due(storage)
    disks.disks["/"] = (4096, 4096, 100, 30, 20)
    disks.scan_ms = 5
    storage.scan()  # the application says when
    sample = make_sample()
    assert storage.read(sample.figures) and storage.permille == 700


def test_figures_that_cannot_be_are_not_known_with_a_reason():
    disks, _, storage = _storage()
    assert storage.reason == NO_SCAN
    for free in (-96, 0xFFFFFFFF - 95):
        disks.disks["/"] = (4096, 4096, 256, free, free, 0, 0, 0, 0, 255)
        disks.disks["/sd"] = (512, 512, 1000, 900, 900)
        _scan(storage)
        assert (storage.permille, storage.reason) == (None, IMPOSSIBLE)  # it is not that of /sd
        assert [row[0] for row in storage.rows] == ["/sd"]
    disks.disks = {"/": (0,) * 10}
    _scan(storage)
    assert (storage.rows, storage.reason) == ([], IMPOSSIBLE)
    disks.disks = {"/rom": None}
    _scan(storage)
    assert storage.reason == NOTHING_MOUNTED


def test_storage_is_granted_by_what_can_be_and_without_a_scan_where_that_takes_long():
    rig = make_agent(PressedBoard(), 1000, limits=(4, 300_000, 100, 5000))
    board = rig.board
    free = []

    def statvfs(mount):
        return (4096, 4096, 100, free[-1], free[-1])

    board.statvfs = statvfs
    for blocks, available in ((60, 50 * 4096), (-96, 0), (0xFFFFFFFF - 95, 0)):
        free.append(blocks)
        assert rig.policy.available(1, "/") == available, blocks
    free.append(30)
    rig.storage.scan()
    free.append(90)
    rig.storage.deadline_s = 0x3FFFFFFF  # it took long
    assert rig.policy.available(1, "/") == 20 * 4096
    assert rig.policy.available(1, "/sd") == 0


def test_a_lease_finds_out_once_that_to_measure_takes_long():
    rig = make_agent(PressedBoard(), 1000, limits=(4, 300_000, 100, 5000))
    board = rig.board
    asked = []

    def statvfs(mount):
        asked.append(mount)
        board.ticks.pass_ms(25)
        return (4096, 4096, 100, 50, 50)

    board.statvfs = statvfs
    for _ in range(3):
        rig.policy.available(1, "/")
    assert asked == ["/"]


def test_the_mount_of_the_root_is_the_first_in_whatever_order_they_are_named():
    disks, _, storage = _storage()
    disks.disks["/sd"] = (512, 512, 1000, 900, 900)
    disks.mounts = lambda: ["/sd", "/"]
    _scan(storage)
    assert [row[0] for row in storage.rows] == ["/", "/sd"]
    assert storage.permille == 400


def test_the_agent_starts_beside_a_file_whose_name_is_no_text():
    if sys.implementation.name != "micropython" or sys.platform != "linux":
        skip("os.system() is the unix port's")
    import os

    import warden

    assert os.system("touch $(printf 'caf\\351')") == 0
    try:
        warden.start(link=False, protect=False)
        assert warden.status()["running"]
    finally:
        warden.stop()
        assert os.system("rm $(printf 'caf\\351')") == 0


def test_the_start_measures_no_storage_where_that_takes_long_on_micropython():
    import os

    if sys.implementation.name != "micropython":
        skip("warden.start() is for MicroPython")
    import warden
    from warden.board import Board

    try:
        open("warden.slow", "a").close()
        os.remove("warden.slow")
    except (AttributeError, NameError, OSError):
        skip("no files")
    scans = []

    def statvfs(self, mount):
        scans.append(mount)
        began = self.ticks_ms()
        while self.ticks_diff(self.ticks_ms(), began) < 22:
            pass
        return (4096, 4096, 100, 40, 40, 0, 0, 0, 0, 255)

    def start(storage=True):
        del scans[:]
        warden.start(link=False, protect=False, storage=storage)
        found = [mount["usage_permille"] for mount in warden.status()["storage"]]
        return found, len(scans)

    def busy_once(self, mount):
        if not scans:  # another program had the core
            return statvfs(self, mount)
        scans.append(mount)
        return (4096, 4096, 100, 40, 40)

    real = Board.statvfs
    notes = wear.written[2]
    try:
        if sys.platform == "linux":
            Board.statvfs = busy_once
            assert start() == ([600], 2)
            assert "warden.slow" not in os.listdir()
            warden.stop()
        Board.statvfs = statvfs
        assert start(False) == ([], 0)
        warden.stop()
        assert start() == ([600], 2 if sys.platform == "linux" else 1)
        assert warden.status()["storage"][0]["agent_writes"]["note"] == notes + 1
        warden.stop()
        assert start() == ([], 0)  # the board remembers
        Board.statvfs = lambda self, mount: (4096, 4096, 100, 40, 40)
        folder = os.getcwd()
        os.chdir("/")  # the application may be elsewhere by then
        assert warden.scan_storage()[0]["usage_permille"] == 600
        assert warden.scan_storage()[0]["agent_writes"]["note"] == notes + 2  # that it is gone
        os.chdir(folder)
        warden.stop()
        assert start()[0] == [600]
    finally:
        warden.stop()
        Board.statvfs = real


def test_the_counts_of_writes_are_shown_on_the_innermost_mount_of_the_agents_files():
    disks, _, storage = _storage()
    disks.disks["/sd"] = disks.disks["/"]
    uplink = Uplink(SinkLink())
    _scan(storage)
    assert "agent_writes" not in storage.mounts[0]  # it has written nothing
    forget_writes()
    disks.path = "/warden"
    wear.join(storage)
    for path, row in (("/warden", 0), ("/sd/warden", 1)):
        disks.path = path
        assert _scan(storage) >> row & 1
        assert wear.spend(1, 0)
        assert _marked(storage) == 1 << row
        shown = [mount["agent_writes"] for mount in storage.mounts]
        assert shown[row] == {"resets": 0, "policy": row + 1, "note": 0, "budget": 0}
        assert shown[1 - row] is None
        for place in (0, 1):
            assert storage.encode(place, uplink)
            expected = bytes((0x94, 0, row + 1, 0, 0)) if place == row else bytes((0xC0,))
            assert bytes(uplink.payload[: uplink.at]).endswith(expected)
            assert uplink.payload[0] == 0x90 + 10
    forget_writes()
