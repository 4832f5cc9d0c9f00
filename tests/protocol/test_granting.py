"""Asking a board for leases, operations and limits, over a session with the fake board."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from virtual_time import run, until

import boardwarden
from boardwarden import (
    Action,
    Board,
    OperationState,
    Priority,
    ResourceType,
    connect,
    policy_file,
    policy_on_board,
)
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

MEMORY = ResourceType.MEMORY


def with_board(test: Callable[[Board, FakeBoard], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of what is to happen between a board and its fake."""

    def wrapped() -> None:
        async def main() -> None:
            peer = FakeBoard()
            async with connect(FakeTransport(peer)) as board:
                await test(board, peer)

        run(main())

    wrapped.__name__ = test.__name__  # type: ignore[attr-defined]
    return wrapped


def transport_of(board: Board) -> FakeTransport:
    """Return the transport, which tests may damage."""
    transport = board._session.link._transport
    assert isinstance(transport, FakeTransport)
    return transport


def drop_all(data: bytes) -> Iterable[bytes]:
    """Damage: a link that carries nothing."""
    return ()


def whole(data: bytes) -> Iterable[bytes]:
    """Damage: none."""
    return (data,)


# --- leases -------------------------------------------------------------------------------------


@with_board
async def test_a_lease_is_granted_mirrored_and_released(board: Board, peer: FakeBoard) -> None:
    lease = await board.allocate(MEMORY, 8192, owner="ota", priority=Priority.HIGH, ttl=30.0)
    assert peer.done == [(ids.ALLOCATE, [0, 8192, "ota", 2, 30_000, None])]
    assert board.allocations == (lease,)
    assert (lease.amount, lease.owner, lease.priority) == (8192, "ota", Priority.HIGH)
    assert lease.remaining_s == pytest.approx(30, abs=1)
    assert board.sessions[0].id == lease.session
    await board.release(lease.id)
    assert board.allocations == ()
    with pytest.raises(boardwarden.NotFound):
        await board.release(lease.id)


@with_board
async def test_allocate_returns_a_lease_before_its_row_arrives(
    board: Board, peer: FakeBoard
) -> None:
    peer.answer[ids.ALLOCATE] = lambda asked: (ids.OK, 77)
    lease = await board.allocate(ResourceType.CPU_TIME, 0.25, "x" * 30, Priority.LOW, None)
    assert board.allocations == ()
    assert (lease.id, lease.amount, lease.owner) == (77, 0.25, "x" * 24)
    assert (lease.resource, lease.priority) == (ResourceType.CPU_TIME, Priority.LOW)
    assert lease.remaining_s == pytest.approx(60, abs=1)
    assert lease.granted_s == 10.0


@pytest.mark.parametrize("end", ["restart", "close"])
def test_a_row_that_cannot_come_any_more_is_not_waited_for(end: str) -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.answer[ids.ALLOCATE] = lambda args: (ids.OK, 77)
            asking = asyncio.create_task(board.allocate(MEMORY, 100))
            await asyncio.sleep(0.5)
            assert not asking.done()
            if end == "restart":
                host_id = peer.host_id
                peer.restart()
                peer._subscribe(ids.PROTOCOL_MAJOR, host_id)  # else the silence is waited for first
            else:
                await board.close()
            await asyncio.sleep(0.1)
            assert asking.done()
            assert (await asking).id == 77

    run(main())


@with_board
async def test_a_denial_has_all_fields_of_the_boards_reply(board: Board, peer: FakeBoard) -> None:
    first = await board.allocate(MEMORY, 60_000)
    with pytest.raises(boardwarden.Denied) as caught:
        await board.allocate(MEMORY, 60_000)
    error = caught.value
    assert (error.reason, error.available, error.retry_after_s) == ("memory", 40_000, 2.0)
    assert error.blockers == (first.id,)
    assert isinstance(error, boardwarden.RequestRefused)
    await until(lambda: board.recent_events)
    assert board.recent_events[0].kind == "denied"


@with_board
async def test_invalid_arguments_send_nothing(board: Board, peer: FakeBoard) -> None:
    for asking in (
        board.allocate(MEMORY, 0),
        board.release(0),
        board.begin(""),
        board.complete(-1),
        board.cancel(True),
        board.can_execute(9),  # type: ignore[arg-type]
        board.set_limits(max_operations=9),
        board.set_threshold("memory", warn=75),
    ):
        with pytest.raises(ValueError, match=r".{20}"):
            await asking
    assert peer.done == []


@with_board
async def test_a_malformed_reply_raises_request_error(board: Board, peer: FakeBoard) -> None:
    for value in (None, "7", [7]):
        peer.answer[ids.ALLOCATE] = lambda asked, value=value: (ids.OK, value)
        with pytest.raises(boardwarden.RequestError, match="not understood"):
            await board.allocate(MEMORY, 1)
    for value in (None, 7, [7], ["7", 1]):
        peer.answer[ids.BEGIN] = lambda asked, value=value: (ids.OK, value)
        with pytest.raises(boardwarden.RequestError, match="not understood"):
            await board.begin("x")
    for value in (None, 7, ["4"]):
        peer.answer[ids.SET_LIMITS] = lambda asked, value=value: (ids.OK, value)
        with pytest.raises(boardwarden.RequestError, match="not understood"):
            await board.set_limits()


_OTHER_TYPES: tuple[tuple[int, Callable[[Board], Awaitable[Any]], tuple[Any, ...]], ...] = (
    (ids.KEEP, lambda board: board.stored_policy(), (None, 1, [], [[1]], ["1"], [True, 0])),
    (ids.SET_LIMITS, lambda board: board.set_limits(), ([True] * 4, [[1]] * 4)),
    (ids.CAN_EXECUTE, lambda board: board.can_execute(), (None, 1, "x", [])),
    (ids.SAFE_MODE, lambda board: board.safe_mode(), (None, 0, "", [2**53])),
    (
        *(ids.QUOTA, lambda board: board.policy()),
        (1, [], [None] * 5, [1] * 5, ["x", "1", 1, 1, 1], ["x", 1, 1, 1, []], ["x", 1, 1, 1]),
    ),
)


@with_board
async def test_a_reply_with_values_of_another_type_raises_request_error(
    board: Board, peer: FakeBoard
) -> None:
    for operation, request_it, values in _OTHER_TYPES:
        usual = peer.answer.get(operation)
        for value in values:
            peer.answer[operation] = lambda asked, value=value: (ids.OK, value)
            with pytest.raises(boardwarden.RequestError, match="not understood"):
                await request_it(board)
        peer.answer[operation] = usual or peer.answer[ids.PING]


@with_board
async def test_a_lease_is_released_however_its_block_ends(board: Board, peer: FakeBoard) -> None:
    async with board.lease(MEMORY, 10) as lease:
        assert board.allocations == (lease,)
    assert board.allocations == ()
    with pytest.raises(KeyError, match="the user's"):
        async with board.lease(MEMORY, 10):
            raise KeyError("the user's")
    assert board.allocations == ()
    async with board.lease(MEMORY, 10) as lease:
        await board.release(lease.id)  # it may have ended before


@with_board
async def test_an_error_of_release_does_not_replace_the_blocks_exception(
    board: Board, peer: FakeBoard
) -> None:
    async def fail_inside(manager: Any) -> None:
        async with manager:
            transport_of(board).to_board = drop_all
            raise KeyError("the user's")

    for manager in (board.lease(MEMORY, 10), board.operation("x")):
        with pytest.raises(KeyError, match="the user's"):
            await fail_inside(manager)
        transport_of(board).to_board = whole


@with_board
async def test_a_cancelled_allocate_releases_what_was_granted(
    board: Board, peer: FakeBoard
) -> None:
    for ask in (board.allocate(MEMORY, 10), board.begin("x")):
        transport_of(board).to_host = drop_all
        asking = asyncio.create_task(ask)  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        assert peer.policy.tables[ids.LEASE] or peer.policy.tables[ids.OPERATION]
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        transport_of(board).to_host = whole
        await until(lambda: not peer.policy.tables[ids.LEASE], 2)
        await until(lambda: not peer.policy.tables[ids.OPERATION], 2)


def test_cancelling_an_allocate_and_closing_at_once_leaves_no_error_that_nobody_sees() -> None:
    async def main() -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        transport = FakeTransport(FakeBoard())

        async def command() -> None:
            async with connect(transport) as board:
                transport.to_host = drop_all
                await board.allocate(MEMORY, 10)

        running = asyncio.create_task(command())
        await asyncio.sleep(1.0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        await asyncio.sleep(0.1)
        gc.collect()
        assert not errors

    run(main())


@with_board
async def test_closing_during_a_release_leaves_no_lease(board: Board, peer: FakeBoard) -> None:
    transport_of(board).to_host = drop_all
    asking = asyncio.create_task(board.allocate(MEMORY, 10))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])
    await board.close()
    assert not peer.policy.tables[ids.LEASE]  # the goodbye ended its session


@with_board
async def test_all_leases_and_operations_of_a_host_end_with_its_connection(
    board: Board, peer: FakeBoard
) -> None:
    await board.allocate(MEMORY, 10)
    await board.begin("x")
    await board.close()
    assert not any(peer.policy.tables.values())


@with_board
async def test_a_block_that_is_cancelled_as_it_ends_leaves_nothing(
    board: Board, peer: FakeBoard
) -> None:
    async def hold(block: Any, for_s: float) -> None:
        async with block:
            await asyncio.sleep(for_s)

    for for_s in (0.1, 9.0):  # it ends by itself, or by the first cancellation
        for block in (board.lease(MEMORY, 10), board.operation("x")):
            holding = asyncio.create_task(hold(block, for_s))
            await asyncio.sleep(0.05)
            transport_of(board).to_board = drop_all
            if for_s > 1:
                holding.cancel()
            await asyncio.sleep(0.1)
            holding.cancel()
            await asyncio.wait([holding], timeout=0.1)
            assert holding.cancelled()
            transport_of(board).to_board = whole
            await until(lambda: not peer.policy.tables[ids.LEASE], 2)
            await until(lambda: not peer.policy.tables[ids.OPERATION], 2)


# --- operations ---------------------------------------------------------------------------------


@with_board
async def test_an_operation_begins_and_completes(board: Board, peer: FakeBoard) -> None:
    begun = await board.begin("flash", Priority.HIGH, timeout=30.0, memory=4096)
    assert peer.done == [(ids.BEGIN, ["flash", 2, 30_000, 4096, 0])]
    assert board.operations == (begun,)
    assert (begun.state, begun.memory_bytes) == (OperationState.ACTIVE, 4096)
    assert begun.remaining_s == pytest.approx(30, abs=1)
    await board.complete(begun.id)
    assert board.operations == ()
    with pytest.raises(boardwarden.NotFound):
        await board.complete(begun.id)


@with_board
async def test_begin_returns_an_operation_before_its_row_arrives(
    board: Board, peer: FakeBoard
) -> None:
    peer.answer[ids.BEGIN] = lambda asked: (ids.OK, [7, 1])
    begun = await board.begin("x" * 30, Priority.LOW, memory=5)
    assert (begun.id, begun.name, begun.state) == (7, "x" * 24, OperationState.ACTIVE)
    assert (begun.priority, begun.memory_bytes, begun.remaining_s) == (Priority.LOW, 5, None)


async def _full(board: Board) -> list[int]:
    await board.set_limits(max_operations=1)
    return [(await board.begin("first")).id]


def _move(peer: FakeBoard, name: str, state: int) -> None:
    """Have an operation of the fake in another state."""
    for place, row in peer.policy.tables[ids.OPERATION].items():
        if row[1] == name:
            peer.policy.put(ids.OPERATION, place, [*row[:3], state, *row[4:]])
            return


@with_board
async def test_begin_waits_until_a_slot_is_free(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    beginning = asyncio.create_task(board.begin("second", wait=20.0))
    await asyncio.sleep(10)
    assert not beginning.done()
    assert board.operations[1].state is OperationState.WAITING
    _move(peer, "second", OperationState.ADMITTING)
    await asyncio.sleep(0.5)
    assert not beginning.done()
    _move(peer, "second", OperationState.ACTIVE)
    begun = await beginning
    assert (begun.name, begun.state) == ("second", OperationState.ACTIVE)


@with_board
async def test_begin_is_denied_when_its_wait_times_out(board: Board, peer: FakeBoard) -> None:
    blockers = await _full(board)
    with pytest.raises(boardwarden.Denied):
        await board.begin("second")
    beginning = asyncio.create_task(board.begin("second", wait=1.0))
    await asyncio.sleep(1)
    peer.policy.drop(ids.OPERATION, 1)
    with pytest.raises(boardwarden.Denied) as caught:
        await beginning
    assert (caught.value.reason, caught.value.blockers) == ("operations", tuple(blockers))
    assert caught.value.retry_after_s == pytest.approx(300, abs=5)


@with_board
async def test_a_lost_row_does_not_end_the_wait(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    seen = 0

    def lose_the_row(data: bytes) -> Iterable[bytes]:
        nonlocal seen
        from boardwarden._protocol.link import Deframer

        kind = Deframer().feed(data)[0][1]
        if kind in (ids.OPERATION, ids.ROWS) and seen < 2:
            seen += 1
            return ()
        return (data,)

    transport_of(board).to_host = lose_the_row
    beginning = asyncio.create_task(board.begin("second", wait=20.0))
    await asyncio.sleep(3)
    assert seen
    assert not beginning.done()
    _move(peer, "second", OperationState.ACTIVE)
    assert (await beginning).name == "second"


@with_board
async def test_a_row_that_comes_seconds_after_the_reply_does_not_end_the_wait(
    board: Board, peer: FakeBoard
) -> None:
    await _full(board)
    send = peer.policy._send

    def held(kind: int, *fields: Any) -> None:
        if kind != ids.OPERATION:
            send(kind, *fields)

    peer.policy._send = held
    beginning = asyncio.create_task(board.begin("second", wait=2.0))
    await asyncio.sleep(4)
    peer.policy._send = send
    assert not beginning.done()
    _move(peer, "second", OperationState.ACTIVE)
    assert (await beginning).name == "second"
    peer.policy._send = held
    beginning = asyncio.create_task(board.begin("third", wait=1.0))
    await asyncio.sleep(2)
    peer.policy.drop(ids.OPERATION, 2)  # its wait is over
    with pytest.raises(boardwarden.Denied):
        await beginning


@with_board
async def test_the_wait_begins_when_the_board_has_the_request(
    board: Board, peer: FakeBoard
) -> None:
    await _full(board)
    transport_of(board).to_board = drop_all
    beginning = asyncio.create_task(board.begin("second", wait=1.0))
    await asyncio.sleep(2.5)
    transport_of(board).to_board = whole
    await until(lambda: len(peer.policy.tables[ids.OPERATION]) > 1, 1)
    await asyncio.sleep(4)  # at most 1 as it waits, 2 for another to end, 3 until its row comes
    assert not beginning.done()
    _move(peer, "second", OperationState.ACTIVE)
    assert (await beginning).name == "second"


@with_board
async def test_a_restart_ends_a_wait_with_an_error(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    beginning = asyncio.create_task(board.begin("second", wait=20.0))
    await asyncio.sleep(1)
    peer.restart()
    with pytest.raises(boardwarden.BoardRestarted):
        await beginning


@with_board
async def test_closing_ends_a_wait_with_an_error(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    beginning = asyncio.create_task(board.begin("second", wait=20.0))
    await asyncio.sleep(1)
    await board.close()
    with pytest.raises(boardwarden.LinkLost):
        await beginning


@with_board
async def test_a_wait_without_an_answer_times_out(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(boardwarden.RequestTimeout):
        await board.begin("second", wait=1.0)
    assert loop.time() - began < 9
    await until(lambda: len(peer.policy.tables[ids.OPERATION]) == 1, 1)


@with_board
async def test_a_cancelled_begin_stops_waiting_on_the_board(board: Board, peer: FakeBoard) -> None:
    await _full(board)
    beginning = asyncio.create_task(board.begin("second", wait=20.0))
    await asyncio.sleep(1)
    beginning.cancel()
    await asyncio.wait([beginning])
    await until(lambda: len(peer.policy.tables[ids.OPERATION]) == 1, 1)


@with_board
async def test_an_operation_completes_at_the_end_of_its_block(
    board: Board, peer: FakeBoard
) -> None:
    async with board.operation("upload", timeout=5.0) as begun:
        assert board.operations == (begun,)
    assert board.operations == ()
    with pytest.raises(KeyError):
        async with board.operation("upload"):
            raise KeyError("the user's")
    assert board.operations == ()
    async with board.operation("upload"):
        peer.restart()  # what is to be completed is gone
        await until(lambda: board.status.board.boot_id == 2)


@with_board
async def test_can_execute_and_cancel_ask_the_board(board: Board, peer: FakeBoard) -> None:
    assert await board.can_execute(Priority.LOW)
    await _full(board)
    assert not await board.can_execute(Priority.NORMAL)
    assert await board.can_execute(Priority.CRITICAL)
    await board.cancel(board.operations[0].id)
    assert board.operations[0].state is OperationState.STOPPING
    assert board.operations[0].why == "preempted"
    with pytest.raises(boardwarden.NotFound):
        await board.cancel(99)


# --- rules --------------------------------------------------------------------------------------


@with_board
async def test_limits_are_set_returned_and_mirrored(board: Board, peer: FakeBoard) -> None:
    assert board.limits.max_operations is None
    limits = await board.set_limits(max_operations=2, memory_reserve=0.2)
    assert peer.done == [(ids.SET_LIMITS, [2, None, 200, None])]
    assert limits.to_dict() == {
        "max_operations": 2,
        "operation_timeout_s": 300.0,
        "memory_reserve": 0.2,
        "overrun_s": 5.0,
    }
    assert board.limits == limits


@with_board
async def test_thresholds_are_set_and_removed(board: Board, peer: FakeBoard) -> None:
    await board.set_threshold("memory", 0.75, 0.9, 0.65, hold=1.0, action=Action.PROTECT)
    assert peer.done == [(ids.SET_THRESHOLD, [0, 750, 900, 650, 1000, 1])]
    await until(lambda: board.thresholds)
    found = board.thresholds[0]
    assert (found.metric, found.warn, found.action) == ("memory", 0.75, Action.PROTECT)
    await board.set_threshold("memory")
    await until(lambda: not board.thresholds)


METER = [1, "uploader", 0, 1, 300, 25, 90, None]


@with_board
async def test_meters_are_requested_while_somebody_watches(board: Board, peer: FakeBoard) -> None:
    async with board.metering():
        async with board.metering():
            peer.policy.put(ids.METER, 0, METER)
            await until(lambda: board.meters)
        assert board.meters[0].cpu == 0.3
        await asyncio.sleep(9)
        assert peer.policy.metered == [6000] * 6
    assert board.meters == ()
    assert peer.policy.metered == [6000] * 6 + [0]
    await asyncio.sleep(9)
    assert len(peer.policy.metered) == 7


@with_board
async def test_meters_come_back_after_a_restart(board: Board, peer: FakeBoard) -> None:
    async with board.metering():
        peer.restart()
        await until(lambda: peer.policy.metered, 8)


@with_board
async def test_metering_of_a_silent_board_times_out(board: Board, peer: FakeBoard) -> None:
    loop = asyncio.get_running_loop()
    async with board.metering():
        peer.mute = True
        await asyncio.sleep(9)
        began = loop.time()
    assert loop.time() - began < 6
    with pytest.raises(boardwarden.RequestTimeout):
        async with board.metering():
            pytest.fail("it does not answer")


@with_board
async def test_metering_that_is_cancelled_as_it_ends_leaves_no_meters(
    board: Board, peer: FakeBoard
) -> None:
    over = asyncio.Event()

    async def meter() -> None:
        async with board.metering():
            await over.wait()

    metering = asyncio.create_task(meter())
    await until(lambda: peer.policy.metered)
    peer.policy.put(ids.METER, 0, METER)
    await until(lambda: board.meters)
    peer.mute = True
    over.set()
    await asyncio.sleep(0.1)
    metering.cancel()
    await asyncio.wait([metering])
    assert metering.cancelled()
    assert board.meters == ()


@with_board
async def test_metering_of_an_old_agent_is_refused(board: Board, peer: FakeBoard) -> None:
    del peer.answer[ids.TELL_METERS]
    with pytest.raises(boardwarden.RequestRefused, match="newer agent"):
        async with board.metering():
            pytest.fail("it cannot")


@with_board
async def test_closing_ends_the_watching_of_meters(board: Board, peer: FakeBoard) -> None:
    metering = board.metering()
    await metering.__aenter__()
    await board.close()
    await metering.__aexit__(None, None, None)


# --- the host's session -------------------------------------------------------------------------


@with_board
async def test_a_host_that_comes_back_in_time_finds_its_leases(
    board: Board, peer: FakeBoard
) -> None:
    lease = await board.allocate(MEMORY, 10)
    transport = transport_of(board)
    transport.refuse = boardwarden.PortMissing("Plug it in.", "fake")
    transport.cut()
    await asyncio.sleep(6.0)
    assert not board.connected
    transport.refuse = None
    await until(lambda: board.connected, 5)
    assert [each.id for each in board.allocations] == [lease.id]
    await board.release(lease.id)


@with_board
async def test_a_host_that_comes_back_too_late_finds_them_gone(
    board: Board, peer: FakeBoard
) -> None:
    await board.allocate(MEMORY, 10)
    peer.mute = True  # it neither hears nor says anything: a broken cable
    await asyncio.sleep(11)
    peer.mute = False
    await until(lambda: board.connected and not board.allocations, 3)


def test_requests_happen_once_when_replies_are_lost() -> None:
    """Each lease, operation and limit: granted, and exactly once (invariant 5)."""

    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        lost: dict[Any, int] = {}

        def lose_each_twice(data: bytes) -> Iterable[bytes]:
            from boardwarden._protocol.link import Deframer

            payload = Deframer().feed(data)[0]
            if payload[1] == ids.REPLY and lost.setdefault(len(peer.done), 0) < 2:
                lost[len(peer.done)] += 1
                return ()
            return (data,)

        async with connect(transport) as board:
            transport.to_host = lose_each_twice
            lease = await board.allocate(MEMORY, 10)
            begun = await board.begin("x")
            await board.set_limits(max_operations=3)
            await board.release(lease.id)
            await board.complete(begun.id)
            assert [operation for operation, _ in peer.done] == [4, 6, 9, 5, 7]
            assert set(lost.values()) == {2}

    run(main())


# --- a whole policy -----------------------------------------------------------------------------

_POLICY = policy_file.loads("""
[limits]
max_operations = 2
[[threshold]]
metric = "cpu"
warn = "75 %"
[session.upload]
operations = 2
""")


@pytest.mark.parametrize("whole", [True, False])
def test_a_policy_of_which_a_restart_loses_a_part_is_not_stored(whole: bool) -> None:
    peer = FakeBoard()

    def restart_after_the_reply(asked: list[Any]) -> tuple[int, Any]:
        asyncio.get_running_loop().call_soon(peer.restart)  # and before the row could go
        return ids.OK, None

    peer.answer[ids.SET_THRESHOLD] = restart_after_the_reply

    async def main() -> None:
        async with connect(FakeTransport(peer)) as board:
            if whole:
                with pytest.raises(boardwarden.BoardRestarted):
                    await board.apply_policy(_POLICY)
                return
            before = await policy_on_board.read(board)
            problem = await policy_on_board.send_and_store(board, before, _POLICY, insist=False)
            assert problem is not None
            assert (problem.lost, problem.unchanged) == (True, False)
            assert problem.sentence.startswith("The board restarted meanwhile")

    run(main())
    assert peer.policy.stored == 0
    assert ids.SET_QUOTA not in [operation for operation, _ in peer.done]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("at", [ids.SET_THRESHOLD, ids.SET_QUOTA])
def test_a_restart_that_is_known_as_a_reply_comes_ends_the_change(at: int, whole: bool) -> None:
    peer = FakeBoard()

    async def main() -> None:
        async with connect(FakeTransport(peer)) as board:
            _restart_after(peer, at)
            if whole:
                with pytest.raises(boardwarden.BoardRestarted):
                    await board.apply_policy(_POLICY)
                return
            before = await policy_on_board.read(board)
            problem = await policy_on_board.send(board, before.steps(_POLICY), before)
            assert problem is not None
            assert (problem.lost, problem.unchanged) == (True, False)
            assert problem.sentence.startswith("The board restarted meanwhile")

    run(main())
    done = [operation for operation, _ in peer.done]
    assert done.count(at) == 1
    assert (peer.policy.stored, ids.SET_QUOTA in done) == (0, at == ids.SET_QUOTA)


def _restart_after(peer: FakeBoard, operation: int) -> None:
    """Have the board restart after its reply, and another host have it send its state at once."""
    usual = peer.answer.get(operation, lambda asked: (ids.OK, None))
    host_id = peer.host_id

    def restart() -> None:
        peer.restart()
        peer._subscribe(1, host_id)

    def restart_after_the_reply(asked: list[Any]) -> tuple[int, Any]:
        peer.answer[operation] = usual
        asyncio.get_running_loop().call_soon(restart)
        return usual(asked)

    peer.answer[operation] = restart_after_the_reply


@with_board
async def test_a_board_that_restarts_while_its_policy_is_read_is_given_none(
    board: Board, peer: FakeBoard
) -> None:
    await board.apply_policy(_POLICY, save=False)
    _restart_after(peer, ids.QUOTA)
    del peer.done[:]
    with pytest.raises(boardwarden.BoardRestarted):
        await board.apply_policy(_POLICY)  # as far as it was read, there is nothing to change
    assert ids.KEEP not in [operation for operation, _ in peer.done]


@with_board
async def test_a_policy_is_stored_only_by_the_boot_to_which_it_was_sent(
    board: Board, peer: FakeBoard
) -> None:
    before = await policy_on_board.read(board)
    host_id = peer.host_id
    peer.restart()
    peer._subscribe(1, host_id)
    await board.wait_sample()
    with pytest.raises(boardwarden.BoardRestarted):
        await policy_on_board.store(board, before)
    assert peer.policy.stored == 0
    _restart_after(peer, ids.KEEP)
    with pytest.raises(boardwarden.BoardRestarted):
        await policy_on_board.read(board)
    now = await policy_on_board.read(board)
    _restart_after(peer, ids.KEEP)
    with pytest.raises(boardwarden.BoardRestarted):
        await policy_on_board.store(board, now)
    _restart_after(peer, ids.KEEP)
    with pytest.raises(boardwarden.BoardRestarted):
        await board.apply_policy(_POLICY)
