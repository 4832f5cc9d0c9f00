"""The whole agent on a real board: figures that add up, a tick that allocates nothing, tables."""

import gc
import sys

import warden
from figures import FIELDS, figure, put_figure
from frames import framed
from harness import no_heap, raises, skip
from rig import (
    FakeLink,
    PressedBoard,
    SinkLink,
    board,
    in_next_sample,
    poll_all,
    poll_for_sample,
    skip_seconds,
)
from usual import new_lease
from warden.running import running_agent
from warden.setup import make_agent

_BLOCK = 4 * (8 if sys.maxsize > 1 << 32 else 4)  # bytes of a heap block: four words

# One for all: a new adapter of the QEMU board sets its clock anew, for those before it, too.
_BOARD = board()


def _agent(link=None, interval_ms=20):
    agent = make_agent(_BOARD, interval_ms, 1000, link)
    agent.poll()
    return agent


def _wait(ms):
    began = _BOARD.ticks_ms()
    while _BOARD.ticks_diff(_BOARD.ticks_ms(), began) < ms:
        pass


def _of_kind(link, kind):
    return [message for message in link.sent() if message[0] == kind]


def _status_on_micropython():
    """Return what status() says, and the capabilities' reasons."""
    warden.start(interval_ms=20, budget_permille=1000, link=False)
    try:
        return warden.status(), bytes(running_agent().reasons)
    finally:
        warden.stop()


def test_memory_adds_up_on_micropython():
    status, reasons = _status_on_micropython()
    memory = status["memory"]
    assert memory["used_bytes"] + memory["available_bytes"] == memory["total_bytes"]
    assert abs(memory["total_bytes"] - (gc.mem_free() + gc.mem_alloc())) < _BLOCK
    assert 0 < memory["live_bytes"] <= memory["used_bytes"]
    assert 0 <= memory["live_age_ms"] < 5000
    largest = memory["largest_free_block_bytes"]
    assert (largest is not None) == (reasons[2] == 0)
    assert largest is None or 0 < largest <= memory["available_bytes"]


def test_an_unavailable_figure_is_none_with_a_reason_on_micropython():
    found, reasons = _status_on_micropython()
    for value, capability in (
        (found["memory"]["live_bytes"], 1),
        (found["memory"]["largest_free_block_bytes"], 2),
        (found["cpu"]["active_threads"], 6),
        (found["network"]["connected"], 8),
        (found["network"]["rssi_dbm"], 9),
        (found["network"]["sent_bytes"], 10),
        (found["board"]["reset_cause"], 11),
        (found["board"]["unique_id"] or None, 12),
    ):
        assert (value is None) == (reasons[capability] != 0), capability


def test_uptime_grows():
    agent = _agent()
    _wait(1050)
    assert poll_for_sample(agent)
    assert figure(agent.sample, "uptime_s") == 1


def test_a_tick_allocates_nothing():
    link = SinkLink()
    agent = _agent(link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    _wait(40)
    poll_for_sample(agent)
    for _ in range(4):
        _wait(25)
        written = link.written
        with no_heap():
            taken = poll_for_sample(agent)
        assert taken, "it was not due"
        assert link.written > written, "nothing was sent"
    assert agent.faults == 0


def test_reading_allocates_nothing_until_a_whole_valid_request_is_there():
    link = SinkLink()
    agent = _agent(link, 600_000)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    good = framed([67, 77, 0, 0, []])
    broken = bytearray(good)
    broken[3] ^= 0x40  # its CRC is wrong now
    stranger = framed([67, 78, 0, 0, [1, "x"]])
    for data in (
        good[:-4],
        b"\xc0text \xff\x00",
        broken,
        b"\xc0\x94" + b"\x7d" * 40,
        stranger[:-3],
    ):
        link.receive_bytes(data)
        with no_heap():
            agent.session.listen()
    assert figure(agent.sample, "bad_frames") >= 3
    written = link.written
    link.receive_bytes(b"\xc0\xc0" + good)
    poll_all(agent)
    assert link.written > written  # the reply
    assert agent.faults == 0


def test_a_tick_at_the_turn_of_an_hour_allocates_nothing():
    link = SinkLink()
    agent = _agent(link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    skip_seconds(agent, 3599 - agent.clock.s)
    link.receive(66, 77, 2)
    _wait(1100)
    agent.poll()  # storage and network are due, and may allocate
    skip_seconds(agent, 3600)
    agent.storage.deadline_s = agent.clock.s + 1000
    link.receive(66, 77, 2)
    with no_heap():
        poll_for_sample(agent)
    assert agent.faults == 0
    assert figure(agent.sample, "uptime_s") >= 7199
    assert agent.session.host_id == 77


def test_a_keepalive_allocates_nothing():
    link = SinkLink()
    agent = _agent(link, 600_000)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    link.receive(66, 77, 2)
    with no_heap():
        agent.poll()
    assert not link.readable()
    assert figure(agent.sample, "bad_frames") == 0
    assert agent.faults == 0


def test_sampling_is_the_same_with_no_a_stalled_and_a_lying_host():
    """Invariant 1: sampling and history do not depend on the other end."""
    stalled, lying = FakeLink(), FakeLink()
    stalled.room = 0
    stalled.receive(64, 1, 0, 77)
    for message in ((64, 1, 0, 77), (66, 77, 40_000), (67, 77, 9, 1, ["x"]), (66, 77, -1)):
        lying.receive(*message)
    agents = [_agent(None), _agent(stalled), _agent(lying)]
    for _ in range(3):
        _wait(400)
        for agent in agents:
            poll_for_sample(agent)
    for agent in agents:
        assert figure(agent.sample, "uptime_s") >= 1
        assert agent.faults == 0
    assert figure(agents[1].sample, "dropped_frames") >= 2


def test_a_fault_inside_is_counted_and_the_next_sample_comes():
    agent = _agent()

    def fail():
        raise OSError("on purpose")

    in_next_sample(agent, fail)
    _wait(25)
    poll_for_sample(agent)
    assert agent.faults == 1
    _wait(25)
    assert poll_for_sample(agent)
    assert figure(agent.sample, "faults") == 1


def test_a_poll_inside_a_poll_does_nothing():
    agent = _agent()
    inner = []

    def reenter():
        inner.append(agent.poll())

    in_next_sample(agent, reenter)
    _wait(25)
    poll_for_sample(agent)
    assert inner == [10]


def test_scheduled_functions_may_allocate_during_a_poll():
    """Its timers' callbacks run in the main thread, wherever that is."""
    try:
        from micropython import schedule
    except ImportError:
        skip("no micropython.schedule")
    agent = _agent()
    taken = []

    def take(_):
        taken.append(bytearray(2000))

    def interrupt():
        schedule(take, 0)
        for _ in range(10):
            pass  # where it runs

    in_next_sample(agent, interrupt)
    _wait(25)
    poll_for_sample(agent)
    assert agent.faults == 0
    assert len(taken) == 1


def test_monitoring_starts_stops_and_changes_over_the_link():
    link = FakeLink()
    agent = _agent(link)
    link.receive(64, 1, 0, 77)
    link.receive(67, 77, 0, 1, [40])
    poll_all(agent)
    assert agent.governor.wanted_interval_ms == 40
    assert _of_kind(link, 7)[0][2:] == [0, 0, 40]
    for number, arguments in enumerate(([0], [19], [600_001], ["x"], [None], [True], []), 1):
        link.receive(67, 77, number, 1, arguments)
        agent.poll()
        assert _of_kind(link, 7)[0][2:] == [number, 2, None], arguments
    link.receive(67, 77, 8, 2, [])
    agent.poll()
    assert agent.governor.interval_ms == 0
    samples = _of_kind(link, 3)
    assert samples and samples[-1][2][2] == 0
    _wait(60)
    agent.poll()
    assert [message[0] for message in link.sent() if message[0] in (3, 16)] == []


def test_history_is_read_over_the_link_on_micropython():
    link = FakeLink()
    agent = _agent(link)
    link.receive(64, 1, 0, 77)
    _wait(1100)
    poll_for_sample(agent)
    link.receive(67, 77, 0, 3, [0, 0, 1])
    poll_all(agent)
    newest, step_s, scale, data = _of_kind(link, 7)[0][4]
    assert newest >= 1 and (step_s, len(data)) == (1, 120)
    live = (data[-2] | data[-1] << 8) * scale
    assert 0 <= agent.memory.total - live < agent.memory.total
    wrongs = ([3, 0, 1], [0, 4, 1], [0, 0, 3], [-1, 0, 0], ["0", 0, 0], [0, 0], [None, 0, 0])
    for number, wrong in enumerate(wrongs, 1):
        link.receive(67, 77, number, 3, wrong)
        poll_all(agent)
        assert _of_kind(link, 7)[0][2:] == [number, 2, None], wrong


def test_trends_of_a_young_board_have_no_slope_on_micropython():
    warden.start(interval_ms=20, link=False)
    try:
        found = warden.trends(60_000)
        for wrong in (0, -1, None, "1", 1.5, float("nan")):
            raises((TypeError, ValueError), warden.trends, wrong)
    finally:
        warden.stop()
    for name in ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes"):
        assert found[name]["slope_per_s"] is None
        assert found[name]["exhausted_in_s"] is None


def test_a_leak_is_seen_in_the_trend_on_micropython():
    warden.start(interval_ms=600_000, link=False)
    try:
        agent = running_agent()
        sample = agent.sample
        for s in range(100, 130):
            put_figure(sample, "uptime_s", s)
            put_figure(sample, "live_bytes", 20_000 + 500 * s)
            agent.history.add(sample)
        trend = warden.trends(60_000)["live_bytes"]
    finally:
        warden.stop()
    assert trend["points"] >= 29, trend
    assert 480 < trend["slope_per_s"] < 520, trend
    assert trend["clear"]
    assert trend["exhausted_in_s"] > 0


def test_no_figure_is_of_less_than_a_tenth_of_the_interval():
    agent = make_agent(PressedBoard(), 1000)
    board = agent.board
    periods = []

    def pass_ms(ms):
        board.ticks.pass_ms(ms)
        before = figure(agent.sample, "uptime_s") * 1000 + figure(agent.sample, "uptime_ms")
        agent.poll()
        taken = figure(agent.sample, "uptime_s") * 1000 + figure(agent.sample, "uptime_ms") - before
        if taken:
            assert agent.sample.period_ms == taken
            periods.append(taken)

    for _ in range(300):  # a host that wants a sample all the time
        agent.start_monitoring(1000)
        agent.start_monitoring(1000)
        pass_ms(7)
    assert len(periods) == 20 and min(periods) >= 100, periods
    del periods[:]
    for late in range(900, 1000, 11):  # a loop that is blocked for nearly an interval
        count = len(periods)
        while len(periods) == count:  # until one is taken in time
            pass_ms(10)
        pass_ms(1000 + late)
        for _ in range(200):
            pass_ms(10)
    assert min(periods) >= 100, periods


def test_a_new_interval_is_sent_before_the_next_figure():
    """Which is a tenth of it away: a host would show the old one for as long as a minute."""
    uptime, interval, free, wanted, budget = 0, 2, 4, 22, 23  # places in ids.SAMPLE_VALUES
    link = FakeLink()
    agent = make_agent(PressedBoard(), 1000, link=link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    first = _of_kind(link, 3)[-1][2]
    assert (first[interval], first[wanted], first[budget]) == (1000, 1000, 10)
    for _ in range(2):  # the second time nothing is new
        agent.start_monitoring(60_000, 50)
        poll_all(agent)
    sent = link.sent()
    (again,) = [message[2] for message in sent if message[0] == 3]
    assert (again[interval], again[wanted], again[budget]) == (60_000, 60_000, 50)
    assert again[uptime : uptime + 2] == first[uptime : uptime + 2]
    assert again[free] == first[free]
    assert not [message for message in sent if message[0] == 16]  # a DELTA


def test_ticks_that_jump_back_delay_no_sample_and_no_end_by_more_than_a_second():
    for back in (900, 60_000, 1 << 28):
        agent = make_agent(PressedBoard(), 1000, limits=(4, 300_000, 100, 5000))
        ticks = agent.board.ticks
        lease = new_lease(agent.policy.leases, 2, 10, ttl_ms=5000)
        for _ in range(8):
            ticks.pass_ms(500)
            agent.poll()
        ticks.pass_ms(-back)
        taken = figure(agent.sample, "uptime_s")
        for _ in range(3):
            ticks.pass_ms(500)
            agent.poll()
        assert figure(agent.sample, "uptime_s") - taken in (1, 2) and agent.faults == 0, back
        assert 0 <= figure(agent.sample, "overhead_permille") <= 1000
        ticks.pass_ms(500)
        agent.poll()
        assert not lease.active


def test_the_largest_messages_fit():
    big = (1 << 29) - 1
    agent = _agent(FakeLink(), 600_000)
    for name in FIELDS:
        put_figure(agent.sample, name, big)
    agent.storage.rows = [("m" * 200, big, big, big, big) for _ in range(4)]
    agent.board.boot_id = big
    agent.board.identity = ("x" * 40, "x" * 24, "x" * 16, b"x" * 16, "deepsleep", "0.1.0")
    agent.link.receive(64, 1, 0, big)
    poll_all(agent)
    assert sorted([m[0] for m in agent.link.sent()]) == [1, 3, 4, 4, 4, 4, 5]
    assert agent.faults == 0
