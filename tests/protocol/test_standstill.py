"""The host's process stands still, as a laptop that sleeps: nobody else is blamed for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest
from fake_stream import FakeStreamBoard
from virtual_time import run, stand_still, until

import boardwarden
from boardwarden import Board, PortMissing, RequestTimeout, _clock, connect
from boardwarden._clock import attended_s, attention, unread_s
from boardwarden._protocol import shared_stream
from boardwarden._protocol.subscription import SILENCE_S
from boardwarden.doctor.link_health import measure
from boardwarden.policy import Policy
from boardwarden.policy_on_board import Health
from boardwarden.render.status import link_state
from boardwarden.rollout import BoardResult, Progress, Rollout, Wanted, _Watched
from boardwarden.serve.notify import Notifier
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids


@pytest.fixture(autouse=True)
def _virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the host's clocks be the event loop's."""
    for place, name in ((_clock, "passed_s"), (time, "monotonic")):
        monkeypatch.setattr(place, name, lambda: asyncio.get_running_loop().time())
    # Which the time of day is found from: a test that goes on for a minute would set it for others.
    monkeypatch.setattr(_clock, "_offset", time.time())
    monkeypatch.setattr(_clock, "_ahead_since", None)


@contextlib.asynccontextmanager
async def _followed(board: Board) -> AsyncIterator[list[bool]]:
    """Yield a list of what `connected` becomes."""
    seen: list[bool] = []

    async def follow() -> None:
        async for _ in board.changes():
            if board.connected != (seen or [True])[-1]:
                seen.append(board.connected)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    try:
        yield seen
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class _Stream(FakeTransport):
    """A stream that all hosts read, of a board that is always online."""

    online = True

    def watch(self, on_presence: object) -> None:
        """Its presence never changes."""

    def absence(self) -> None:
        """Nothing says that it is gone."""


def _sampling() -> FakeBoard:
    peer = FakeBoard()
    peer.interval_s = 1.0
    return peer


@pytest.mark.parametrize("stood_s", [1.0, 2.6, 4.0, 9.5, 30.0])
def test_a_board_is_not_lost_because_the_host_stood_still_and_its_state_comes_at_once(
    stood_s: float,
) -> None:
    async def main() -> None:
        peer = _sampling()
        async with connect(FakeTransport(peer)) as board, _followed(board) as seen:
            await asyncio.sleep(1.95)
            stand_still(stood_s)
            count = board.status.cpu.uptime_s or 0.0
            await until(lambda: board.synced and (board.status.cpu.uptime_s or 0.0) > count, 1.2)
            await asyncio.sleep(SILENCE_S + 1.0)
            assert seen == []
            assert board.synced

    run(main())


def test_what_lay_in_the_line_as_the_host_stood_still_ends_no_silence_later() -> None:
    """The board fell silent as its host did: nothing comes by itself after these frames."""

    async def main() -> None:
        peer = _sampling()
        async with connect(FakeTransport(peer)) as board, _followed(board) as seen:
            await asyncio.sleep(1.95)
            peer.sample()
            stand_still(5.0)
            count = peer.values["uptime_s"] or 0
            await until(lambda: (board.status.cpu.uptime_s or 0.0) > count, 1.2)
            await asyncio.sleep(SILENCE_S + 1.0)
            assert seen == []
            assert board.synced

    run(main())


@pytest.mark.parametrize(("stood_s", "sessions"), [(8.0, 1), (9.2, 2), (12.0, 2)])
def test_a_session_that_the_board_ended_as_the_host_stood_still_is_not_gone_on_with(
    stood_s: float, sessions: int
) -> None:
    """The board may have forgotten its replies: what is sent again would be done again."""

    async def main() -> None:
        peer = _sampling()
        async with connect(FakeTransport(peer)) as board:
            hosts = {peer.host_id}
            await asyncio.sleep(1.95)
            peer.sample()  # it lies there: the host has heard something, the board has not
            stand_still(stood_s)
            await asyncio.sleep(1.0)
            assert board.synced
            assert len(hosts | {peer.host_id}) == sessions

    run(main())


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize(
    ("stream", "silence_s"), [(False, SILENCE_S), (True, shared_stream.SILENCE_S)]
)
def test_a_board_that_is_gone_is_lost_soon_after_the_host_stood_still(
    stream: bool, silence_s: float, unread: bool
) -> None:
    """Its last frame lay there unread, or was read before."""

    async def main() -> None:
        peer = FakeStreamBoard() if stream else FakeBoard()
        peer.interval_s = 1.0
        async with connect((_Stream if stream else FakeTransport)(peer)) as board:
            await asyncio.sleep(1.95)
            if unread:
                peer.sample()
            peer.mute = True
            stand_still(30.0)
            passed_s = await until(lambda: not board.connected, silence_s + 0.1)
            assert passed_s > silence_s / 2

    run(main())


def test_a_host_that_is_always_late_finds_that_a_board_is_gone() -> None:
    async def main() -> None:
        peer = _sampling()
        async with connect(FakeTransport(peer)) as board:
            await asyncio.sleep(1.95)
            peer.mute = True
            for _ in range(20):
                await asyncio.sleep(0.2)
                stand_still(1.2)
            assert not board.connected

    run(main())


def test_a_stream_is_not_lost_because_the_host_stood_still() -> None:
    async def main() -> None:
        peer = FakeStreamBoard()
        peer.interval_s = 1.0
        async with connect(_Stream(peer)) as board, _followed(board) as seen:
            await asyncio.sleep(1.95)
            peer.mute = True
            stand_still(60.0)
            await asyncio.sleep(0.1)
            peer.mute = False
            await asyncio.sleep(10.0)
            assert seen == []

    run(main())


def test_a_request_gets_the_reply_that_came_while_the_host_stood_still() -> None:
    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            request = asyncio.create_task(board.allocate(boardwarden.ResourceType.MEMORY, 100))
            held: list[bytes] = []

            def hold(data: bytes) -> Iterable[bytes]:
                held.append(data)
                return ()

            transport.to_host = hold
            await until(lambda: peer.done)
            stand_still(6.0)
            transport.to_host = lambda data: (data,)
            asyncio.get_running_loop().call_later(0.1, transport._from_peer, b"".join(held))
            assert (await request).amount == 100
            assert len(peer.done) == 1

    run(main())


def test_a_request_that_nobody_answers_ends_though_the_host_stood_still() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.mute = True
            request = asyncio.create_task(board.ping())
            await asyncio.sleep(1.0)
            stand_still(6.0)
            with pytest.raises(RequestTimeout):
                await asyncio.wait_for(request, 5.0)

    run(main())


def test_a_host_that_stood_still_as_it_connected_goes_on() -> None:
    async def main() -> None:
        peer = FakeBoard()
        peer.mute = True
        connecting = asyncio.create_task(connect(FakeTransport(peer), timeout=2.0).__aenter__())
        await asyncio.sleep(0.1)
        peer.mute = False
        stand_still(10.0)
        board = await connecting
        assert board.synced
        await board.close()

    run(main())


def test_a_deadline_during_which_the_process_stood_still_is_put_off_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        late = asyncio.create_task(_clock.wait_until(asyncio.sleep(7.5, "done"), 5.0))
        never = asyncio.create_task(_clock.wait_until(asyncio.sleep(20.0), 5.0))
        await asyncio.sleep(1.0)
        stand_still(6.0)
        assert await late == "done"
        with pytest.raises(asyncio.TimeoutError):
            await never
        assert 8.9 < loop.time() < 9.1

    run(main())


def test_what_a_deadline_ends_has_cleaned_up_when_the_error_is_raised() -> None:
    async def main() -> None:
        ended = []

        async def work() -> None:
            try:
                await asyncio.sleep(20.0)
            finally:
                await asyncio.sleep(1.0)
                ended.append(True)

        with pytest.raises(asyncio.TimeoutError):
            await _clock.wait_until(work(), 5.0)
        assert ended

    run(main())


def test_a_deadline_that_was_over_before_is_not_put_off() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(5.0)
        with pytest.raises(asyncio.TimeoutError):
            await _clock.wait_until(asyncio.sleep(1.0), 2.0)
        assert loop.time() < 5.1

    run(main())


@pytest.mark.parametrize("comes", [False, True])
def test_a_request_whose_rows_come_late_or_never_ends_though_the_host_stood_still(
    comes: bool,
) -> None:
    """Other things change all the time."""

    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            lease = await board.allocate(boardwarden.ResourceType.MEMORY, 100)
            peer.answer[ids.RELEASE] = lambda arguments: (ids.OK, None)
            request = asyncio.create_task(board.release(lease.id))
            await asyncio.sleep(1.0)
            stand_still(6.0)
            for second in range(12):
                assert not request.done() or second > 2
                if comes and second == 2:
                    for place in list(peer.policy.tables[ids.LEASE]):
                        peer.policy.drop(ids.LEASE, place)
                peer.sample()
                await asyncio.sleep(1.0)
            assert request.done()
            assert (board.allocations == ()) is comes

    run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_samples_that_lay_unread_have_the_times_at_which_they_came(stream: bool) -> None:
    async def main() -> None:
        peer = FakeStreamBoard() if stream else FakeBoard()
        async with connect((_Stream if stream else FakeTransport)(peer)) as board:
            statuses = board.updates(every=True)
            reading = asyncio.create_task(anext(statuses))
            await asyncio.sleep(1.0)
            peer.sample()
            first = await reading
            stand_still(30.0)
            for _ in range(30):
                peer.sample()
            assert first.last_updated is not None
            for number in range(1, 31):
                status = await anext(statuses)
                assert status.last_updated is not None
                passed_s = (status.last_updated - first.last_updated).total_seconds()
                assert passed_s == pytest.approx(number, abs=0.1)
                assert status.age_s == pytest.approx(30 - number, abs=0.1)
            await asyncio.sleep(5.0)  # the board's clock stood still: that is not the host's matter
            peer.sample()
            status = await anext(statuses)
            assert status.last_updated is not None
            passed_s = (status.last_updated - first.last_updated).total_seconds()
            assert passed_s == pytest.approx(35.0, abs=0.1)
            await statuses.aclose()

    run(main())


def test_a_sample_after_a_standstill_is_no_older_than_that() -> None:
    """The board's own clock stood before it, too, or is slow."""

    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.sample()
            await asyncio.sleep(100.0)
            stand_still(4.0)
            peer.sample()
            await asyncio.sleep(0.01)
            assert board.status.age_s is not None
            assert 3.5 < board.status.age_s < 5.1

    run(main())


def test_a_sample_after_a_standstill_is_not_of_the_future_where_the_boards_clock_is_fast() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.sample()
            stand_still(4.0)
            peer.sample(uptime_s=(peer.values["uptime_s"] or 0) + 20)
            await asyncio.sleep(0.01)
            assert board.status.age_s is not None
            assert 0.0 <= board.status.age_s < 0.1

    run(main())


def test_nobody_looks_at_the_clock_once_no_board_is_open() -> None:
    async def main() -> None:
        async with connect(FakeTransport(FakeBoard())), connect(FakeTransport(FakeBoard())):
            pass
        assert attention()._timer is None

    run(main())


def test_the_clock_of_what_was_heard_goes_on_from_board_to_board_and_stands_between_them() -> None:
    async def main() -> None:
        looked_at = []
        for _ in range(3):
            async with connect(FakeTransport(_sampling())) as board, _followed(board) as seen:
                hosts = board._session.subscription.host_id
                looked_at.append(attended_s())
                await asyncio.sleep(3.2)
                looked_at.append(attended_s())
                assert seen == []
                assert board._session.subscription.host_id == hosts
            looked_at.append(attended_s())
            await asyncio.sleep(50.0)
            assert unread_s() == 0.0
        assert looked_at == sorted(looked_at)
        assert looked_at[-1] == pytest.approx(3 * 3.2, abs=0.5)

    run(main())


class _Notices(list[dict[str, Any]]):
    """Stands for the webhook."""

    def put(self, notice: dict[str, Any]) -> None:
        self.append(notice)


def test_no_notice_says_that_a_board_is_lost_because_nobody_listened_for_ten_seconds() -> None:
    async def main() -> None:
        peer, notices = _sampling(), _Notices()
        async with connect(FakeTransport(peer)) as board:
            following = asyncio.create_task(Notifier(cast(Any, notices)).follow("fake", board))
            await asyncio.sleep(1.95)
            peer.mute = True
            await asyncio.sleep(5.0)
            stand_still(60.0)
            await asyncio.sleep(1.0)
            peer.mute = False
            await asyncio.sleep(20.0)
            assert board.connected
            assert notices == []
            peer.mute = True
            await asyncio.sleep(5.0)
            stand_still(60.0)
            assert await until(lambda: notices, 9.0) > 6.0
            assert [each["kind"] for each in notices] == ["lost"]
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    run(main())


def test_a_roll_out_watches_a_board_as_long_as_is_wanted_though_the_host_stood_still() -> None:
    async def main() -> None:
        transport = FakeTransport(_sampling())
        async with connect(transport) as board:
            rollout = Rollout(Wanted(Policy(), watch_s=20.0), Progress(), None)
            watched = [_Watched(BoardResult("fake", "fake"), Health(board, 20.0))]
            watching = asyncio.create_task(rollout._watch(watched))
            begin = asyncio.get_running_loop().time()
            await asyncio.sleep(5.0)
            stand_still(60.0)
            transport.cut()  # as brokers do, which hear nothing of this host
            assert await watching is None
            assert asyncio.get_running_loop().time() - begin > 78.0

    run(main())


def test_a_board_does_not_get_worse_in_a_roll_out_by_a_silence_in_which_the_host_stood_still() -> (
    None
):
    async def main() -> None:
        peer = _sampling()
        async with connect(FakeTransport(peer)) as board:
            rollout = Rollout(Wanted(Policy(), watch_s=20.0), Progress(), None)
            watched = [_Watched(BoardResult("fake", "fake"), Health(board, 20.0))]
            watching = asyncio.create_task(rollout._watch(watched))
            await asyncio.sleep(1.95)
            peer.mute = True
            await asyncio.sleep(5.0)
            assert not board.connected
            stand_still(60.0)
            await asyncio.sleep(1.0)
            peer.mute = False
            assert await watching is None

    run(main())


def test_a_link_that_ended_while_the_host_stood_still_is_not_blamed_on_the_board() -> None:
    """A board closes the connection of a host of which it hears nothing."""

    async def main() -> None:
        transport = FakeTransport(_sampling(), "tcp://192.0.2.7:8765")
        async with connect(transport) as board:
            await asyncio.sleep(1.95)
            stand_still(30.0)
            transport.cut()
            transport.refuse = PortMissing("It is off.", transport.address)
            await until(lambda: not board.connected, 0.2)
            assert "stood still for 30 s" in link_state(board)
            await asyncio.sleep(1.5)
            assert "look at the board's power" in link_state(board)

    run(main())


def test_a_host_that_stands_still_is_no_slow_link() -> None:
    """It does so for 8 s before every tenth piece of what the board sends is read."""

    async def main() -> None:
        transport = FakeTransport(_sampling())
        async with connect(transport) as board:
            begin = asyncio.get_running_loop().time()
            pieces = itertools.count(1)

            def late(data: bytes) -> Iterable[bytes]:
                if not next(pieces) % 10:
                    stand_still(8.0)
                return (data,)

            transport.to_host = late
            found = await measure(board, 10.0)
            passed_s = asyncio.get_running_loop().time() - begin
            assert passed_s > 50.0
            assert found.latency_worst_s is not None
            assert found.latency_worst_s < 0.1
            assert found.late == 0
            assert found.measured_s < 12.0
            assert found.requests > 5

    run(main())
