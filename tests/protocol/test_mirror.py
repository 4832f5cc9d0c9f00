"""The mirror equals the board, whatever the line did to the frames; and reading it is cheap."""

from __future__ import annotations

import asyncio
import json
import random
import timeit
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import campaign
import pytest
from damage import Damaging
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run, until

from boardwarden import Board, LinkLost, RequestError, Status, SystemHeap, _clock, _mirror, connect
from boardwarden._mirror import Mirror
from boardwarden._protocol import shared_stream
from boardwarden._protocol.subscription import SILENCE_S, SUBSCRIBE_S
from boardwarden._status import State, status
from boardwarden.render.status import link_state
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

_SYSTEM_HEAP = ids.CAPABILITIES.index("system_heap")


def expected(peer: FakeBoard) -> dict[str, Any]:
    """Return the status that a board's own figures make, written down a second time."""
    values: dict[str, Any] = dict.fromkeys(ids.SAMPLE_VALUES)
    values.update(peer.values)

    def thousandth(name: str) -> float | None:
        return None if values[name] is None else values[name] / 1000

    total, free = values["total_bytes"], values["free_bytes"]
    used = None if None in (total, free) else total - free
    return {
        "memory": {
            "total_bytes": total,
            "used_bytes": used,
            "available_bytes": free,
            "live_bytes": values["live_bytes"],
            "largest_free_block_bytes": values["largest_free_block_bytes"],
            "fragmentation": _outside(values["largest_free_block_bytes"], free),
            "low_water_bytes": values["low_water_bytes"],
            "usage": used / total if used is not None and total else None,
        },
        "cpu": {
            "usage": thousandth("cpu_permille"),
            "active_threads": values["threads"],
            "active_tasks": values["tasks"],
            "loop_lag_s": thousandth("loop_lag_ms"),
            "loop_lag_worst_s": thousandth("loop_lag_worst_ms"),
            "uptime_s": values["uptime_s"] + values["uptime_ms"] / 1000,
        },
        "storage": [
            {
                "mount": mount,
                "total_bytes": size * blocks,
                "used_bytes": size * (blocks - free_blocks),
                "available_bytes": size * available,
                "usage": (blocks - free_blocks) / blocks if blocks else None,
                "block_bytes": size,
                "agent_writes": dict(zip(ids.AGENT_WRITES, *writes, strict=True))
                if writes
                else None,
            }
            for mount, size, blocks, free_blocks, available, *writes in peer.rows
        ],
        "network": {
            "connected": None if values["connected"] is None else values["connected"] != 0,
            "rssi_dbm": values["rssi_dbm"],
            "sent_bytes": values["sent_bytes"],
            "received_bytes": values["received_bytes"],
        },
        "overhead": {
            "cpu": thousandth("overhead_permille"),
            "budget": thousandth("budget_permille"),
            "bytes_per_s": values["link_bytes_per_s"],
            "dropped_frames": values["dropped_frames"],
            "bad_frames": values["bad_frames"],
            "faults": values["faults"],
        },
        "system_heap": _named(peer.system_heap),
        "interval_s": thousandth("interval_ms"),
        "wanted_interval_s": thousandth("wanted_interval_ms"),
        "board": {
            "machine": peer.identity[0],
            "firmware": peer.identity[1],
            "port": peer.identity[2],
            "unique_id": peer.identity[3].hex() or None,
            "boot_id": peer.boot_id,
            "reset_cause": peer.identity[4],
            "protocol": f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}",
            "agent": peer.identity[5],
            "boots": peer.identity[6] if len(peer.identity) > 6 else None,
            "crash_free_s": peer.identity[7] + values["uptime_s"]
            if len(peer.identity) > 6
            else None,
        },
    }


def _outside(largest: int | None, free: int | None) -> float | None:
    """Return the fragmentation: the share of what is free that is outside the largest block."""
    if largest is None or free is None:
        return None
    return max(0, free - largest) / free if free else 0.0


def _named(heap: list[int | None] | None) -> dict[str, Any] | None:
    names = ("free_bytes", "largest_free_block_bytes", "low_water_bytes")
    return None if heap is None else dict(zip(names, heap, strict=True))


def state_of(board: Board) -> dict[str, Any]:
    """Return what the mirror says, without what is the host's own."""
    status = board.status.to_dict()
    del status["age_s"], status["last_updated"]
    return status


def equals(board: Board, peer: FakeBoard) -> bool:
    """Compare the mirror with the board, field by field."""
    if not board.capabilities:
        return False
    reasons = [ids.REASONS[code] if code else None for code in peer.capabilities]
    capabilities = [board.capabilities[name].reason for name in ids.CAPABILITIES]
    return state_of(board) == expected(peer) and capabilities == reasons


# --- what it says -------------------------------------------------------------------------------


def test_the_mirror_equals_the_board_after_connect_and_changes() -> None:
    async def main() -> None:
        peer = FakeBoard()
        peer.capabilities = bytes([ids.AVAILABLE, 9, 2]) + bytes(len(ids.CAPABILITIES) - 3)
        async with connect(FakeTransport(peer)) as board:
            assert equals(board, peer)
            full = {name: place + 1 for place, name in enumerate(ids.SAMPLE_VALUES)}
            peer.values.update(full, uptime_s=99)
            peer.sample()
            peer.rows.append(["/sd", 512, 0, 0, 0])
            peer.store(0, ["/", 4096, 512, 1, 0])
            peer.store(1, ["/sd", 512, 0, 0, 0])
            await asyncio.sleep(0.1)
            assert equals(board, peer)

    run(main())


def test_unavailable_figures_are_none_with_a_reason() -> None:
    async def main() -> None:
        peer = FakeBoard()
        peer.values.update(dict.fromkeys(set(ids.SAMPLE_VALUES) - {"uptime_s", "uptime_ms"}))
        peer.identity = ["", "", "", b"", None, ""]
        peer.capabilities = bytes([99, ids.NO_NATIVE])
        async with connect(FakeTransport(peer)) as board:
            status = board.status
            assert status.memory.used_bytes is None
            assert status.memory.usage is None
            assert status.cpu.usage is None
            assert status.network.connected is None
            assert status.board.unique_id is None
            assert status.board.reset_cause is None
            assert "99" in str(board.capabilities["memory"].reason)
            assert board.capabilities["live_memory"].reason == ids.REASONS[ids.NO_NATIVE]
            assert not board.capabilities["timer"].available

    run(main())


def test_a_last_will_is_a_capability_of_boards_over_mqtt_alone() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            assert tuple(board.capabilities) == ids.CAPABILITIES
        peer.capabilities += bytes([ids.OWN_WILL, 77])  # and one that is of a later version
        async with connect(FakeTransport(peer)) as board:
            assert tuple(board.capabilities) == (*ids.CAPABILITIES, "last_will")
            reason = board.capabilities["last_will"].reason
            assert reason == ids.REASONS[ids.OWN_WILL]
            assert f"{shared_stream.SILENCE_S:.0f} s without a frame" in str(reason)

    run(main())


def test_the_status_as_json_is_valid_json() -> None:
    async def main() -> None:
        async with connect(FakeTransport(FakeBoard())) as board:
            text = json.dumps([board.status.to_dict(), board.link.to_dict()])
            status = json.loads(text)[0]
            updated = datetime.fromisoformat(status["last_updated"])
            assert abs((datetime.now(timezone.utc) - updated).total_seconds()) < 60

    run(main())


def test_a_new_mirror_is_empty() -> None:
    mirror = Mirror()
    assert mirror.status.memory.total_bytes is None
    assert mirror.status.storage == ()
    assert mirror.status.age_s is None
    assert mirror.status.last_updated is None
    assert mirror.capabilities == {}
    assert mirror.trends(60.0).memory.slope_per_s is None


def test_rows_beyond_the_boards_count_are_dropped() -> None:
    mirror = Mirror()
    mirror.on_message([ids.STORAGE, 1, 1, 2, "/sd", 512, 10, 5, 5])
    assert [row.mount for row in mirror.status.storage] == ["/sd"]
    mirror.on_message([ids.STORAGE, 2, 0, 2, "/", 512, 10, 5, 5])
    assert [row.mount for row in mirror.status.storage] == ["/", "/sd"]
    mirror.on_message([ids.STORAGE, 3, 0, 1, "/", 512, 10, 5, 5])
    assert [row.mount for row in mirror.status.storage] == ["/"]
    mirror.on_message([ids.STORAGE, 4, 0, 0, None, None, None, None, None])
    assert mirror.status.storage == ()


# --- age ----------------------------------------------------------------------------------------


def test_the_age_is_computed_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(_clock, "passed_s", lambda: now)
    mirror = Mirror()
    mirror.on_message([ids.SAMPLE, 1, [5, 0]])
    status = mirror.status
    now += 3
    assert status.age_s == 3
    assert mirror.status is status
    mirror.on_message([ids.SAMPLE, 2, [5, 0]])  # told again after a SUBSCRIBE: no younger
    assert mirror.status.age_s == 3
    assert mirror.samples == 1
    mirror.on_message([ids.SAMPLE, 3, [5, 1]])
    assert mirror.status.age_s == 0
    assert mirror.samples == 2


def test_a_repeated_sample_updates_changed_fields() -> None:
    mirror = Mirror()
    mirror.on_message([ids.SAMPLE, 1, [5, 0, 1000]])
    mirror.on_message([ids.SAMPLE, 2, [5, 0, 0]])
    assert mirror.status.interval_s == 0


def test_after_link_loss_the_mirror_keeps_the_figures_and_is_disconnected() -> None:
    async def main() -> None:
        transport = FakeTransport(FakeBoard())
        async with connect(transport) as board:
            transport.refuse = LinkLost("out")
            transport.cut()
            await until(lambda: not board.connected, 0.1)
            assert board.status.memory.live_bytes == 50_000

    run(main())


def test_a_board_that_said_so_is_asleep_and_not_lost() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.sleep()
            await until(lambda: not board.connected, SILENCE_S + 0.5)
            assert board.asleep
            assert link_state(board).startswith("asleep; the last sample came at ")
            peer.mute = False
            await until(lambda: board.connected, 2)
            assert (board.asleep, link_state(board)) == (False, "connected")
            peer.mute = True
            await until(lambda: not board.connected, SILENCE_S + 0.5)
            assert link_state(board).startswith("link lost; the last sample came at ")
            assert link_state(board).endswith(": the line is there, so it hangs or has no power")

    run(main())


# --- it costs little ----------------------------------------------------------------------------


def test_status_is_built_once_and_then_cheap_to_read() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            assert board.status is board.status
            before = board.status
            peer.sample()
            await asyncio.sleep(0.1)
            assert board.status is not before
            state = board._mirror._state

            def seconds(call: Callable[[], object]) -> float:
                return min(timeit.repeat(call, number=2000, repeat=5))

            # A ratio, as machines are more or less busy; `make bench` tells the time itself.
            assert seconds(lambda: board.status) * 10 < seconds(lambda: status(state))

    run(main())


def test_a_status_built_while_a_frame_arrived_is_not_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread may read while frames come; what it made then is old at once."""
    made = []

    def making(state: State) -> Status:
        made.append(status(state))
        if len(made) == 1:
            read.on_message([ids.SAMPLE, 2, [2, 0]])
        return made[-1]

    monkeypatch.setattr(_mirror, "status", making)
    read = Mirror()
    read.on_message([ids.SAMPLE, 1, [1, 0]])
    assert read.status.cpu.uptime_s == 1
    assert read.status.cpu.uptime_s == 2


# --- followers ----------------------------------------------------------------------------------


def test_updates_yield_each_new_sample_and_end_with_the_board() -> None:
    async def main() -> None:
        peer = FakeBoard()
        seen: list[float | None] = []

        async def follow(board: Board) -> None:
            async for now in board.updates():
                seen.append(now.cpu.uptime_s)

        async with connect(FakeTransport(peer)) as board:
            task = asyncio.create_task(follow(board))
            for _ in range(3):
                await asyncio.sleep(0.1)
                peer.sample()
            await until(lambda: len(seen) == 3)
        await task
        assert seen == [11, 12, 13]

    run(main())


def test_updates_yields_all_samples_or_only_the_newest_as_requested() -> None:
    async def main() -> None:
        peer = FakeBoard()
        every: list[float | None] = []
        newest: list[float | None] = []

        async def follow(board: Board, seen: list[float | None], wanted: bool) -> None:
            async for now in board.updates(every=wanted):
                seen.append(now.cpu.uptime_s)

        async with connect(FakeTransport(peer)) as board:
            tasks = [
                asyncio.create_task(follow(board, every, True)),
                asyncio.create_task(follow(board, newest, False)),
            ]
            await asyncio.sleep(0)
            for _ in range(3):
                peer.sample()  # all three come in one piece
            await until(lambda: len(every) == 3)
        await asyncio.gather(*tasks)
        assert every == [11, 12, 13]
        assert newest == [13]

    run(main())


def test_changes_wakes_once_for_several_changes() -> None:
    async def main() -> None:
        peer = FakeBoard()
        looks: list[int] = []

        async def follow(board: Board) -> None:
            async for _ in board.changes():
                looks.append(len(board.status.storage))

        async with connect(FakeTransport(peer)) as board:
            task = asyncio.create_task(follow(board))
            await asyncio.sleep(0)
            peer.rows.append(["/sd", 512, 0, 0, 0])
            peer.store(1, ["/sd", 512, 0, 0, 0])
            await until(lambda: looks[-1:] == [2])
        await task

    run(main())


def test_wait_sample_returns_the_next_sample_and_raises_when_the_board_is_closed() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            task = asyncio.create_task(board.wait_sample())
            await asyncio.sleep(0.1)
            assert not task.done()
            peer.sample()
            assert (await task).cpu.uptime_s == 11
            task = asyncio.create_task(board.wait_sample())
            await asyncio.sleep(0.1)
        with pytest.raises(LinkLost):
            await task
        with pytest.raises(LinkLost):
            await board.wait_sample()

    run(main())


def test_every_console_listener_gets_all_text_even_a_late_one() -> None:
    async def main() -> None:
        peer = FakeBoard()
        texts: list[list[str]] = [[], []]

        async def listen(board: Board, to: list[str]) -> None:
            async for text in board.console():
                to.append(text)

        async with connect(FakeTransport(peer)) as board:
            early = asyncio.create_task(listen(board, texts[0]))
            for number in range(50):
                peer.print(f"Zeile {number} äöü→\r\n")
                peer.sample()
                await asyncio.sleep(0.001)
            late = asyncio.create_task(listen(board, texts[1]))
            await asyncio.sleep(0.1)
            peer.print("the end")
            await asyncio.sleep(0.1)
            assert board.link.gaps == board.link.bad_frames == 0
        await asyncio.gather(early, late)
        said = "".join(f"Zeile {number} äöü→\r\n" for number in range(50)) + "the end"
        assert "".join(texts[0]) == "".join(texts[1]) == said
        assert board.link.text_bytes == len(said.encode())

    run(main())


def test_a_console_listener_that_does_not_read_uses_bounded_memory() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            listener = board.console()
            peer.print("begin")
            assert await listener.__anext__() == "begin"
            for _ in range(100):
                peer.print("x" * 10_000)
                await asyncio.sleep(0.001)
            peer.print("end")
            await asyncio.sleep(0.01)
            text = await listener.__anext__()
            assert text.endswith("end")
            assert len(text) <= 256 * 1024
            await listener.aclose()

    run(main())


# --- history and trends -------------------------------------------------------------------------


def _leak(mirror: Mirror, seconds: int, begin: int = 0) -> None:
    for second in range(begin, begin + seconds):
        values: list[int | None] = [None] * len(ids.SAMPLE_VALUES)
        values[:6] = [second, 0, 1000, 100_000, None, 10_000 + 100 * second]
        values[ids.SAMPLE_VALUES.index("cpu_permille")] = 500 + (-1) ** second * 100
        mirror.on_message([ids.SAMPLE, second, values])


def test_the_trend_of_a_leak_has_a_slope_and_a_time_of_exhaustion() -> None:
    mirror = Mirror()
    mirror.on_message([ids.STORAGE, 1, 0, 1, "/", 512, 100, 50, 50])
    _leak(mirror, 60)
    trends = mirror.trends(30.0)
    assert trends.memory.slope_per_s == pytest.approx(100)
    assert trends.memory.is_clear
    assert trends.memory.points == 30
    assert trends.memory.exhausted_in_s == pytest.approx((100_000 - 15_900) / 100, rel=0.01)
    assert not trends.cpu.is_clear
    assert trends.cpu.exhausted_in_s is None
    assert trends.loop_lag.slope_per_s is None
    assert trends.storage.exhausted_in_s is None


def test_fragmentation_has_a_history_and_a_trend_of_the_samples() -> None:
    mirror = Mirror()
    values: list[int | None] = [None] * len(ids.SAMPLE_VALUES)
    for second in range(60):
        values[:7] = [second, 0, 1000, 100_000, 40_000, 50_000, 40_000 - 400 * second]
        mirror.on_message([ids.SAMPLE, second, values.copy()])
    trend = mirror.trends(30.0).fragmentation
    assert trend.slope_per_s == pytest.approx(0.01)
    assert trend.is_clear
    assert trend.exhausted_in_s is None
    assert mirror.history.samples[-1].fragmentation == pytest.approx(0.59)
    assert mirror.history.points("fragmentation")[0] == (0.0, 0.0)
    assert mirror.history.column(0, "fragmentation", "mean").values == ()  # the board has none


@pytest.mark.parametrize(
    ("free", "largest", "share"),
    [
        (80_000, 20_000, 0.75),
        (80_000, 80_000, 0.0),
        (0, 0, 0.0),
        (64, 128, 0.0),  # one was freed between the two
        (80_000, None, None),
        (None, 16, None),
    ],
)
def test_fragmentation_is_what_is_free_outside_the_largest_block(
    free: int | None, largest: int | None, share: float | None
) -> None:
    async def main() -> None:
        peer = FakeBoard()
        peer.values.update(free_bytes=free, largest_free_block_bytes=largest)
        async with connect(FakeTransport(peer)) as board:
            assert board.fragmentation == board.status.memory.fragmentation == share

    run(main())


def test_the_system_heap_is_none_but_on_a_board_that_has_one() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            assert board.status.system_heap is None
            peer.measure_system_heap(62_480, 31_744, 41_012)
            await until(lambda: board.status.system_heap is not None)
            assert board.status.system_heap == SystemHeap(62_480, 31_744, 41_012)
            peer.system_heap = None
            peer.restart()  # with another firmware, say
            await until(lambda: board.status.system_heap is None)

    run(main())


@pytest.mark.parametrize(
    ("reason", "shown"), [(ids.AVAILABLE, SystemHeap(3, 2, 1)), (ids.NO_MODULE, None)]
)
def test_a_system_heap_of_a_board_that_has_none_is_a_late_one(
    reason: int, shown: SystemHeap | None
) -> None:
    mirror = Mirror()
    capabilities = bytes(_SYSTEM_HEAP) + bytes([reason])
    mirror.on_message([ids.HELLO, 1, 1, 4, 77, 5, [], [], capabilities])
    mirror.on_message([ids.SYSTEM_HEAP, 2, 3, 2, 1])
    assert mirror.status.system_heap == shown


def test_too_few_points_make_no_trend() -> None:
    mirror = Mirror()
    _leak(mirror, 5)
    trend = mirror.trends(60.0).memory
    assert (trend.points, trend.slope_per_s, trend.is_clear) == (5, None, False)


@pytest.mark.parametrize("period", [0, -1, float("nan")])
def test_a_trend_period_must_be_positive(period: float) -> None:
    with pytest.raises(ValueError, match="period"):
        Mirror().trends(period)


def test_at_most_600_samples_are_kept() -> None:
    mirror = Mirror()
    _leak(mirror, 700)
    samples = mirror.history.samples
    assert len(samples) == 600
    assert samples[-1].uptime_s == 699
    assert samples[-1].memory == 10_000 + 699 * 100
    assert samples[-1].cpu == 0.4


def test_history_goes_back_to_before_the_connection() -> None:
    def read(arguments: list[Any]) -> tuple[int, Any]:
        tier, metric, _ = arguments
        step_s, slots = ids.TIERS[tier]
        newest = 3600
        steps = [(newest - (slots - 1 - slot) * step_s) // 10 for slot in range(slots)]
        if tier == 2 or metric != 0:
            steps = [ids.NO_VALUE] * slots
        data = b"".join(step.to_bytes(2, "little") for step in steps)
        return ids.OK, [newest, step_s, 100, data]

    async def main() -> None:
        peer = FakeBoard()
        peer.values["uptime_s"] = 3600
        peer.answer[ids.HISTORY_READ] = read
        async with connect(FakeTransport(peer)) as board:
            assert board.trends(3000.0).memory.slope_per_s is None
            history = await board.fetch_history()
            assert len(peer.done) == 36
            assert board.trends(3000.0).memory.slope_per_s == pytest.approx(10, rel=0.2)
            minutes = history.column(1, "memory", "max")
            assert minutes.step_s == 60
            assert minutes.values[-1] == 36_000
            assert set(history.column(2, "memory", "mean").values) == {None}
            assert history.points("cpu") == [(3600.0, 0.125)]
            times = [at for at, _ in history.points("memory")]
            assert times == sorted(set(times))
            assert len(times) == 1 + 60 + 59  # a sample, the seconds, the minutes before them

    run(main())


def test_history_columns_are_in_the_hosts_units() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            history = await board.fetch_history()
            assert history.column(0, "cpu", "min").values == (0.001, None, 0.003)
            assert history.column(0, "memory", "min").values == (1, None, 3)
            assert history.column(0, "memory", "min").points() == [(7.5, 1), (9.5, 3)]
            assert [history.mean("memory", at) for at in (7.5, 8.5, 9.5)] == [1, None, 3]
            assert [history.mean("memory", at) for at in (6.9, 10.1)] == [None, None]


def test_only_the_requested_part_of_the_history_is_read() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            history = await board.fetch_history(("cpu",), ("mean",))
            assert peer.done == [(ids.HISTORY_READ, [tier, 1, 1]) for tier in range(3)]
            assert history.column(0, "cpu", "mean").values == (0.001, None, 0.003)
            with pytest.raises(ValueError, match="no metric 'speed'; there are memory, cpu"):
                await board.fetch_history(("speed",))

    run(main())


# --- invariant 6 --------------------------------------------------------------------------------


def _live(peer: FakeBoard, source: random.Random) -> None:
    """Let something happen on the board."""
    what = source.randrange(8)
    if what < 4:
        peer.sample(live_bytes=source.randrange(2**31), connected=source.choice([None, 0, 1]))
    elif what < 5:
        peer.sample(largest_free_block_bytes=source.choice([None, 0, 1000, 180_000, 200_000]))
        if not peer.capabilities[_SYSTEM_HEAP]:
            peer.measure_system_heap(*(source.choice([None, 0, 5000, 2**25]) for _ in range(3)))
    elif what < 6 and peer.rows:
        peer.store(source.randrange(len(peer.rows)), ["/x", 512, 1000, source.randrange(1000), 1])
    elif what == 6:
        peer.print("some text\r\n")
    elif source.random() < 0.3:
        peer.restart()
        peer.rows = [["/", 4096, 100 + row, 7, 7] for row in range(source.randrange(4))]
        peer.capabilities = bytes([source.choice([0, 2])]) * len(ids.CAPABILITIES)
        peer.system_heap = None if peer.capabilities[_SYSTEM_HEAP] else [60_000, 30_000, 20_000]


@settings(max_examples=campaign.of(200, short=50))
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_after_any_damage_the_mirror_equals_the_board_again(seed: int, events: int) -> None:
    """Within the silence after which a host asks again, and the pause between two questions."""

    source = random.Random(seed)

    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            transport.to_host, transport.to_board = Damaging(source), Damaging(source)
            for _ in range(events):
                _live(peer, source)
                await asyncio.sleep(source.random() * 0.6)
            boots = peer.boot_id
            transport.to_host = transport.to_board = lambda data: (data,)
            await until(lambda: equals(board, peer), SILENCE_S + 2 * SUBSCRIBE_S)
            await board.ping()
            assert peer.boot_id == boots

    run(main())


@settings(max_examples=campaign.of(100, short=30))
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_after_any_damage_a_request_happened_at_most_once(seed: int, count: int) -> None:
    """And exactly once if it was acknowledged (invariant 5)."""
    source = random.Random(seed)

    async def main() -> None:
        peer = FakeBoard()
        peer.answer[ids.START_MONITORING] = lambda arguments: (ids.OK, arguments[0])
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            transport.to_host, transport.to_board = Damaging(source), Damaging(source)
            requests = []
            for number in range(count):
                requests.append(asyncio.create_task(board.start_monitoring((20 + number) / 1000)))
                await asyncio.sleep(source.random() * 0.3)
            results = await asyncio.gather(*requests, return_exceptions=True)
        done = [arguments[0] - 20 for _, arguments in peer.done]
        for number, result in enumerate(results):
            assert result is None or isinstance(result, RequestError)
            assert done.count(number) == 1 or (result and not done.count(number))

    run(main())
