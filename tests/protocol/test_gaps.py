"""Times without samples: when there is one, and what is read of the board's own history then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_stream import FakeStream, FakeStreamBoard
from remembering import figure, pass_s, remember
from virtual_time import run, until

import boardwarden
from boardwarden import Board, Gap, connect
from boardwarden._mirror import MAX_EVENTS, Mirror
from boardwarden._protocol.messages import Message
from boardwarden.history import Column, slots
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

BEGIN_S = 100_000
READ = ids.HISTORY_READ


class Followed:
    """A fake board with a history, and the gaps that its host finds."""

    def __init__(self, peer: FakeBoard | None = None) -> None:
        self.peer = FakeBoard() if peer is None else peer
        self.peer.values["uptime_s"] = BEGIN_S
        remember(self.peer)
        self.transport = FakeTransport(self.peer)
        self.found: list[Gap] = []

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Board]:
        async with connect(self.transport) as board:
            collecting = asyncio.create_task(self._collect(board))
            yield board
            await asyncio.sleep(0)
        await collecting

    async def _collect(self, board: Board) -> None:
        async for gap in board.gaps():
            self.found.append(gap)

    def reads(self) -> int:
        return sum(number == READ for number, _ in self.peer.done)

    async def lose(self, board: Board, seconds: int) -> None:
        """Have the link lost for so many seconds of the board."""
        self.transport.cut()
        await until(lambda: not board.connected)
        pass_s(self.peer, seconds)
        await until(lambda: board.synced and board.connected)
        self.peer.sample()


@pytest.mark.parametrize(
    ("seconds", "tiers", "reads"), [(40, {1}, 4), (3000, {1, 60}, 16), (9000, {1, 60, 3600}, 28)]
)
def test_a_loss_is_a_gap_with_what_the_board_has_of_it(
    seconds: int, tiers: set[int], reads: int
) -> None:
    async def main() -> None:
        followed = Followed()
        async with followed.following() as board:
            await followed.lose(board, seconds)
            await until(lambda: followed.found)
        (gap,) = followed.found
        assert (gap.boot_id, gap.begin_s, gap.why) == (1, BEGIN_S, None)
        assert gap.end_s == BEGIN_S + seconds
        assert {slot.step_s for slot in gap.slots} == tiers
        assert followed.reads() == reads
        # The whole time, each part by the shortest slots that there are of it.
        assert gap.slots[0].begin_s <= gap.begin_s
        assert gap.slots[-1].begin_s + gap.slots[-1].step_s == gap.end_s
        for before, after in zip(gap.slots, gap.slots[1:], strict=False):
            assert before.begin_s < after.begin_s <= before.begin_s + before.step_s
            assert after.step_s <= before.step_s
        for slot in gap.slots:
            number = int(slot.begin_s // slot.step_s)
            told = [pytest.approx(figure(1, each, number) / 1000) for each in range(3)]
            known = told if slot.step_s > 1 else [None, told[1], None]
            assert [slot.cpu.min, slot.cpu.mean, slot.cpu.max] == known
            assert slot.memory.mean == figure(0, 1, number)

    run(main())


def test_a_slot_that_only_touches_a_time_is_not_of_it() -> None:
    minutes = {(0, each): Column(180, 60, (1, 2, 3)) for each in range(3)}
    assert [slot.begin_s for slot in slots(1, minutes, 60, 120)] == [60]
    assert [slot.begin_s for slot in slots(1, minutes, 59, 121)] == [0, 60, 120]


def test_no_second_is_in_a_minute_too_where_the_oldest_begins_with_a_minute() -> None:
    async def main() -> None:
        followed = Followed()
        async with followed.following() as board:
            await followed.lose(board, 3020)
            await until(lambda: followed.found)
        (gap,) = followed.found
        assert gap.end_s % 60 == 0
        minutes = [slot for slot in gap.slots if slot.step_s == 60]
        seconds = [slot for slot in gap.slots if slot.step_s == 1]
        assert len(seconds) == 60
        assert minutes[-1].begin_s + 60 == seconds[0].begin_s == gap.end_s - 60

    run(main())


def test_what_the_board_did_not_measure_is_in_no_slot() -> None:
    async def main() -> None:
        followed = Followed()
        remember(followed.peer, BEGIN_S + 2000)
        async with followed.following() as board:
            await followed.lose(board, 3000)
            await until(lambda: followed.found)
        (gap,) = followed.found
        assert gap.slots[0].begin_s == 102_000

    run(main())


def test_two_losses_in_a_row_are_two_gaps_each_whole() -> None:
    async def main() -> None:
        followed = Followed()
        answer = followed.peer.answer[READ]

        def answer_none(arguments: list[Any]) -> tuple[int, Any]:
            followed.peer.answer[READ] = answer
            followed.transport.cut()
            followed.transport.refuse = boardwarden.PortMissing("It is gone.")
            pass_s(followed.peer, 600)
            return answer(arguments)

        followed.peer.answer[READ] = answer_none
        async with followed.following():
            followed.transport.cut()
            pass_s(followed.peer, 3000)
            await until(lambda: followed.transport.refuse, 30.0)
            await asyncio.sleep(20.0)  # longer than a request waits
            followed.transport.refuse = None
            await until(lambda: len(followed.found) == 2, 60.0)
        first, second = followed.found
        assert (first.begin_s, first.end_s) == (BEGIN_S, BEGIN_S + 3000)
        assert (second.begin_s, second.end_s) == (first.end_s, first.end_s + 600)
        for gap in followed.found:
            assert gap.why is None
            assert gap.slots[0].begin_s <= gap.begin_s
            end_s = gap.slots[-1].begin_s + gap.slots[-1].step_s
            assert end_s >= gap.end_s

    run(main())


def test_a_board_that_restarts_tells_nothing_of_the_boot_before() -> None:
    async def main() -> None:
        followed = Followed()
        peer = followed.peer

        def lose_and_restart() -> None:
            peer.mute = False
            followed.transport.to_board = lambda data: ()
            pass_s(peer, 100)
            peer.sample()
            asyncio.get_running_loop().call_later(0.5, restart)

        def restart() -> None:
            peer.restart()
            followed.transport.to_board = lambda data: (data,)

        def fail(arguments: list[Any]) -> tuple[int, Any]:
            peer.mute = True  # no reply goes out
            asyncio.get_running_loop().call_soon(lose_and_restart)
            remember(peer)
            return ids.OK, None

        async with followed.following() as board:
            followed.transport.cut()
            peer.restart()
            await until(lambda: board.status.board.boot_id == 2)
            peer.sample()
            await until(lambda: board.status.cpu.uptime_s == 1)
            peer.answer[READ] = fail
            followed.transport.cut()
            pass_s(peer, 600)
            await until(lambda: len(followed.found) == 2, 30.0)
        for gap in followed.found:
            assert (gap.boot_id, gap.slots) == (2, ())
            assert gap.why is not None
            assert "restarted" in gap.why

    run(main())


def test_the_rest_of_a_try_that_failed_is_not_asked_for() -> None:
    async def main() -> None:
        followed = Followed()
        answer = followed.peer.answer[READ]

        def refuse_minutes(arguments: list[Any]) -> tuple[int, Any]:
            return (ids.UNKNOWN_REQUEST, None) if arguments[0] else answer(arguments)

        followed.peer.answer[READ] = refuse_minutes
        async with followed.following() as board:
            await followed.lose(board, 600)
            await until(lambda: followed.found)
            await board.ping()  # after whatever else is sent
        assert followed.found[0].why
        # The seconds; the minutes under way; those whose turn came with these refusals.
        assert followed.reads() <= 4 + 2 * ids.MAX_PENDING

    run(main())


def test_of_a_boot_that_has_ended_nothing_is_asked() -> None:
    async def main() -> None:
        followed = Followed()
        async with connect(followed.transport) as board:
            gaps = board.gaps()
            first = asyncio.ensure_future(anext(gaps))
            await asyncio.sleep(0)  # it listens
            await followed.lose(board, 600)
            await first
            await followed.lose(board, 600)
            followed.transport.cut()
            followed.peer.restart()
            await until(lambda: board.status.board.boot_id == 2 and board.synced)
            reads = followed.reads()
            second = await anext(gaps)
            await gaps.aclose()
            assert (second.boot_id, second.slots) == (1, ())
            assert "restarted" in (second.why or "")
            assert followed.reads() == reads

    run(main())


def test_an_agent_without_a_history_is_the_reason_of_a_gap_without_figures() -> None:
    async def main() -> None:
        followed = Followed()
        del followed.peer.answer[READ]
        async with followed.following() as board:
            await followed.lose(board, 600)
            await until(lambda: followed.found)
        (gap,) = followed.found
        assert gap.slots == ()
        assert gap.why

    run(main())


def test_who_may_only_read_a_brokers_stream_learns_why_it_has_no_figures() -> None:
    async def main() -> None:
        peer = FakeStreamBoard()
        peer.deaf = True
        stream = FakeStream(peer)
        followed = Followed(peer)
        followed.transport = stream.transport()
        async with followed.following() as board:
            stream.set_online(False)
            await until(lambda: not board.connected)
            pass_s(peer, 3000)
            stream.set_online(True)
            await until(lambda: board.synced, 40.0)
            await until(lambda: followed.found, 40.0)
        (gap,) = followed.found
        assert (gap.begin_s, gap.end_s) == (BEGIN_S, BEGIN_S + 3000)
        assert gap.slots == ()
        assert gap.why is not None
        assert "not let this user write" in gap.why

    run(main())


def test_sleep_and_stopped_monitoring_and_a_late_sample_are_no_gaps() -> None:
    async def main() -> None:
        followed = Followed()
        peer = followed.peer
        async with followed.following() as board:
            peer.sleep()
            await until(lambda: board.asleep)
            peer.mute = False
            pass_s(peer, 600)
            peer.sample()
            peer.sample(interval_ms=0)
            pass_s(peer, 600)
            peer.sample(interval_ms=1000)
            pass_s(peer, 3)
            peer.sample()
            await until(lambda: board.status.cpu.uptime_s == peer.values["uptime_s"])
        assert not followed.found
        assert not followed.reads()

    run(main())


def test_a_gap_that_ends_before_it_begins_is_refused() -> None:
    async def main() -> None:
        async with connect(FakeTransport(FakeBoard())) as board:
            with pytest.raises(ValueError, match="end after"):
                await board.fetch_gap(5.0, 5.0)

    run(main())


def hello(boot_id: int) -> Message:
    return [ids.HELLO, 1, *(ids.PROTOCOL_MAJOR, ids.PROTOCOL_MINOR), 5, boot_id, [], [], b""]


def event(number: int) -> Message:
    return [ids.EVENT, 2, number, "link", 1, 0, None, "found", None]


def test_events_of_a_new_boot_wait_for_its_id() -> None:
    mirror = Mirror()

    mirror.on_message(hello(1))
    mirror.on_event(event(7), 0)
    mirror.on_restart()
    mirror.on_event(event(0), 0)
    assert mirror.events.recent == ()
    mirror.on_message(hello(2))
    assert [(each.boot_id, each.number) for each in mirror.events.recent] == [(2, 0)]
    assert [each.boot_id for each in mirror.events.since(0)] == [1, 2]


def test_a_boot_that_never_says_its_id_has_only_its_last_events_kept() -> None:
    mirror = Mirror()
    mirror.on_message(hello(1))
    mirror.on_restart()
    for number in range(MAX_EVENTS + 10):
        mirror.on_event(event(number), 0)
    assert len(mirror._early) == MAX_EVENTS
    mirror.on_message(hello(2))
    assert [each.number for each in mirror.events.recent] == [*range(10, MAX_EVENTS + 10)]
