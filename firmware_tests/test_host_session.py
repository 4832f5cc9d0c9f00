"""The board's side of a session: silence, subscription, what it tells, what it is asked."""

from array import array

from harness import no_heap, raises
from rig import FakeLine, FakeTicks, framed
from warden.clock import Clock
from warden.host_session import Session
from warden.sample_table import Sample
from warden.tables import Hello
from warden.uplink import Uplink

_HOST = 77
_MINOR = 3


class Rig:
    """A session over a line in memory, with two tables and a few operations."""

    def __init__(self, window=0):
        self.ticks = FakeTicks()
        self.clock = Clock(self.ticks.ticks_ms, self.ticks.ticks_diff)
        self.line = FakeLine(window)
        self.uplink = Uplink(self.line)
        self.sample = Sample(array("i", [1, 0, 1000] + [-0x40000000] * 21))
        self.sample.renew(False)
        self.calls = []
        self.heard = []  # what was said of hosts
        identity = ("fake", "1.0", "fake", b"", None, "0")
        tables = (Hello(5, identity, bytearray(3)),)
        handlers = {0: self._note, 1: self._raise, 2: lambda: None}
        self.session = Session(
            self.line,
            self.uplink,
            self.clock,
            self.sample,
            tables,
            handlers.get,
            self._hear,
        )
        self.session.hosts = (_HOST,)  # something is held for some host

    def _hear(self, host_id, what):
        if what != "alive" or (host_id, what) not in self.heard:
            self.heard.append((host_id, what))

    def _note(self, value):
        self.calls.append(value)
        return value * 2

    def _raise(self):
        raise OSError("on purpose")

    def hear(self, *message):
        self.line.hear(*message)
        return self.turn()

    def turn(self, ms=0):
        self.ticks.pass_ms(ms)
        self.clock.advance()
        self.session.receive()
        self.session.pump()
        return self.line.told()

    def subscribe(self):
        return self.hear(64, 1, 0, _HOST)


def _kinds(messages):
    return [message[0] for message in messages]


def test_it_is_silent_until_a_host_subscribes():
    rig = Rig()
    rig.sample.renew(rig.session.host_id)
    assert rig.turn(10_000) == []
    assert rig.sample.dropped == 0


def test_a_subscription_gets_hello_sample_and_synced():
    told = Rig().subscribe()
    assert _kinds(told) == [1, 3, 5]
    assert told[0][2:6] == [1, _MINOR, _HOST, 5]
    assert told[1] == [3, 1, [1, 0, 1000] + [None] * 15 + [0] * 3 + [None] * 3]
    assert told[2] == [5, 2, _HOST]


def test_it_is_silent_three_seconds_after_the_last_sign_of_life():
    rig = Rig()
    rig.subscribe()
    rig.turn(2_000)
    rig.hear(66, _HOST, 2)
    rig.turn(3_000)
    rig.sample.renew(True)
    assert _kinds(rig.turn()) == [16]
    rig.sample.renew(True)
    assert rig.turn(1) == []
    assert rig.session.host_id == 0


def test_it_stays_silent_where_the_clock_wraps():
    rig = Rig()
    rig.ticks.now = (1 << 30) - 1_500
    rig.clock.advance()
    rig.subscribe()
    rig.turn(2_000)
    assert rig.session.host_id == _HOST
    rig.turn(1_100)
    assert rig.session.host_id == 0


def test_a_keepalive_is_answered_when_nothing_else_was_sent():
    rig = Rig()
    rig.subscribe()
    assert rig.hear(66, _HOST, 2) == []  # SYNCED and the rest went before it
    assert _kinds(rig.hear(66, _HOST, 2)) == [6]
    rig.sample.renew(True)
    assert _kinds(rig.turn()) == [16]


def test_a_stranger_is_not_heard():
    rig = Rig()
    rig.subscribe()
    rig.hear(66, 5, 0)
    assert rig.hear(67, 5, 0, 0, [1]) == []
    assert rig.calls == []
    rig.hear(65, 5)
    assert rig.session.host_id == _HOST


def test_the_newest_host_takes_over():
    rig = Rig()
    rig.subscribe()
    rig.hear(67, _HOST, 0, 0, [1])
    told = rig.hear(64, 1, 0, 99)
    assert _kinds(told) == [1, 3, 5]
    assert rig.hear(67, 99, 0, 0, [4])[0][2:] == [0, 0, 8]
    assert rig.calls == [1, 4]


def test_another_major_version_is_refused_with_ours():
    rig = Rig()
    assert rig.hear(64, 2, 0, _HOST) == [[2, 0, 1, _MINOR, _HOST]]
    assert rig.session.host_id == 0
    assert rig.turn() == []


def test_a_newer_minor_version_is_welcome_and_its_fields_are_ignored():
    assert _kinds(Rig().hear(64, 1, 9, _HOST, None, "what is this", [1, 2])) == [1, 3, 5]


def test_a_request_is_answered():
    rig = Rig()
    rig.subscribe()
    assert rig.hear(67, _HOST, 0, 0, [21]) == [[7, 3, 0, 0, 42]]


def test_errors_of_a_request_are_told_apart():
    rig = Rig()
    rig.subscribe()
    assert rig.hear(67, _HOST, 0, 9, [])[0][2:] == [0, 1, None]
    assert rig.hear(67, _HOST, 1, 2, [1])[0][2:] == [1, 2, None]
    assert rig.hear(67, _HOST, 2, 1, [])[0][2:] == [2, 3, "OSError"]


def test_a_repeated_request_happens_once_and_gets_the_first_answer():
    rig = Rig()
    rig.subscribe()
    first = rig.hear(67, _HOST, 0, 0, [3])[0][2:]
    for _ in range(5):
        assert rig.hear(67, _HOST, 0, 0, [3])[0][2:] == first
    assert rig.calls == [3]


def test_a_request_repeated_after_a_silence_still_happened_once():
    rig = Rig()
    rig.subscribe()
    rig.hear(67, _HOST, 0, 0, [3])  # its reply is lost, and so is all for a while
    rig.turn(5_000)
    assert rig.session.host_id == 0
    rig.subscribe()
    assert rig.hear(67, _HOST, 0, 0, [3])[0][2:] == [0, 0, 6]
    assert rig.calls == [3]


def test_a_request_repeated_after_another_host_came_still_happened_once():
    rig = Rig()
    rig.subscribe()
    rig.hear(67, _HOST, 0, 0, [3])
    for _ in range(2):
        rig.hear(64, 1, 0, 99)
        rig.hear(67, 99, 0, 0, [4])
        rig.subscribe()
        assert rig.hear(67, _HOST, 0, 0, [3])[0][2:] == [0, 0, 6]
    assert rig.calls == [3, 4]
    rig.hear(64, 1, 0, 98)
    rig.hear(67, 98, 0, 0, [5])  # a third is none of the two
    assert rig.calls == [3, 4, 5]


def test_a_request_without_arguments_takes_no_heap():
    rig = Rig()
    rig.subscribe()
    rig.session.hosts = None  # the rig's own notes and ticks would take heap
    rig.clock.advance = lambda: None
    for request_id in range(4):
        rig.hear(67, _HOST, request_id, 2, [])  # its places are made
    for request_id in range(4, 12):
        data = framed((67, _HOST, request_id, 2, []))
        rig.session.chunk[: len(data)] = data
        with no_heap():
            rig.session.hear(len(data))
        assert [message[2:] for message in rig.turn()] == [[request_id, 0, None]]


def test_requests_under_way_may_arrive_in_any_order():
    rig = Rig()
    rig.subscribe()
    for request_id in (2, 0, 3, 1, 0, 2, 3, 1):
        rig.hear(67, _HOST, request_id, 0, [request_id])
    assert rig.calls == [2, 0, 3, 1]


def test_an_old_request_that_comes_late_does_nothing():
    rig = Rig()
    rig.subscribe()
    for request_id in range(6):
        rig.hear(67, _HOST, request_id, 0, [request_id])
    assert rig.hear(67, _HOST, 1, 0, [1]) == []
    assert rig.calls == list(range(6))


def test_request_numbers_wrap():
    rig = Rig()
    rig.subscribe()
    for request_id in (65_534, 65_535, 0, 1, 2, 3, 65_534, 3):
        rig.hear(67, _HOST, request_id, 0, [request_id])
    assert rig.calls == [65_534, 65_535, 0, 1, 2, 3]


def test_a_full_link_delays_rows_and_drops_old_samples_only():
    rig = Rig()
    rig.line.room = 0
    rig.subscribe()
    for _ in range(4):
        rig.sample.renew(True)
        assert rig.turn() == []
    rig.line.room = None
    assert _kinds(rig.turn()) == [1, 3, 5]
    assert rig.sample.dropped == 4


def test_quick_samples_over_a_slow_link_keep_nothing_else_waiting():
    rig = Rig(window=88)
    rig.subscribe()
    told = []
    for turn in range(40):
        rig.sample.renew(True)
        if turn == 5:
            rig.line.hear(67, _HOST, 0, 0, [4])
        messages = rig.hear(66, _HOST, told[-1][1] if told else 0)
        told.extend(messages)
    kinds = _kinds(told)
    assert 7 in kinds and 5 in kinds, kinds
    assert kinds.index(7) < 20


def test_a_lost_window_is_found_by_the_next_keepalives():
    rig = Rig(window=128)
    seen = rig.subscribe()[-1][1]
    rig.hear(66, _HOST, seen)
    while True:  # frames leave, and all are lost
        rig.sample.renew(True)
        if not rig.turn():
            break
    rig.hear(66, _HOST, seen)
    told = rig.hear(66, _HOST, seen)
    assert _kinds(told) == [6], told
    assert 16 in _kinds(rig.hear(66, _HOST, told[0][1]))


def test_what_makes_no_sense_is_counted_and_harmless():
    rig = Rig()
    rig.subscribe()
    for message in (
        (64,),
        (64, 1),
        (64, 1, 0, None),
        (64, 1, 0, -4),
        (64, None, 0, 5),
        (64, "1", 0, 5),
        (66, _HOST),
        (67, _HOST, None, 0, []),
        (67, _HOST, -1, 0, []),
        (67, _HOST, 70_000, 0, []),
        (67, _HOST, 0, 0, 5),
        (67, _HOST, 0, 0, [[[[[[1]]]]]]),
        (65, "x"),
    ):
        before = rig.session.bad + rig.session.skipped
        rig.hear(*message)
        after = rig.session.bad + rig.session.skipped
        assert after == before + 1 or message[0] == 64, message
    assert rig.calls == []
    assert rig.hear(67, _HOST, 0, 0, [1])[-1][2:] == [0, 0, 2]


def test_unknown_kinds_are_counted_and_skipped():
    rig = Rig()
    rig.subscribe()
    for kind in (0, 1, 63, 68, 100, 127):
        rig.hear(kind, 1, 2)
    assert rig.session.skipped == 6
    assert rig.session.bad == 0
    assert _kinds(rig.hear(66, _HOST, 0)) == []


def test_a_whole_frame_with_a_broken_payload_is_counted():
    rig = Rig()
    rig.line.inbox.extend(framed([67, _HOST, 0, 0])[:-4] + b"\xc0")
    rig.turn()
    assert rig.session.bad == 1


def test_a_request_may_not_crash_the_board_with_its_argument_count():
    rig = Rig()
    rig.subscribe()
    told = rig.hear(67, _HOST, 0, 0, list(range(20)))
    assert told[0][2:] == [0, 2, None]
    assert raises(TypeError, rig._note) is not None


def test_it_says_when_a_host_is_found_lost_and_gone():
    rig = Rig()
    rig.subscribe()
    rig.subscribe()
    assert rig.heard == [(_HOST, "found"), (_HOST, "alive")]
    rig.turn(3001)
    assert rig.heard[2:] == [(_HOST, "lost")]
    rig.subscribe()
    rig.hear(65, 1 + _HOST)
    rig.hear(65, _HOST)
    rig.hear(65, _HOST)
    assert rig.heard[3:] == [(_HOST, "found"), (_HOST, "gone")]


def test_arguments_are_the_same_however_they_are_read():
    rig = Rig()
    rig.subscribe()
    rig.session.handler_of = lambda _: _listed
    for number, arguments in enumerate(
        ([], [None], [0, 70_000, None], [(1 << 30) - 1], [1 << 30], [-5, 1], ["x", None, 5], [True])
        + ([list(range(9))], list(range(9)), list(range(14)))
    ):
        assert rig.hear(67, _HOST, number, 0, arguments)[0][2:] == [number, 0, arguments]


def _listed(*arguments):
    return list(arguments)


def test_a_host_may_have_any_number():
    for host_id in (1, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0xFFFFFFFF):
        rig = Rig()
        assert rig.hear(64, 1, 0, host_id)[0][4] == host_id
        assert rig.hear(67, host_id, 0, 0, [4])[-1][2:] == [0, 0, 8]
        rig.turn(2500)
        rig.hear(66, host_id, 3)
        rig.turn(2500)
        assert rig.session.host_id == host_id
        refused = rig.hear(64, 9, 0, host_id)[-1]
        assert (refused[0], refused[2:]) == (2, [1, _MINOR, host_id])


def test_a_sign_of_life_is_passed_on_only_where_a_host_has_something():
    rig = Rig()
    rig.session.hosts = {}
    rig.subscribe()
    rig.hear(66, _HOST, 2)
    assert rig.heard == [(_HOST, "found")]
    rig.session.hosts = {_HOST: 1}
    rig.hear(66, _HOST, 2)
    assert rig.heard == [(_HOST, "found"), (_HOST, "alive")]


def test_a_link_that_tells_more_than_there_is_room_for_harms_nothing():
    rig = Rig()
    rig.subscribe()
    read = rig.line.read
    rig.line.read = lambda buf: 1000 if read(buf) else 0
    rig.hear(67, _HOST, 0, 0, [1])
    rig.line.read = read
    assert rig.hear(67, _HOST, 1, 0, [2])[-1][2:] == [1, 0, 4]


def test_bool_and_large_results_are_told_as_they_are():
    rig = Rig()
    rig.subscribe()
    for number, value in enumerate((True, False, None, -1, 1 << 30, -(1 << 31), 1 << 40, "x", [1])):
        rig.session.handler_of = lambda _, value=value: lambda: value
        assert rig.hear(67, _HOST, number, 0, [])[-1][2:] == [number, 0, value]


def test_a_row_whose_message_fails_is_told_later():
    rig = Rig()
    rig.subscribe()
    rig.turn()
    hello = rig.session.tables[0]
    encode = hello.encode

    def failing(row, uplink):
        raise MemoryError

    hello.mark()
    hello.encode = failing
    raises(MemoryError, rig.session.pump)
    hello.encode = encode
    assert 1 in _kinds(rig.turn())


def test_what_was_interrupted_is_not_done_again():
    rig = Rig()
    rig.subscribe()

    def interrupted(value):
        rig.calls.append(value)
        raise KeyboardInterrupt

    handler_of = rig.session.handler_of
    rig.session.handler_of = lambda operation: interrupted
    raises(KeyboardInterrupt, rig.hear, 67, _HOST, 0, 0, [5])
    rig.session.handler_of = handler_of
    told = rig.hear(67, _HOST, 0, 0, [5])
    assert rig.calls == [5]
    assert [message[2:4] for message in told if message[0] == 7] == [[0, 3]]
