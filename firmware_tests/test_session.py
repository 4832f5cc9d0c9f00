"""The board's side of a session: silence, subscription, what it sends, what is requested."""

from figures import FIELDS, figure, put_figure
from frames import framed
from harness import no_heap, raises
from rig import FakeLink, FakeTicks, SinkLink
from warden.host_session import HostSession
from warden.requests import Requests
from warden.setup import make_clock, make_sample
from warden.tables import Table
from warden_schema.frame import encode

_HOST = 77
_MINOR = 8
_ROW = 8  # the kind of the rig's rows


class FakeParts:
    """Stands in for the rest of the agent: storage, capabilities, sessions of hosts, requests."""

    rows = ()  # no mount

    def __init__(self, on_host):
        self.sessions = self
        self.on_host = on_host

    def allow_snapshot(self, s):
        pass


class Count:
    """What stands in a row."""

    def __init__(self):
        self.value = 0


class Rig:
    """A session over a link in memory, with HELLO, a table, and a few requests."""

    def __init__(self, window=0, rows=0):
        self.ticks = FakeTicks()
        self.clock = clock = make_clock(self.ticks)
        self.link = FakeLink(window)
        self.sample = make_sample()
        put_figure(self.sample, "uptime_s", 1)
        put_figure(self.sample, "interval_ms", 1000)
        self.rows_first = False  # the link is read with each poll
        self.calls = []
        self.heard = []  # what was said of hosts
        self.boot_id = 5
        self.identity = ("fake", "1.0", "fake", b"", None, "0")
        parts = FakeParts(self._on_host)
        self.storage = self.policy = self.governor = parts
        self.board = self
        self.reasons = bytearray(3)
        self.table = Table(clock, _ROW, ("value",), 4)
        for row in range(rows):
            self.table.rows[row] = Count()
        self.session = HostSession(self)
        self.uplink = self.session.uplink
        self.start_monitoring = self.stop_monitoring = None  # requests of an agent's own
        self.session.requests = Requests(self)
        self.session.requests.functions = (self._note, self._raise, lambda: None)
        self.session.tables = [self.table]

    def set_handler(self, function):
        """Have this function carry out all requests; return those that did."""
        before = self.session.requests.functions
        self.session.requests.functions = (function,) * 3
        return before

    def _on_host(self, host_id, how):
        self.heard.append((host_id, how))

    def _note(self, value):
        self.calls.append(value)
        return value * 2

    def _raise(self):
        raise OSError("on purpose")

    def receive(self, *message):
        """Have the host send this; return what the board sends then."""
        self.link.receive(*message)
        return self.run()

    def run(self, ms=0):
        self.ticks.pass_ms(ms)
        self.clock.advance()
        self.session.listen()
        self.session.pump(True)
        return self.link.sent()

    def subscribe(self):
        return self.receive(64, 1, 0, _HOST)

    def take_sample(self):
        put_figure(self.sample, "uptime_s", figure(self.sample, "uptime_s") + 1)
        self.session.on_sample(False)


def _kinds(messages):
    return [message[0] for message in messages]


def test_it_is_silent_until_a_host_subscribes():
    rig = Rig()
    rig.session.on_sample(False)
    assert rig.run(10_000) == []
    assert figure(rig.sample, "dropped_frames") == 0


def test_a_subscription_gets_hello_sample_and_synced():
    sent = Rig().subscribe()
    assert _kinds(sent) == [1, 3, 5]
    assert sent[0][2:6] == [1, _MINOR, _HOST, 5]
    assert sent[1] == [3, 1, [1, 0, 1000] + [None] * 15 + [0] * 4 + [None] * 3]
    assert len(sent[1][2]) == len(FIELDS)
    assert sent[2] == [5, 2, _HOST]


def test_a_subscription_gets_all_rows_before_synced_and_a_few_at_a_time():
    rig = Rig(rows=4)
    turns = [rig.subscribe()] + [rig.run() for _ in range(3)]
    assert [_kinds(turn) for turn in turns] == [[1, 3, _ROW, _ROW], [_ROW, _ROW, 5], [], []]


def test_synced_does_not_wait_for_what_changes_meanwhile():
    rig = Rig(rows=4)
    sent = rig.subscribe()
    for value in range(1, 4):
        for row in range(2):  # those that were sent already
            rig.table.rows[row].value = value
            rig.table.mark_dirty(row)
        sent += rig.run()
    assert _kinds(sent)[:7] == [1, 3, _ROW, _ROW, _ROW, _ROW, 5]
    assert [message[2:] for message in sent[7:]] == [[0, 2], [1, 2], [0, 3], [1, 3]]


def test_only_frames_of_the_host_that_subscribed_keep_a_connection_its_place():
    rig = Rig()
    kept = []
    rig.link.keep_place = lambda: kept.append(1)
    rig.subscribe()
    for message in ((66, _HOST, 0), (67, _HOST, 0, 0, [1])):
        rig.receive(*message)
    assert len(kept) == 3
    for message in ((66, _HOST + 1, 0), (67, _HOST + 1, 0, 0, [1]), (99, _HOST), (65, _HOST)):
        rig.receive(*message)
    assert len(kept) == 3


def test_a_row_that_changes_twice_is_sent_once_as_it_is_then():
    rig = Rig(rows=1)
    rig.subscribe()
    for value in (1, 2):
        rig.table.rows[0].value = value
        rig.table.mark_dirty(0)
    assert [message[2:] for message in rig.run()] == [[0, 2]]
    assert rig.run() == []


def test_a_row_that_was_freed_before_it_could_be_sent_is_not_sent():
    rig = Rig(rows=1)
    rig.subscribe()
    rig.table.mark_dirty(0)
    rig.table.rows[0] = None
    assert rig.run() == []


def test_tables_are_sent_in_turn_so_that_none_keeps_another_waiting():
    rig = Rig(rows=4)
    other = Table(rig.clock, 9, ("value",), 4)
    other.rows[0] = Count()
    rig.session.tables.append(other)
    rig.subscribe()
    for _ in range(3):
        rig.run()
    other.mark_dirty(0)
    for _ in range(2):  # the first changes again and again
        for row in range(4):
            rig.table.mark_dirty(row)
        if 9 in _kinds(rig.run()):
            return
    raise AssertionError("the other table had to wait")


def test_rows_that_change_all_the_time_keep_no_other_of_their_table_waiting():
    rig = Rig(rows=4)
    other = Table(rig.clock, 9, ("value",), 1)
    other.rows[0] = Count()
    rig.session.tables.append(other)
    rig.subscribe()
    for _ in range(3):
        rig.run()
    rig.table.mark_dirty(3)
    sent = []
    for _ in range(16):  # as many as the longest table has rows
        other.mark_dirty(0)
        for row in range(3):
            rig.table.mark_dirty(row)
        sent += [message[2] for message in rig.run() if message[0] == _ROW]
    assert set(sent) == {0, 1, 2, 3}


def test_rows_wait_where_they_are_told_to_and_the_rest_goes():
    rig = Rig(rows=1)
    rig.subscribe()
    rig.table.mark_dirty(0)
    rig.take_sample()
    rig.link.receive(67, _HOST, 0, 0, [1])
    rig.session.listen()
    rig.session.pump(False)
    assert _kinds(rig.link.sent()) == [7, 16]
    assert _kinds(rig.run()) == [_ROW]


def test_it_is_silent_three_seconds_after_the_last_sign_of_life():
    rig = Rig()
    rig.subscribe()
    rig.run(2_000)
    rig.receive(66, _HOST, 2)
    rig.run(3_000)
    rig.session.on_sample(False)
    assert _kinds(rig.run()) == [16]
    rig.session.on_sample(False)
    assert rig.run(1) == []
    assert rig.session.host_id == 0


def test_it_stays_silent_where_the_clock_wraps():
    rig = Rig()
    rig.ticks.now = (1 << 30) - 1_500
    rig.clock.advance()
    rig.subscribe()
    rig.run(2_000)
    assert rig.session.host_id == _HOST
    rig.run(1_100)
    assert rig.session.host_id == 0


def test_a_keepalive_is_answered_when_nothing_else_was_sent():
    rig = Rig()
    rig.subscribe()
    assert rig.receive(66, _HOST, 2) == []  # SYNCED and the rest went before it
    assert _kinds(rig.receive(66, _HOST, 2)) == [6]
    rig.session.on_sample(False)
    assert _kinds(rig.run()) == [16]


def test_messages_of_another_host_are_ignored():
    rig = Rig()
    rig.subscribe()
    rig.receive(66, 5, 0)
    assert rig.receive(67, 5, 0, 0, [1]) == []
    assert rig.calls == []
    rig.receive(65, 5)
    assert rig.session.host_id == _HOST


def test_the_newest_host_takes_over():
    rig = Rig()
    rig.subscribe()
    rig.receive(67, _HOST, 0, 0, [1])
    sent = rig.receive(64, 1, 0, 99)
    assert _kinds(sent) == [1, 3, 5]
    assert rig.receive(67, 99, 0, 0, [4])[0][2:] == [0, 0, 8]
    assert rig.calls == [1, 4]


def test_another_major_version_is_refused_with_ours():
    rig = Rig()
    assert rig.receive(64, 2, 0, _HOST) == [[2, 0, 1, _MINOR, _HOST]]
    assert rig.session.host_id == 0
    assert rig.run() == []


def test_a_refusal_that_the_link_did_not_take_is_sent_later():
    rig = Rig()
    rig.link.room = 0
    assert rig.receive(64, 2, 0, _HOST) == []
    rig.link.room = None
    assert _kinds(rig.run()) == [2]


def test_a_newer_minor_version_is_welcome_and_its_fields_are_ignored():
    assert _kinds(Rig().receive(64, 1, 9, _HOST, None, "what is this", [1, 2])) == [1, 3, 5]


def test_a_request_is_answered():
    rig = Rig()
    rig.subscribe()
    assert rig.receive(67, _HOST, 0, 0, [21]) == [[7, 3, 0, 0, 42]]


def test_each_error_of_a_request_has_its_code():
    rig = Rig()
    rig.subscribe()
    assert rig.receive(67, _HOST, 0, 9, [])[0][2:] == [0, 1, None]
    assert rig.receive(67, _HOST, 1, 2, [1])[0][2:] == [1, 2, None]
    assert rig.receive(67, _HOST, 2, 1, [])[0][2:] == [2, 3, "OSError"]


def test_a_repeated_request_happens_once_and_gets_the_first_answer():
    rig = Rig()
    rig.subscribe()
    first = rig.receive(67, _HOST, 0, 0, [3])[0][2:]
    for _ in range(5):
        assert rig.receive(67, _HOST, 0, 0, [3])[0][2:] == first
    assert rig.calls == [3]


def test_a_request_repeated_after_a_silence_still_happened_once():
    rig = Rig()
    rig.subscribe()
    rig.receive(67, _HOST, 0, 0, [3])  # its reply is lost, and so is all for a while
    rig.run(5_000)
    assert rig.session.host_id == 0
    rig.subscribe()
    assert rig.receive(67, _HOST, 0, 0, [3])[0][2:] == [0, 0, 6]
    assert rig.calls == [3]


def test_a_request_repeated_after_another_host_came_still_happened_once():
    rig = Rig()
    rig.subscribe()
    rig.receive(67, _HOST, 0, 0, [3])
    for _ in range(2):
        rig.receive(64, 1, 0, 99)
        rig.receive(67, 99, 0, 0, [4])
        rig.subscribe()
        assert rig.receive(67, _HOST, 0, 0, [3])[0][2:] == [0, 0, 6]
    assert rig.calls == [3, 4]
    rig.receive(64, 1, 0, 98)
    rig.receive(67, 98, 0, 0, [5])  # a third is none of the two
    assert rig.calls == [3, 4, 5]


def test_no_host_gets_the_replies_to_another():
    rig = Rig()
    rig.subscribe()
    rig.link.room = 0
    rig.receive(67, _HOST, 0, 0, [3])  # its reply cannot go
    rig.receive(64, 1, 0, 99)
    rig.link.room = None
    assert 7 not in _kinds(rig.run())
    assert 7 not in _kinds(rig.subscribe())  # nor twice, unasked


def test_requests_under_way_may_arrive_in_any_order():
    rig = Rig()
    rig.subscribe()
    for request_id in (2, 0, 3, 1, 0, 2, 3, 1):
        rig.receive(67, _HOST, request_id, 0, [request_id])
    assert rig.calls == [2, 0, 3, 1]


def test_an_old_request_that_comes_late_does_nothing():
    rig = Rig()
    rig.subscribe()
    for request_id in range(6):
        rig.receive(67, _HOST, request_id, 0, [request_id])
    assert rig.receive(67, _HOST, 1, 0, [1]) == []
    assert rig.calls == list(range(6))


def test_request_numbers_wrap():
    rig = Rig()
    rig.subscribe()
    for request_id in (65_534, 65_535, 0, 1, 2, 3, 65_534, 3):
        rig.receive(67, _HOST, request_id, 0, [request_id])
    assert rig.calls == [65_534, 65_535, 0, 1, 2, 3]


def test_a_full_link_delays_rows_and_drops_old_samples_only():
    rig = Rig()
    rig.link.room = 0
    rig.subscribe()
    for _ in range(4):
        rig.session.on_sample(False)
        assert rig.run() == []
    rig.link.room = None
    assert _kinds(rig.run()) == [1, 3, 5]
    assert figure(rig.sample, "dropped_frames") == 4


def test_replies_that_could_not_go_are_sent_once_the_link_takes_them():
    rig = Rig()
    rig.subscribe()
    rig.link.room = 0
    for request_id in range(1, 5):
        assert rig.receive(67, _HOST, request_id, 0, [request_id]) == []
    rig.link.room = None
    replies = sorted([message[2:] for message in rig.run() + rig.run()])
    assert replies == [[request_id, 0, 2 * request_id] for request_id in range(1, 5)], replies
    assert rig.run() == [] and rig.calls == [1, 2, 3, 4]


def test_a_sample_that_could_not_go_is_nothing_that_a_delta_counts_from():
    rig = Rig()
    rig.subscribe()
    rig.run()
    rig.session.on_sample(False)
    assert _kinds(rig.run()) == [16]
    rig.link.room = 0
    put_figure(
        rig.sample, "live_bytes", 5 if figure(rig.sample, "live_bytes") is None else None
    )  # that takes a SAMPLE
    rig.session.on_sample(False)
    assert rig.run() == []
    rig.link.room = None
    rig.session.on_sample(False)
    assert _kinds(rig.run()) == [3]


def test_quick_samples_over_a_slow_link_keep_nothing_else_waiting():
    rig = Rig(window=88)
    rig.subscribe()
    sent = []
    for number in range(40):
        rig.session.on_sample(False)
        if number == 5:
            rig.link.receive(67, _HOST, 0, 0, [4])
        sent += rig.receive(66, _HOST, sent[-1][1] if sent else 0)
    kinds = _kinds(sent)
    assert 7 in kinds and 5 in kinds, kinds
    assert kinds.index(7) < 20


def test_a_lost_window_is_found_by_the_next_keepalive():
    rig = Rig(window=128)
    seen = rig.subscribe()[-1][1]
    rig.receive(66, _HOST, seen)
    while True:  # frames leave, and all are lost
        rig.session.on_sample(False)
        if not rig.run():
            break
    sent = rig.receive(66, _HOST, seen)  # all else was sent since the one before
    assert _kinds(sent) == [6], sent
    assert 16 in _kinds(rig.receive(66, _HOST, sent[0][1]))


def test_a_subscribe_finds_that_the_last_answer_was_lost_with_all_before_it():
    rig = Rig(window=128)
    rig.subscribe()
    while True:  # frames leave, and all are lost
        rig.session.on_sample(False)
        if not rig.run():
            break
    assert rig.receive(64, 1, 0, _HOST) == []  # its HELLO waits
    sent = rig.receive(64, 1, 0, _HOST)
    assert _kinds(sent) == [6], sent
    assert _kinds(rig.receive(66, _HOST, sent[0][1]))[0] == 1


def test_what_makes_no_sense_is_counted_and_harmless():
    rig = Rig()
    rig.subscribe()
    for message in (
        (64,),
        (64, 1),
        (64, 1, 0, None),
        (64, 1, 0, -4),
        (64, 1, 0, 0),
        (64, "1", 0, 5),
        (66, _HOST),
        (67, _HOST, None, 0, []),
        (67, _HOST, -1, 0, []),
        (67, _HOST, 70_000, 0, []),
        (65, "x"),
        ("x",),
        (None,),
    ):
        sample = rig.sample
        before = figure(sample, "bad_frames") + figure(sample, "skipped_frames")
        assert rig.receive(*message) == []
        assert figure(sample, "bad_frames") + figure(sample, "skipped_frames") == before + 1, (
            message
        )
    assert rig.receive(64, None, 0, 5)[-1][0] == 2  # no major version that is known
    assert rig.session.host_id == _HOST
    assert rig.calls == []
    assert rig.receive(67, _HOST, 0, 0, [1])[-1][2:] == [0, 0, 2]


def test_a_malformed_request_with_an_id_is_answered():
    rig = Rig()
    rig.subscribe()
    wrongs = ([0, 5], [0, [[[[[[1]]]]]]], [0], [], ["x", []], [0, None], [0, "x"], [-1, []])
    for request_id, wrong in enumerate(wrongs):
        sent = rig.receive(67, _HOST, request_id, *wrong)
        code = 1 if wrong[:1] == [-1] else 2  # no request has that number
        assert [message[2:4] for message in sent if message[0] == 7] == [[request_id, code]], wrong
    assert rig.calls == []


def test_unknown_kinds_are_counted_and_skipped():
    rig = Rig()
    rig.subscribe()
    for kind in (0, 1, 63, 68, 100, 127):
        rig.receive(kind, 1, 2)
    assert figure(rig.sample, "skipped_frames") == 6
    assert figure(rig.sample, "bad_frames") == 0
    assert _kinds(rig.receive(66, _HOST, 0)) == []


def test_a_payload_without_a_kind_or_with_one_in_another_form_is_bad():
    rig = Rig()
    rig.subscribe()
    messages = (["x"], [None], [200], [-1])
    for message in messages:
        rig.link.inbox.extend(framed(message))
        rig.run()
    wire = bytearray(20)
    for head in range(0x91, 0xA0):  # behind it is a CRC, which is no kind
        rig.link.inbox.extend(wire[: encode(bytearray((head, 0, 0)), 1, wire)])
        rig.run()
    counts = figure(rig.sample, "bad_frames"), figure(rig.sample, "skipped_frames")
    assert counts == (len(messages) + 15, 0)


def test_a_whole_frame_with_a_broken_payload_is_counted():
    rig = Rig()
    rig.link.inbox.extend(framed([67, _HOST, 0, 0])[:-4] + b"\xc0")
    rig.run()
    assert figure(rig.sample, "bad_frames") == 1


def test_a_request_may_not_crash_the_board_with_its_argument_count():
    rig = Rig()
    rig.subscribe()
    sent = rig.receive(67, _HOST, 0, 0, list(range(20)))
    assert sent[0][2:] == [0, 2, None]
    assert raises(TypeError, rig._note) is not None


def test_a_host_is_reported_found_seen_lost_and_gone():
    rig = Rig()
    rig.subscribe()
    rig.receive(66, _HOST, 0)
    rig.subscribe()
    assert rig.heard == [(_HOST, "found")] + [(_HOST, "seen")] * 3
    del rig.heard[:]
    rig.run(3001)
    assert rig.heard == [(_HOST, "lost")]
    rig.subscribe()
    rig.receive(65, 1 + _HOST)
    rig.receive(65, _HOST)
    rig.receive(65, _HOST)
    assert rig.heard[1:] == [(_HOST, "found"), (_HOST, "seen"), (_HOST, "gone")]


def test_a_lost_hosts_connection_is_dropped():
    rig = Rig()
    dropped = []
    rig.link.drop = lambda: dropped.append(1)
    rig.subscribe()
    rig.run(3000)
    assert dropped == []
    rig.run(1)
    assert dropped == [1]


def test_arguments_are_the_same_however_they_are_read():
    rig = Rig()
    rig.subscribe()
    rig.set_handler(_listed)
    for number, arguments in enumerate(
        ([], [None], [0, 70_000, None], [(1 << 30) - 1], [1 << 30], [-5, 1], ["x", None, 5], [True])
        + ([list(range(9))], list(range(9)), list(range(14)))
    ):
        assert rig.receive(67, _HOST, number, 0, arguments)[0][2:] == [number, 0, arguments]


def _listed(*arguments):
    return list(arguments)


def test_a_host_may_have_any_number():
    for host_id in (1, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0xFFFFFFFF):
        rig = Rig()
        assert rig.receive(64, 1, 0, host_id)[0][4] == host_id
        assert rig.receive(67, host_id, 0, 0, [4])[-1][2:] == [0, 0, 8]
        rig.run(2500)
        rig.receive(66, host_id, 3)
        rig.run(2500)
        assert rig.session.host_id == host_id
        refused = rig.receive(64, 9, 0, host_id)[-1]
        assert (refused[0], refused[2:]) == (2, [1, _MINOR, host_id])


def test_a_link_that_tells_more_than_there_is_room_for_harms_nothing():
    rig = Rig()
    rig.subscribe()
    read = rig.link.read
    rig.link.read = lambda buf: 1000 if read(buf) else 0
    rig.receive(67, _HOST, 0, 0, [1])
    rig.link.read = read
    assert rig.receive(67, _HOST, 1, 0, [2])[-1][2:] == [1, 0, 4]


def test_bool_and_large_results_are_sent_as_they_are():
    rig = Rig()
    rig.subscribe()
    for number, value in enumerate((True, False, None, -1, 1 << 30, -(1 << 31), 1 << 40, "x", [1])):
        rig.set_handler(lambda value=value: value)
        assert rig.receive(67, _HOST, number, 0, [])[-1][2:] == [number, 0, value]


def test_a_row_whose_message_fails_is_sent_later():
    rig = Rig(rows=1)
    rig.subscribe()
    rig.run()
    table = rig.table
    encode = table.encode

    def failing(row, uplink):
        raise MemoryError

    table.mark_dirty(0)
    table.encode = failing
    raises(MemoryError, rig.session.pump, True)
    table.encode = encode
    assert _ROW in _kinds(rig.run())


def test_a_reply_that_does_not_fit_a_frame_keeps_nothing_else_waiting():
    rig = Rig()
    rig.subscribe()
    rig.set_handler(lambda: "x" * 250)
    rig.link.receive(67, _HOST, 0, 0, [])
    try:
        rig.run()
    except IndexError:
        pass
    rig.session.on_sample(False)
    kinds = _kinds(rig.run())
    assert 16 in kinds, kinds


def test_what_was_interrupted_is_not_done_again():
    rig = Rig()
    rig.subscribe()

    def interrupted(value):
        rig.calls.append(value)
        raise KeyboardInterrupt

    before = rig.set_handler(interrupted)
    raises(KeyboardInterrupt, rig.receive, 67, _HOST, 0, 0, [5])
    rig.session.requests.functions = before
    sent = rig.receive(67, _HOST, 0, 0, [5])
    assert rig.calls == [5]
    assert [message[2:4] for message in sent if message[0] == 7] == [[0, 3]]


def test_the_sample_and_a_row_are_sent_without_the_heap():
    rig = Rig(rows=1)
    rig.subscribe()
    rig.run()
    rig.uplink.link = rig.session.link = SinkLink()
    rig.clock.advance = lambda: None  # the rig's ticks would take heap
    for whole in (True, False):
        if whole:
            rig.session.sample.subscribe()
        rig.table.mark_dirty(0)
        rig.take_sample()
        written = rig.uplink.link.written
        with no_heap():
            rig.session.pump(True)
        assert rig.uplink.link.written > written
        assert not any(rig.table.dirty) and not any(rig.session.sample.dirty)
