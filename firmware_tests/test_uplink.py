"""Frames leave as far as the link takes them, and nothing ever waits (invariant 2)."""

from harness import no_heap, raises
from rig import FakeLine, SilentLine
from warden.uplink import Uplink
from warden_schema import codec


def _send(uplink, kind=6, value=None):
    if value is None:
        return uplink.ready() and uplink.send(uplink.begin(kind, 0), 48)
    at = uplink.begin(kind, 1)
    return uplink.ready() and uplink.send(codec.put(uplink.payload, at, value), 48)


def test_frames_are_numbered():
    line = FakeLine()
    uplink = Uplink(line)
    for _ in range(3):
        assert _send(uplink)
    assert line.told() == [[6, 0], [6, 1], [6, 2]]


def test_numbers_wrap():
    line = FakeLine()
    uplink = Uplink(line)
    for _ in range(65_538):
        line.outbox = bytearray()
        _send(uplink)
    assert line.told() == [[6, 1]]


def test_a_link_that_takes_nothing_costs_no_number():
    line = FakeLine()
    uplink = Uplink(line)
    line.room = 0
    assert not _send(uplink)
    line.room = None
    assert _send(uplink)
    assert line.told() == [[6, 0]]


def test_a_frame_taken_in_part_is_finished_before_the_next():
    line = FakeLine()
    uplink = Uplink(line)
    line.room = 5
    assert _send(uplink, 7, b"0123456789")
    assert not _send(uplink)
    line.room = 3
    assert not _send(uplink)
    line.room = None
    assert _send(uplink)
    assert line.told() == [[7, 0, b"0123456789"], [6, 1]]


def test_the_window_bounds_what_is_not_acknowledged():
    line = FakeLine(window=148)
    uplink = Uplink(line)
    sent = 0
    while _send(uplink, 7, b"0123456789"):
        sent += 1
    assert 0 < len(line.outbox) <= 100
    assert len(line.told()) == sent
    uplink.acknowledge(sent - 1)
    assert _send(uplink, 7, b"0123456789")


def test_a_small_frame_still_goes_when_the_rest_is_not_acknowledged():
    line = FakeLine(window=148)
    uplink = Uplink(line)
    while _send(uplink, 7, b"0123456789"):
        pass
    probes = 0
    while uplink.send(uplink.begin(6, 0), 0):
        probes += 1
    assert probes >= 4
    assert len(line.outbox) <= 148
    uplink.acknowledge(line.told()[-1][1])
    assert _send(uplink, 7, b"0123456789")


def test_one_frame_larger_than_the_window_may_go_when_nothing_is_under_way():
    line = FakeLine(window=68)
    uplink = Uplink(line)
    assert _send(uplink, 7, b"x" * 50)
    assert not _send(uplink)
    uplink.acknowledge(0)
    assert _send(uplink)


def test_a_lying_acknowledgement_changes_nothing():
    line = FakeLine(window=88)
    uplink = Uplink(line)
    assert _send(uplink, 7, b"x" * 20)
    for seq in (1, 2, 100, 30_000, 65_535, -5, 1 << 29):
        uplink.acknowledge(seq)
        assert not _send(uplink, 7, b"x" * 20), seq
    uplink.acknowledge(0)
    assert _send(uplink, 7, b"x" * 20)


def test_the_window_holds_when_the_byte_count_wraps():
    line = FakeLine(window=148)
    uplink = Uplink(line)
    for seq in range(4000):  # 140 000 bytes
        assert _send(uplink, 7, b"x" * 30), seq
        uplink.acknowledge(seq)
        line.outbox = bytearray()
    while _send(uplink, 7, b"x" * 30):
        pass
    assert len(line.outbox) <= 100


def test_it_allocates_nothing():
    line = SilentLine()
    uplink = Uplink(line)
    with no_heap():
        for seq in range(20):
            at = codec.put_int(uplink.payload, uplink.begin(7, 1), 123_456)
            if uplink.ready():
                uplink.send(at, 48)
            uplink.acknowledge(seq)
    assert line.taken > 100


def test_ctrl_c_after_a_write_makes_no_two_frames_of_one_number():
    line = FakeLine()
    uplink = Uplink(line)
    write = line.write

    def interrupted(*frame):
        write(*frame)
        raise KeyboardInterrupt

    line.write = interrupted
    raises(KeyboardInterrupt, _send, uplink)
    line.write = write
    assert _send(uplink)
    assert line.told() == [[6, 0], [6, 1]]
