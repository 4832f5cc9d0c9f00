"""Mounts are scanned seldom, more seldom where it takes long, and only what changed is told."""

from rig import FakeTicks
from warden.clock import Clock
from warden.storage import Storage


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
        return self.disks[mount]


def _storage():
    disks = FakeDisks()
    clock = Clock(disks.ticks_ms, disks.ticks_diff)
    return disks, clock, Storage(disks, clock)


def test_a_row_holds_what_statvfs_says_in_blocks():
    _, _, storage = _storage()
    assert storage.read() == 1
    assert storage.rows == [["/", 4096, 100, 60, 50]]


def test_only_what_changed_is_marked():
    disks, _, storage = _storage()
    disks.disks["/sd"] = (512, 0, 1000, 900, 900, 0, 0, 0, 0, 255)
    assert storage.read() == 0b11
    assert storage.rows[1][1] == 512  # f_frsize of 0: a FAT driver of old
    assert storage.read() == 0
    disks.disks["/sd"] = (512, 0, 1000, 800, 800, 0, 0, 0, 0, 255)
    assert storage.read() == 0b10
    del disks.disks["/sd"]
    assert storage.read() == 0b01


def test_nothing_mounted_is_one_row_that_says_so():
    disks, _, storage = _storage()
    storage.read()
    disks.disks = {}
    assert storage.read() == 1
    assert storage.rows == []


def test_what_tells_nothing_is_left_out():
    disks, _, storage = _storage()
    disks.disks["/rom"] = None
    disks.disks["/empty"] = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    storage.read()
    assert [row[0] for row in storage.rows] == ["/"]


def test_the_table_has_a_fixed_size():
    disks, _, storage = _storage()
    for number in range(9):
        disks.disks["/" + str(number)] = disks.disks["/"]
    assert storage.read() == 0b1111
    assert len(storage.rows) == 4


def test_a_quick_scan_comes_once_a_minute():
    disks, clock, storage = _storage()
    storage.read()
    for _ in range(59):
        disks.pass_ms(1000)
        clock.advance()
        assert not storage.due()
    disks.pass_ms(1000)
    clock.advance()
    assert storage.due()


def test_a_scan_that_takes_seconds_comes_seldom():
    disks, clock, storage = _storage()
    disks.scan_ms = 2000
    storage.read()
    disks.pass_ms(900_000)
    clock.advance()
    assert not storage.due()
    disks.pass_ms(100_000)
    clock.advance()
    assert storage.due()
