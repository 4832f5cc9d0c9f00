"""Frames leave as far as the link takes them, and nothing ever waits (invariant 2)."""

from harness import no_heap, raises
from rig import FakeLink, SinkLink
from warden.uplink import Uplink


def _send(uplink, kind=6, value=None):
    uplink.begin(kind, 0 if value is None else 1)
    if value is not None:
        uplink.put(value)
    return uplink.send()


def test_frames_are_numbered():
    link = FakeLink()
    uplink = Uplink(link)
    for _ in range(3):
        assert _send(uplink)
    assert link.sent() == [[6, 0], [6, 1], [6, 2]]


def test_numbers_wrap():
    link = FakeLink()
    uplink = Uplink(link)
    for _ in range(65_538):
        link.outbox = bytearray()
        _send(uplink)
    assert link.sent() == [[6, 1]]


def test_a_link_that_takes_nothing_costs_no_number():
    link = FakeLink()
    uplink = Uplink(link)
    link.room = 0
    assert not _send(uplink)
    link.room = None
    assert _send(uplink)
    assert link.sent() == [[6, 0]]


def test_a_frame_taken_in_part_is_finished_before_the_next():
    link = FakeLink()
    uplink = Uplink(link)
    link.room = 5
    assert _send(uplink, 7, b"0123456789")
    assert not _send(uplink)
    link.room = 3
    assert not _send(uplink)
    link.room = None
    assert _send(uplink)
    assert link.sent() == [[7, 0, b"0123456789"], [6, 1]]


def test_the_window_bounds_what_is_not_acknowledged():
    link = FakeLink(window=148)
    uplink = Uplink(link)
    sent = 0
    while _send(uplink, 7, b"0123456789"):
        sent += 1
    assert 0 < len(link.outbox) <= 100
    assert len(link.sent()) == sent
    uplink.acknowledge(sent - 1)
    assert _send(uplink, 7, b"0123456789")


def test_a_small_frame_still_goes_when_the_rest_is_not_acknowledged():
    link = FakeLink(window=148)
    uplink = Uplink(link)
    while _send(uplink, 7, b"0123456789"):
        pass
    probes = 0
    while True:
        uplink.begin(6, 0)
        if not uplink.send(0):
            break
        probes += 1
    assert probes >= 4
    assert len(link.outbox) <= 148
    uplink.acknowledge(link.sent()[-1][1])
    assert _send(uplink, 7, b"0123456789")


def test_one_frame_larger_than_the_window_may_go_when_nothing_is_under_way():
    link = FakeLink(window=68)
    uplink = Uplink(link)
    assert _send(uplink, 7, b"x" * 50)
    assert not _send(uplink)
    uplink.acknowledge(0)
    assert _send(uplink)


def test_a_lying_acknowledgement_changes_nothing():
    link = FakeLink(window=88)
    uplink = Uplink(link)
    assert _send(uplink, 7, b"x" * 20)
    for seq in (1, 2, 100, 30_000, 65_535, -5, 1 << 29):
        uplink.acknowledge(seq)
        assert not _send(uplink, 7, b"x" * 20), seq
    uplink.acknowledge(0)
    assert _send(uplink, 7, b"x" * 20)


def test_the_window_holds_when_the_byte_count_wraps():
    link = FakeLink(window=148)
    uplink = Uplink(link)
    for seq in range(4000):  # 140 000 bytes
        assert _send(uplink, 7, b"x" * 30), seq
        uplink.acknowledge(seq)
        link.outbox = bytearray()
    while _send(uplink, 7, b"x" * 30):
        pass
    assert len(link.outbox) <= 100


def test_it_allocates_nothing():
    link = SinkLink()
    uplink = Uplink(link)
    with no_heap():
        for seq in range(20):
            uplink.begin(7, 2)
            uplink.put(123_456)
            uplink.put("a text of forty bytes, which is the most")
            uplink.send()
            uplink.acknowledge(seq)
    assert link.written > 1000


def test_ctrl_c_after_a_write_makes_no_two_frames_of_one_number():
    link = FakeLink()
    uplink = Uplink(link)
    write = link.write

    def interrupted(*frame):
        write(*frame)
        raise KeyboardInterrupt

    link.write = interrupted
    raises(KeyboardInterrupt, _send, uplink)
    link.write = write
    assert _send(uplink)
    assert link.sent() == [[6, 0], [6, 1]]


def test_a_message_that_is_too_long_is_an_error_and_the_next_goes():
    link = FakeLink()
    uplink = Uplink(link)
    for size in (196, 240):
        raises(IndexError, _send, uplink, 7, b"x" * size)
    assert _send(uplink, 7, b"x" * 195)
    assert link.sent() == [[7, 0, b"x" * 195]]


def test_another_host_has_the_whole_window():
    link = FakeLink(window=148)
    uplink = Uplink(link)
    while _send(uplink, 7, b"0123456789"):
        pass
    uplink.unacked = 0
    assert _send(uplink, 7, b"0123456789")
