"""Hosts that read one stream of a board, as over MQTT: docs/wire.md, "Over MQTT"."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import campaign
import msgpack
import pytest
from fake_stream import FakeShared, FakeStream, FakeStreamBoard
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mirror import equals
from virtual_time import run, until

from boardwarden import (
    Board,
    BoardOffline,
    BoardRestarted,
    KeyRefused,
    NoAgent,
    RequestTimeout,
    ResourceType,
    VersionMismatch,
    connect,
    keys,
)
from boardwarden._protocol.link import Deframer, frame
from boardwarden.doctor.link_health import Counters
from warden_schema import ids


def stream(seed: int = 0) -> tuple[FakeStreamBoard, FakeStream]:
    """Return a board that samples each second, and what its hosts read."""
    board = FakeStreamBoard()
    board.interval_s = 1.0
    return board, FakeStream(board, seed)


def sent_by(transport: FakeShared) -> list[bytes]:
    """Return a list that gets what a host sends."""
    sent: list[bytes] = []
    inner = transport.to_board

    def to_board(data: bytes) -> list[bytes]:
        sent.append(data)
        return list(inner(data))

    transport.to_board = to_board
    return sent


def test_a_host_joins_by_the_whole_state_that_another_host_requested() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as first:
            silent = shared.transport()
            silent.to_board = lambda data: ()
            joining = asyncio.create_task(_until_closed(silent, done := asyncio.Event()))
            await asyncio.sleep(1.0)
            peer.begin_full_state(host_id=7)
            await asyncio.sleep(0.2)
            assert equals(first, peer)
            done.set()
            assert equals(await joining, peer)

    run(main())


async def _until_closed(transport: FakeShared, done: asyncio.Event) -> Board:
    async with connect(transport) as board:
        await asyncio.wait_for(done.wait(), 1.0)
    return board


def test_a_host_that_may_only_read_is_whole_after_30_s_and_its_requests_say_why_not() -> None:
    async def main() -> None:
        peer, shared = stream()
        peer.deaf = True
        shared.board.step(0.0)  # the first whole state is over before anybody listens
        begin = asyncio.get_running_loop().time()
        async with connect(shared.transport()) as board:
            took = asyncio.get_running_loop().time() - begin
            assert 5 < took <= 31
            assert equals(board, peer)
            with pytest.raises(RequestTimeout, match="broker may not let this user write"):
                await board.can_execute(2)
            assert peer.done == []

    run(main())


def test_a_request_of_a_host_that_joined_by_anothers_state_asks_whether_the_board_hears_it() -> (
    None
):
    async def main() -> None:
        peer, shared = stream()
        peer.interval_s = 0.0  # nothing else wakes the host
        transport = shared.transport()
        transport.to_board = lambda data: ()
        joining = asyncio.create_task(_ping_when(transport, joined := asyncio.Event()))
        await asyncio.sleep(1.0)
        peer.begin_full_state(host_id=7)
        await asyncio.sleep(3.0)
        assert not peer.done
        transport.to_board = lambda data: (data,)
        peer.frames_per_step = 1
        peer.rows *= 20  # the full state takes two seconds
        joined.set()
        assert await joining < 1.0  # the SUBSCRIBE, and a HELLO, before the request

    run(main())


def test_a_request_that_waits_to_be_sent_is_told_that_the_board_demands_a_key() -> None:
    async def main() -> None:
        peer, shared = stream()
        transport = shared.transport()

        def refuse(data: bytes) -> tuple[bytes, ...]:
            host_id = msgpack.unpackb(Deframer().feed(data)[0])[3]  # of a SUBSCRIBE
            peer._send(ids.KEY_REFUSED, ids.NEEDED, host_id)
            return ()

        transport.to_board = lambda data: ()
        joining = asyncio.create_task(_ping_when(transport, joined := asyncio.Event()))
        await asyncio.sleep(1.0)
        peer.begin_full_state(host_id=7)
        await asyncio.sleep(3.0)
        transport.to_board = refuse
        joined.set()
        with pytest.raises(KeyRefused, match="demands a key"):
            await joining

    run(main())


async def _ping_when(transport: FakeShared, joined: asyncio.Event) -> float:
    """Return how long a request takes of a host that never had an answer before."""
    async with connect(transport) as board:
        await joined.wait()
        begin = asyncio.get_running_loop().time()
        await board.ping()
        return asyncio.get_running_loop().time() - begin


@pytest.mark.parametrize("has_key", [False, True])
def test_a_board_that_only_said_once_that_it_is_online_is_given_up_after_12_s(
    has_key: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        peer, shared = stream()
        peer.mute = True
        begin = asyncio.get_running_loop().time()
        with pytest.raises(NoAgent, match=r"Nothing came from .* within 12 s, though it said"):
            async with connect(shared.transport(), key=file if has_key else None):
                pass
        assert asyncio.get_running_loop().time() - begin <= 12.1

    file = tmp_path / "key"
    keys.save(file, keys.new_secret("control"))
    run(main())


def without_hello(data: bytes) -> tuple[bytes, ...]:
    """Lose what begins a full state."""
    payload = Deframer().feed(data)[0]
    assert isinstance(payload, bytes)
    return () if payload[1] == ids.HELLO else (data,)


def test_a_board_that_sends_and_begins_no_full_state_is_waited_for_as_long_as_is_said() -> None:
    async def main() -> None:
        _, shared = stream()
        transport = shared.transport()
        transport.to_host = without_hello
        begin = asyncio.get_running_loop().time()
        with pytest.raises(NoAgent, match=r"sends to its broker, but sent no full state .* 45 s"):
            async with connect(transport):
                pass
        assert 44.9 < asyncio.get_running_loop().time() - begin < 45.1

    run(main())


def test_a_quiet_board_that_does_not_hear_the_host_is_waited_for() -> None:
    async def main() -> None:
        peer, shared = stream()
        peer.interval_s = 0.0
        peer.deaf = True
        shared.board.step(0.0)  # the first whole state is over before anybody listens
        async with connect(shared.transport()) as board:  # it sent ALIVE after 10 s
            assert equals(board, peer)

    run(main())


def test_a_reader_alone_sends_nothing_and_who_holds_a_lease_keeps_its_session() -> None:
    async def main() -> None:
        peer, shared = stream()
        transport = shared.transport()
        sent = sent_by(transport)
        async with connect(transport) as board:
            count = len(sent)
            await asyncio.sleep(60.0)
            assert len(sent) == count == 1  # the SUBSCRIBE
            await board.allocate(ResourceType.MEMORY, 100, ttl=None)
            await asyncio.sleep(30.0)
            assert len(board.allocations) == 1
            assert 9 <= len(sent) - count <= 13  # a request, and a keepalive each 3 s
        assert not peer.policy.tables[ids.LEASE]  # UNSUBSCRIBE ended it

    run(main())


def test_replies_to_others_are_ignored() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as first, connect(shared.transport()) as second:
            peer.answer[ids.SET_LIMITS] = lambda args: (ids.OK, [1, args[1], 3, 4])
            both = await asyncio.gather(
                first.set_limits(operation_timeout=1), second.set_limits(operation_timeout=2)
            )
            assert [each.operation_timeout_s for each in both] == [1, 2]  # of one request id each

    run(main())


def test_what_was_lost_of_a_whole_state_that_is_under_way_is_requested_again() -> None:
    """Another HELLO in its middle must not hide that a row before it was lost."""

    async def main() -> None:
        peer, shared = stream()
        peer.interval_s = 0.0
        transport = shared.transport()
        async with connect(transport) as board:
            peer.policy.put(ids.LEASE, 3, [5, 0, 10, "x", 1, None, 0, None, False, None])
            await until(lambda: board.allocations)
            board._mirror.leases.clear()  # as if it had never come
            peer.frames_per_step = 1
            passing = transport.to_host
            transport.to_host = lambda data: () if data[2] == ids.LEASE else (data,)
            peer.begin_full_state()
            await until(lambda: peer._rest[0][0] == ids.SAMPLE)
            transport.to_host = passing
            peer.begin_full_state(host_id=9)  # whose HELLO is one in the middle
            peer.store(0, ["/", 4096, 512, 300, 300])
            await until(lambda: board.synced and board.allocations, 8.0)
            assert equals(board, peer)

    run(main())


def test_a_whole_state_that_began_before_the_host_came_does_not_count() -> None:
    async def main() -> None:
        peer, shared = stream()
        peer.policy.put(ids.LEASE, 3, [5, 0, 10, "x", 1, None, 0, None, False, None])
        for value in range(16):
            peer.policy.happen("collect", 0, None, value)
        peer.frames_per_step = 1
        peer.step(0.0)
        while peer._rest[0][0] != ids.EVENT:
            peer.step(peer._now + 0.1)
        row = ["/", 4096, 512, 300, 300]  # so that rows of storage are all there
        asyncio.get_running_loop().call_later(0.5, peer.store, 0, row)
        async with connect(shared.transport()) as board:
            assert [lease.id for lease in board.allocations] == [5]

    run(main())


def test_the_state_that_the_broker_keeps_counts_at_once() -> None:
    async def main() -> None:
        peer, shared = stream()
        loop = asyncio.get_running_loop()
        shared.online = False
        begin = loop.time()
        with pytest.raises(BoardOffline):
            async with connect(shared.transport()):
                pass
        assert loop.time() - begin < 1
        shared.online, peer.mute = None, True
        with pytest.raises(BoardOffline):
            async with connect(shared.transport()):
                pass
        shared.online, peer.mute = True, False
        transport = shared.transport()
        async with connect(transport) as board:
            shared.set_online(False)
            assert not board.connected
            sent = sent_by(transport)
            await asyncio.sleep(100.0)
            assert sent == []
            peer.restart()
            shared.set_online(True)
            await until(lambda: board.synced, 2.0)
            assert equals(board, peer)
            assert sent == []

    run(main())


def test_a_board_that_falls_silent_is_gone_after_25_s() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as board:
            peer.interval_s = 0.0
            await asyncio.sleep(29.0)
            assert board.connected  # by ALIVE
            peer.mute = True
            took = await until(lambda: not board.connected, 40.0)
            assert 15 <= took <= 25.2
            peer.mute = False
            await until(lambda: board.connected and board.synced, 31.0)

    run(main())


def test_two_boards_of_one_id_are_told_from_one_that_restarts() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as board:
            first = peer.boot_id
            for uptime_s, boot_id in ((50, 9), (60, first), (70, 9), (3, first)):
                peer.boot_id, peer.values["uptime_s"] = boot_id, uptime_s
                peer.begin_full_state()
                await board.wait_sample()
                await board.wait_sample()
            seen = [each.other_board for each in board.restarts]
            assert seen == [False, True, True, False]
            assert str(board.restarts[1]).startswith("two boards answer at this address in turn")
            assert str(board.restarts[3]) == "the board restarted: power_on"
            assert Counters.of(board).two_boards

    run(main())


def test_a_request_under_way_as_the_board_restarts_is_not_sent_again() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as board:
            losing = board._session.link._transport
            assert isinstance(losing, FakeShared)
            passing = losing.to_host
            losing.to_host = lambda data: () if data[2] == ids.REPLY else (data,)
            request = asyncio.create_task(board.can_execute(2))
            await until(lambda: peer.done)
            peer.restart()
            with pytest.raises(BoardRestarted):
                await request
            losing.to_host = passing
            await until(lambda: board.synced)
            assert len(peer.done) == 1
            assert await board.can_execute(2)

    run(main())


def test_no_request_is_sent_to_a_board_that_told_another_host_of_another_version() -> None:
    async def main() -> None:
        peer, shared = stream()
        async with connect(shared.transport()) as board:
            peer.restart()
            peer.version = (2, 0)
            peer.begin_full_state(host_id=7)
            await asyncio.sleep(0.1)
            with pytest.raises(VersionMismatch):
                await board.ping()
            assert peer.done == []

    run(main())


def test_a_boards_history_is_read_though_its_application_reads_ten_messages_a_second() -> None:
    async def main() -> None:
        peer, shared = stream()
        transport = shared.transport()
        waiting: asyncio.Queue[bytes] = asyncio.Queue()

        def to_board(data: bytes) -> list[bytes]:
            waiting.put_nowait(data)
            return []

        async def application() -> None:
            while True:
                transport.port.receive(await waiting.get())
                await asyncio.sleep(0.25)  # check_msg() passes on one message at a time

        transport.to_board = to_board
        reading = asyncio.create_task(application())
        async with connect(transport) as board:
            await board.fetch_history()
            read = [args for number, args in peer.done if number == ids.HISTORY_READ]
            assert len(read) == len({*map(tuple, read)}) > 30
        reading.cancel()

    run(main())


def test_a_stranger_on_the_stream_ends_nothing() -> None:
    async def main() -> None:
        peer, shared = stream()
        transport = shared.transport()
        async with connect(transport) as board:
            for payload in (b"\x91\x07", b"\x95\x07\x00\x00\x00\xc0", b"\x81\x01\x02", b""):
                transport.port.send(frame(payload))
            transport.port.send(bytes(range(256)))
            transport.port.send(frame(msgpack.packb([ids.KEY_REFUSED, 0, ids.NEEDED])))
            assert await board.can_execute(2)
            transport.port.send(frame(bytes((0x95, ids.REFUSED, 0, 2, 0, 7))))  # is for host 7
            await until(lambda: board.synced, 40.0)
            await asyncio.sleep(2.0)
            assert equals(board, peer)
            assert await board.can_execute(2)
            boot = board.status.board.boot_id
            for host_id in range(1000):  # whole states that never end
                hello = [ids.HELLO, host_id, 1, 7, host_id, boot, [], [200, 128, 4, 4], b""]
                transport.port.send(frame(msgpack.packb(hello)))
            assert len(board._session.subscription._hosts) <= 64

    run(main())


@settings(max_examples=campaign.of(300, 30), deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.02, 0.1, 0.33]))
def test_after_losses_and_restarts_both_mirrors_equal_the_board_and_each_request_was_done_once(
    seed: int, loss: float
) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        peer, shared = stream(seed)
        peer.frames_per_step = chance.choice([None, 1, 2, 5])
        async with connect(shared.transport()) as first, connect(shared.transport()) as second:
            shared.loss = loss
            counts = {first: 0, second: 0}
            for step in range(12):
                board = chance.choice([first, second])
                what = chance.randrange(5)
                if what == 0:
                    peer.policy.put(
                        ids.LEASE, step, [step, 0, 10, "x", 1, None, 0, None, False, None]
                    )
                elif what == 1:
                    peer.policy.happen("collect", 0, None, step)
                elif what == 2 and chance.random() < 0.3:
                    peer.restart()
                else:
                    done = len(peer.done)
                    try:
                        await board.can_execute(2)
                    except (RequestTimeout, BoardRestarted):
                        assert len(peer.done) <= done + 1
                    else:
                        assert len(peer.done) == done + 1
                        counts[board] += 1
                await asyncio.sleep(chance.random() * 3)
            shared.loss = 0.0
            await asyncio.sleep(1.5)  # the next sample shows what was lost just now
            for board in (first, second):
                await until(lambda board=board: board.synced and equals(board, peer), 45.0)
                rows = {row[0] for row in peer.policy.tables[ids.LEASE].values()}
                assert {lease.id for lease in board.allocations} == rows
                numbers = [event.number for event in board.recent_events]
                assert numbers == sorted(set(numbers))
                assert numbers[-len(peer.policy.events) :] == [e[0] for e in peer.policy.events]

    run(main(), 600)
