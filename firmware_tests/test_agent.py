"""The whole agent on a real board: figures that add up, a tick that allocates nothing, tables."""

import gc
import sys

from harness import has_module, no_heap, raises
from rig import FakeLine, SilentLine, board, framed, in_next_sample, turn
from warden.agent import Agent
from warden.columns import column, newest_s, read
from warden.report import status, trends

_BLOCK = 4 * (8 if sys.maxsize > 1 << 32 else 4)  # bytes of a heap block: four words

# One for all: a new adapter of the QEMU board sets its clock anew, for those before it, too.
_BOARD = board()


def _agent(link=None, interval_ms=20):
    agent = Agent(_BOARD, interval_ms, link, budget_permille=1000)
    agent.step()
    return agent


def _wait(agent, ms):
    clock = agent.clock
    s, begun = clock.s, clock.ms
    while clock.since(s, begun) < ms:
        clock.advance()


def _told(line, kind):
    return [message for message in line.told() if message[0] == kind]


def test_memory_adds_up():
    agent = _agent()
    memory = status(agent)["memory"]
    assert memory["used_bytes"] + memory["available_bytes"] == memory["total_bytes"]
    if hasattr(gc, "mem_free"):
        assert abs(memory["total_bytes"] - (gc.mem_free() + gc.mem_alloc())) < _BLOCK
    assert 0 < memory["live_bytes"] <= memory["used_bytes"]
    largest = memory["largest_free_block_bytes"]
    assert (largest is not None) == has_module("_warden") == (agent.capabilities.reasons[2] == 0)
    assert largest is None or 0 < largest <= memory["available_bytes"]


def test_what_cannot_be_had_is_none_with_a_reason():
    agent = _agent()
    found = status(agent)
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
        assert (value is None) == (agent.capabilities.reasons[capability] != 0), capability


def test_uptime_grows():
    agent = _agent()
    _wait(agent, 1050)
    agent.step()
    assert agent.values[0] == 1


def test_a_tick_allocates_nothing():
    line = SilentLine()
    agent = _agent(line)
    line.hear(64, 1, 0, 77)
    turn(agent)
    _wait(agent, 40)
    agent.step()
    for _ in range(4):
        _wait(agent, 25)
        taken = line.taken
        number = agent.values[1]
        with no_heap():
            agent.step()
        assert agent.values[1] != number, "it was not due"
        assert line.taken > taken, "nothing was sent"
    assert agent.faults == 0


def test_reading_allocates_nothing_until_a_whole_valid_request_is_there():
    line = SilentLine()
    agent = _agent(line, 600_000)
    line.hear(64, 1, 0, 77)
    turn(agent)
    good = framed((67, 77, 0, 0, []))
    broken = bytearray(good)
    broken[3] ^= 0x40  # its CRC is wrong now
    stranger = framed((67, 78, 0, 0, [1, "x"]))
    for data in (
        good[:-4],
        b"\xc0text \xff\x00",
        broken,
        b"\xc0\x94" + b"\x7d" * 40,
        stranger[:-3],
    ):
        line.say(data)
        with no_heap():
            agent.session.receive()
    assert agent.session.bad >= 3
    line.say(b"\xc0\xc0" + good)
    agent.step(True)
    assert agent.session._replies[0] == [0, 0, None]


def test_a_tick_at_the_turn_of_an_hour_allocates_nothing():
    line = SilentLine()
    agent = _agent(line)
    line.hear(64, 1, 0, 77)
    turn(agent)
    agent.clock.s = 3599
    _wait(agent, 1100)
    agent.step()  # storage and network are due, and may allocate
    agent.clock.s = agent.clock.s + 3600
    agent.values[44] = agent.clock.s + 1000
    with no_heap():
        agent.step()
    assert agent.faults == 0
    assert newest_s(agent.history, 2) >= 7200


def test_a_keepalive_allocates_nothing():
    line = SilentLine()
    agent = _agent(line)
    line.hear(64, 1, 0, 77)
    turn(agent)
    line.hear(66, 77, 2)
    with no_heap():
        agent.step(True)
    assert agent.session.bad == 0
    assert agent.faults == 0


def test_it_does_the_same_with_nobody_with_a_stalled_and_with_a_lying_host():
    """Invariant 1: sampling and history do not depend on the other end."""
    stalled, lying = FakeLine(), FakeLine()
    stalled.room = 0
    stalled.hear(64, 1, 0, 77)
    for message in ((64, 1, 0, 77), (66, 77, 40_000), (67, 77, 9, 1, ["x"]), (66, 77, -1)):
        lying.hear(*message)
    agents = [_agent(None), _agent(stalled), _agent(lying)]
    for _ in range(3):
        _wait(agents[0], 400)
        for agent in agents:
            agent.step(True)
            agent.step()
    for agent in agents:
        assert agent.values[0] >= 1
        assert any([value != 0xFFFF for value in column(agent.history, 0, 0, 1)])
        assert agent.faults == 0
    assert agents[1].sample.dropped >= 2


def test_a_fault_inside_is_counted_and_the_next_sample_comes():
    agent = _agent()

    def fail():
        raise OSError("on purpose")

    in_next_sample(agent, fail)
    _wait(agent, 25)
    agent.step()
    assert agent.faults == 1
    _wait(agent, 25)
    agent.step()
    assert agent.values[21] == 1


def test_a_second_call_inside_the_first_does_nothing():
    agent = _agent()
    inner = []

    def reenter():
        inner.append(agent.step())

    in_next_sample(agent, reenter)
    _wait(agent, 25)
    agent.step()
    assert inner == [10]


def test_monitoring_starts_stops_and_changes_over_the_line():
    line = FakeLine()
    agent = _agent(line)
    line.hear(64, 1, 0, 77)
    line.hear(67, 77, 0, 1, [40])
    turn(agent)
    assert agent.values[33] == 40
    assert _told(line, 7)[0][2:] == [0, 0, 40]
    for number, arguments in enumerate(([0], [19], [600_001], ["x"], [None], [True], []), 1):
        line.hear(67, 77, number, 1, arguments)
        agent.step(True)
        assert _told(line, 7)[0][2:] == [number, 2, None], arguments
    line.hear(67, 77, 8, 2, [])
    agent.step(True)
    assert agent.values[33] == 0
    samples = _told(line, 3)
    assert samples and samples[-1][2][2] == 0
    _wait(agent, 60)
    agent.step()
    assert _told(line, 3) == []


def test_history_is_read_over_the_line():
    line = FakeLine()
    agent = _agent(line)
    line.hear(64, 1, 0, 77)
    _wait(agent, 1100)
    agent.step()
    line.hear(67, 77, 0, 3, [0, 0, 1])
    turn(agent)
    newest, step_s, scale, data = _told(line, 7)[0][4]
    assert (newest, step_s, len(data)) == (1, 1, 120)
    live = (data[-2] | data[-1] << 8) * scale
    assert 0 <= agent.memory.total - live < agent.memory.total
    for wrong in ([3, 0, 1], [0, 4, 1], [0, 0, 3], [-1, 0, 0], ["0", 0, 0], [0, 0], [None, 0, 0]):
        raises((TypeError, ValueError), read, agent, *wrong)


def test_trends_of_a_young_board_claim_nothing():
    found = trends(_agent(), 60_000)
    for name in ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes"):
        assert found[name]["slope_per_s"] is None
        assert found[name]["exhausted_in_s"] is None


def test_a_leak_is_seen_in_the_trend():
    agent = _agent()
    for s in range(100, 130):
        agent.values[5] = 20_000 + 500 * s
        agent.history.add(s)
    trend = trends(agent, 60_000)["live_bytes"]
    assert trend["points"] >= 29, trend
    assert 480 < trend["slope_per_s"] < 520, trend
    assert trend["clear"]
    assert trend["exhausted_in_s"] > 0


def test_the_largest_messages_fit():
    agent = _agent(FakeLine(), 600_000)
    big = (1 << 29) - 1
    for place in range(24):
        agent.values[place] = big
    agent.storage.rows = [["m" * 200, big, big, big, big] for _ in range(4)]
    agent._hello.identity = ("x" * 40, "x" * 24, "x" * 16, b"x" * 16, "deepsleep", "0.1.0")
    agent.link.hear(64, 1, 0, big)
    turn(agent)
    assert [m[0] for m in agent.link.told()] == [1, 4, 4, 4, 4, 3, 5]
    assert agent.faults == 0
