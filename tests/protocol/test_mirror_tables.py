"""The mirror's tables and events equal the board's, whatever the line did; reading costs little."""

from __future__ import annotations

import asyncio
import itertools
import random
import timeit
from collections.abc import Callable
from typing import Any

import campaign
import msgpack
import pytest
from damage import Damaging
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run, until

from boardwarden import Board, Event, _clock, connect
from boardwarden._mirror import EventLog, Mirror
from boardwarden._protocol import messages
from boardwarden._protocol.messages import EventOrder
from boardwarden._protocol.subscription import SILENCE_S, SUBSCRIBE_S, Subscription
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

LEASE = [7, 0, 8192, "ota", 2, 1, 60, None, False, None]
OPERATION = [5, "flash", 3, 1, 420, "half", 1, 60, None, 4096, None]
SESSION = [1, "host 77", None, None, None, None]
THRESHOLD = [0, 750, 900, 650, 1000, 1, 0, None]
METER = [1, "uploader", 0, 1, 300, 25, 90, 7]
NEED = ["flash", 12, 4096, 8192]
ROWS = {
    ids.LEASE: LEASE,
    ids.OPERATION: OPERATION,
    ids.SESSION: SESSION,
    ids.THRESHOLD: THRESHOLD,
    ids.METER: METER,
    ids.NEED: NEED,
}


def tables(read: Board | Mirror) -> dict[int, list[Any]]:
    """Return what tells one row from another, of each table."""
    mirror = read._mirror if isinstance(read, Board) else read
    return {
        ids.LEASE: [[each.id, each.amount, each.owner] for each in mirror.leases.models],
        ids.OPERATION: [[each.id, each.name, each.state] for each in mirror.operations.models],
        ids.SESSION: [[each.id, each.name] for each in mirror.sessions.models],
        ids.THRESHOLD: [[each.metric, each.level] for each in mirror.thresholds.models],
        ids.METER: [[each.id, each.name, each.steps] for each in mirror.meters.models],
        ids.NEED: [[each.name, each.count] for each in mirror.memory_profiles.models],
    }


def expected(peer: FakeBoard) -> dict[int, list[Any]]:
    """Return the same of the board's own tables, written down a second time."""

    def rows(kind: int) -> list[Any]:
        return sorted(peer.policy.tables[kind].values(), key=lambda row: row[0])

    metrics = list(ids.THRESHOLD_METRICS)
    return {
        ids.LEASE: [[row[0], row[2], row[3]] for row in rows(ids.LEASE)],
        ids.OPERATION: [[row[0], row[1], row[3]] for row in rows(ids.OPERATION)],
        ids.SESSION: [row[:2] for row in rows(ids.SESSION)],
        ids.THRESHOLD: [[metrics[row[0]], row[6]] for row in rows(ids.THRESHOLD)],
        ids.METER: [[row[0], row[1], row[6]] for row in rows(ids.METER)],
        ids.NEED: [row[:2] for row in rows(ids.NEED)],
    }


def taken(seq: int, *masks: int | None, limits: Any = (4, 300_000, 100)) -> list[Any]:
    """Return a ROWS message."""
    masks = (*masks, *[None] * 6)[:6]
    return [ids.ROWS, seq, *masks[:3], list(limits), *masks[3:]]


def metered() -> Mirror:
    """Return a mirror that keeps meters, too."""
    mirror = Mirror()
    mirror.watch_meters(True)
    return mirror


# --- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_each_table_appear_and_disappear(kind: int) -> None:
    mirror = metered()
    mirror.on_message([kind, 1, 3, *ROWS[kind]])
    assert sum(map(len, tables(mirror).values())) == 1
    assert len(tables(mirror)[kind]) == 1
    all_taken = [0b1000] * 6
    mirror.on_message(taken(2, *all_taken))
    assert len(tables(mirror)[kind]) == 1
    all_taken[list(ROWS).index(kind)] = 0b0111
    mirror.on_message(taken(3, *all_taken))
    assert tables(mirror)[kind] == []


@pytest.mark.parametrize("kind", ROWS)
def test_a_restart_empties_each_table(kind: int) -> None:
    mirror = metered()
    mirror.on_message([kind, 1, 3, *ROWS[kind]])
    mirror.on_message(taken(2, *[255] * 6))
    mirror.on_restart()
    assert tables(mirror)[kind] == []
    assert mirror.limits.max_operations is None


def test_rows_are_ordered_by_id() -> None:
    mirror = Mirror()
    for place, number in enumerate((9, 3, 5)):
        mirror.on_message([ids.LEASE, place, place, number, *LEASE[1:]])
    assert [lease.id for lease in mirror.leases.models] == [3, 5, 9]
    mirror.on_message([ids.LEASE, 4, 0, 1, *LEASE[1:]])
    assert [lease.id for lease in mirror.leases.models] == [1, 3, 5]


def test_an_occupied_row_is_absent_until_its_message_arrives() -> None:
    mirror = Mirror()
    mirror.on_message(taken(1, 0b11))
    assert mirror.leases.models == ()
    assert mirror.limits.max_operations == 4


def test_fields_of_a_later_version_are_ignored() -> None:
    mirror = metered()
    for kind, row in ROWS.items():
        mirror.on_message([kind, 1, 0, *row, "later", 5])
    mirror.on_message([*taken(2, *[1] * 6), "later"])
    mirror.on_event([ids.EVENT, 3, 0, "lease", 1, 2, 3, "x", 4, "later"], 0)
    assert all(len(found) == 1 for found in tables(mirror).values())
    assert mirror.events.recent[0].value == 4


def test_a_table_is_built_once_and_then_cheap_to_read() -> None:
    mirror = Mirror()
    for kind, row in ROWS.items():
        mirror.on_message([kind, 1, 0, *row])
    leases = mirror.leases.models
    mirror.on_message([ids.SAMPLE, 2, [1, 0]])
    mirror.on_message(taken(3, *[1] * 6))
    assert mirror.leases.models is leases
    best = min(timeit.repeat(lambda: mirror.leases.models, number=200, repeat=200)) / 200
    assert best < 2e-6
    mirror.on_message([ids.LEASE, 4, 0, *LEASE])
    assert mirror.leases.models is not leases


def test_meters_are_dropped_when_nobody_watches() -> None:
    mirror = Mirror()
    mirror.on_message([ids.METER, 1, 0, *METER])
    assert mirror.meters.models == ()
    mirror.watch_meters(True)
    mirror.on_message([ids.METER, 2, 0, *METER])
    assert len(mirror.meters.models) == 1
    mirror.watch_meters(False)
    assert mirror.meters.models == ()


def test_remaining_time_counts_from_the_arrival_of_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(_clock, "passed_s", lambda: now)
    mirror = Mirror()
    mirror.on_message([ids.LEASE, 1, 0, *LEASE[:7], 5000, False, None])
    now = 102.0
    assert mirror.leases.models[0].remaining_s == 3.0
    now = 103.0
    assert mirror.leases.models[0].remaining_s == 2.0


# --- what is malformed --------------------------------------------------------------------------

EVENT = [0, "lease", 60, 500, 7, "expired", 8192]
WHOLE = {
    **{kind: [1, 3, *row] for kind, row in ROWS.items()},
    ids.ROWS: taken(1, *[1] * 6)[1:],
    ids.EVENT: [1, *EVENT],
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_wrong_type_in_any_field_is_malformed_and_raises_nothing(kind: int) -> None:
    assert messages.decode(msgpack.packb([kind, *WHOLE[kind]])) is not None
    mirror = metered()
    for at in range(1, len(WHOLE[kind])):
        for wrong in ("text", 5, None, [1], b"x", True, -1, 2**63):
            message = [kind, *WHOLE[kind]]
            message[at + 1] = wrong
            understood = messages.decode(msgpack.packb(message))
            if understood is None:
                continue
            if kind == ids.EVENT:
                mirror.on_event(understood, 0)
            else:
                mirror.on_message(understood)
            [each.to_dict() for table in mirror._tables.values() for each in table.models]
            mirror.limits.to_dict()
    wrong_type = [kind, *WHOLE[kind]]
    wrong_type[3] = [1.5]
    assert messages.decode(msgpack.packb(wrong_type)) is None


@pytest.mark.parametrize(
    "message",
    [
        [ids.LEASE, 1, 64, *LEASE],
        [ids.LEASE, 1, -1, *LEASE],
        [ids.LEASE, 1, 0, *LEASE[:3], 5, *LEASE[4:]],
        [ids.LEASE, 1, 0, *LEASE[:9], 5],
        [ids.OPERATION, 1, 0, 5, None, *OPERATION[2:]],
        [ids.OPERATION, 1, 0, *OPERATION[:10], 5],
        [ids.SESSION, 1, 0, 1, 5, None, None, None, None],
        [ids.THRESHOLD, 1, 0, None, *THRESHOLD[1:]],
        [ids.METER, 1, 0, 1, None, *METER[2:]],
        [ids.NEED, 1, 0, None, 12, 4096, 8192],
        [ids.EVENT, 1, 0, None, 60, 500, 7, "expired", None],
        [ids.EVENT, 1, None, "lease", 60, 500, 7, "expired", None],
        [ids.EVENT, 1, 0, "lease", 60, 500, "7", "expired", None],
        [ids.ROWS, 1, 1, 1, 1, None, None, None, None],
        [ids.ROWS, 1, 1, 1, 1, ["4"], None, None, None],
        [ids.ROWS, 1, None, 1, 1, [4], None, None, None],
        [ids.LEASE, 1, 0],
        [ids.ROWS, 1],
        [ids.EVENT, 1],
    ],
    ids=str,
)
def test_a_malformed_row_is_rejected(message: list[Any]) -> None:
    assert messages.decode(msgpack.packb(message)) is None


@pytest.mark.parametrize("wrong", [2**53 + 1, 2**63, 2**64 - 1, -(2**53) - 1, -(2**63)])
def test_an_integer_beyond_what_sqlite_and_floats_hold_is_malformed(wrong: int) -> None:
    """It would end the recorder of all boards, or lose its last digits in an export."""
    figures = [0] * len(ids.SAMPLE_VALUES)
    for message in (
        [ids.SAMPLE, 1, [wrong, *figures[1:]]],
        [ids.DELTA, 1, 49, 1, 48, wrong],
        [ids.LEASE, 1, 0, *LEASE[:2], wrong, *LEASE[3:]],
        [ids.EVENT, 1, *EVENT[:6], wrong],
        [ids.REPLY, 1, 1, 0, [[wrong]]],
        [ids.STORAGE, 1, 0, 1, "/", 2**30, 2**30, 1, 1],  # as a product
    ):
        assert messages.decode(msgpack.packb(message)) is None, message
    assert messages.decode(msgpack.packb([ids.SAMPLE, 1, [2**53, *figures[1:]]])) is not None
    deltas = messages.Deltas()
    deltas.remember([ids.SAMPLE, 1, [2**53] * len(figures)])
    with pytest.raises(ValueError, match="no board has"):
        deltas.apply([ids.DELTA, 2, 1 + ids.DELTA_BIAS, 1, ids.DELTA_BIAS, 1 + ids.DELTA_BIAS])


def test_fields_an_older_board_omits_are_none() -> None:
    rows = messages.decode(msgpack.packb([ids.ROWS, 1, 3, 0, 1, [4, 300_000, 100]]))
    assert rows == [ids.ROWS, 1, 3, 0, 1, [4, 300_000, 100], None, None, None]
    event = messages.decode(msgpack.packb([ids.EVENT, 1, 0, "lease", 60, 500, 7, "expired"]))
    assert event == [ids.EVENT, 1, 0, "lease", 60, 500, 7, "expired", None]


def test_malformed_messages_are_counted() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer._send(ids.LEASE, 0, "seven")
            peer._send(ids.EVENT, 0, 5)
            await asyncio.sleep(0.1)
            assert board.link.malformed_frames == 2
            assert board.allocations == ()

    run(main())


# --- events -------------------------------------------------------------------------------------


def test_events_arrive_once_and_in_order() -> None:
    order = EventOrder()
    assert order.admit(3, "c", False) == []  # the first ones wait until all is told
    assert order.admit(4, "d", False) == []
    assert order.on_synced() == [("c", 0), ("d", 0)]
    assert order.admit(4, "d", True) == []
    assert order.admit(5, "e", True) == [("e", 0)]
    assert order.wanted == 6


def test_an_event_ahead_of_a_gap_waits_for_the_missing_ones() -> None:
    order = EventOrder()
    order.restart()
    order.miss()
    assert order.admit(2, "c", False) == []
    assert order.admit(0, "a", False) == [("a", 0)]
    assert order.admit(1, "b", False) == [("b", 0)]
    assert order.admit(2, "c", False) == [("c", 0)]
    assert order.on_synced() == []


def test_events_the_board_no_longer_has_are_counted_as_lost() -> None:
    order = EventOrder()
    order.restart()
    assert order.admit(5, "f", True) == [("f", 5)]
    order.miss()
    assert order.admit(9, "j", False) == []
    assert order.admit(8, "i", False) == []
    assert order.on_synced() == [("i", 2), ("j", 0)]


def test_early_events_are_bounded_and_dropped_at_the_next_loss() -> None:
    order = EventOrder()
    for number in range(1000):
        order.admit(number, number, False)
    assert len(order.on_synced()) == 64
    order.admit(2000, "x", False)
    order.miss()
    assert order.on_synced() == []


def event(number: int) -> Event:
    return Event(number=number)


def test_the_event_log_serves_late_and_slow_readers() -> None:
    log = EventLog()
    for number in range(300):
        log.add(event(number))
    assert [each.number for each in log.recent] == list(range(44, 300))
    slow = log.since(10)
    assert (slow[0].number, slow[0].missed, len(slow)) == (44, 34, 256)
    assert log.since(300) == ()
    assert [each.number for each in log.since(298)] == [298, 299]
    log.start_boot()
    assert log.recent == ()
    log.add(event(0))
    assert [each.number for each in log.recent] == [0]
    assert [each.number for each in log.since(299)] == [299, 0]
    assert log.since(log.first) == (event(0),)


# --- invariant 6 --------------------------------------------------------------------------------


class Collector:
    """Reads a board's events as they come."""

    def __init__(self, board: Board) -> None:
        self.events: list[Event] = []
        self._task = asyncio.create_task(self._collect(board))

    async def _collect(self, board: Board) -> None:
        async for each in board.events():
            self.events.append(each)

    async def end(self) -> None:
        await self._task


def _change(peer: FakeBoard, source: random.Random, numbers: list[int]) -> None:
    """Let the board take, change or free a row, or have an event."""
    what = source.randrange(8)
    kind = source.choice(list(ROWS))
    policy = peer.policy
    if what < 3:
        row = list(ROWS[kind])
        numbers[0] += 1
        row[0] = f"name {numbers[0]}" if kind == ids.NEED else numbers[0] % 19
        if kind != ids.THRESHOLD or all(row[0] != each[0] for each in policy.tables[kind].values()):
            policy.put(kind, source.randrange(8), row)
    elif what < 5:
        policy.drop(kind, source.randrange(8))
    elif what < 7:
        for _ in range(source.choice([1, 1, 2, 20])):
            policy.happen("lease", source.randrange(100), "expired", 5)
    elif source.random() < 0.2:
        peer.restart()
    else:
        peer.sample()


@settings(max_examples=campaign.of(150, short=40))
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_after_any_damage_the_tables_equal_the_boards_again(seed: int, changes: int) -> None:
    source = random.Random(seed)

    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            collector = Collector(board)
            board._mirror.watch_meters(True)
            transport.to_host, transport.to_board = Damaging(source), Damaging(source)
            numbers = [0]
            for _ in range(changes):
                _change(peer, source, numbers)
                await asyncio.sleep(source.random() * 0.6)
            transport.to_host = transport.to_board = lambda data: (data,)

            def equal() -> bool:
                limits = board.limits.max_operations == (4 if peer.policy.used else None)
                return limits and tables(board) == expected(peer) and _told_all(board, peer)

            await until(equal, SILENCE_S + 2 * SUBSCRIBE_S)
        await collector.end()
        _check(collector.events)

    run(main())


class Noting:
    """Stands in for the mirror and the session: notes the numbers of events, ignores the rest."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def on_event(self, message: list[Any], missed: int) -> None:
        self.events.append(message[2])

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.mark.parametrize("answers", [1, 2])
def test_a_late_event_of_the_boot_before_is_none_of_the_new_boot(answers: int) -> None:
    """It comes between a HELLO of the new boot and the next one, which may answer the same host."""
    noting = Noting()
    subscription = Subscription(noting, noting)
    now = [0.0]

    def subscribed() -> bool:
        """Tell whether a second later it sends a SUBSCRIBE."""
        now[0] += 1.0
        payloads = subscription.due(now[0])
        return any(msgpack.unpackb(payload)[0] == ids.SUBSCRIBE for payload in payloads)

    def receive(kind: int, seq: int, *fields: Any) -> None:
        subscription.receive(msgpack.packb([kind, seq, *fields]), now[0])

    def hello(seq: int, boot_id: int) -> None:
        receive(ids.HELLO, seq, 1, 3, subscription.host_id, boot_id, [], None, None)

    def answer(seq: int, boot_id: int) -> None:
        hello(seq, boot_id)
        receive(ids.STORAGE, seq + 1, 0, 0, None, None, None, None, None)
        receive(ids.SYNCED, seq + 2, subscription.host_id)

    subscription.on_open(0.0)
    assert subscribed()
    answer(300, 1)
    assert subscription.synced
    subscription.on_lost()
    subscription.on_open(now[0])
    assert subscribed()
    hello(1, 2)
    receive(ids.EVENT, 303, 5, "lease", 0, 0, None, "expired", None)
    if answers == 2:
        assert subscribed()
    answer(5, 2)
    if answers == 1:  # two HELLOs to one SUBSCRIBE, and not in order: something was lost
        assert not subscription.synced
        assert subscribed()
        answer(8, 2)
    assert subscription.synced
    assert noting.events == []


def _told_all(board: Board, peer: FakeBoard) -> bool:
    """Tell whether the newest event came, if there was one."""
    newest = [each[0] for each in peer.policy.events[-1:]]
    return [each.number for each in board.recent_events[-1:]] == newest


def _check(events: list[Event]) -> None:
    """Check that each number follows the one before, but for those that are said to be missed."""
    for before, after in itertools.pairwise(events):
        another_boot = after.number == after.missed  # it counts from 0
        assert another_boot or after.number == before.number + 1 + after.missed


@settings(max_examples=campaign.of(100, short=30))
@given(st.integers(0, 2**32), st.integers(1, 16))
def test_no_event_that_the_board_still_has_is_missed(seed: int, count: int) -> None:
    source = random.Random(seed)

    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            collector = Collector(board)
            transport.to_host, transport.to_board = Damaging(source), Damaging(source)
            for number in range(count):
                peer.policy.happen("lease", number, "expired")
                if source.random() < 0.2:  # as when a capability changes
                    tail = (peer.boot_id, peer.identity, [], peer.capabilities)
                    peer._send(ids.HELLO, *peer.version, peer.host_id, *tail)
                await asyncio.sleep(source.random() * 0.3)
            transport.to_host = transport.to_board = lambda data: (data,)
            await until(lambda: _told_all(board, peer), SILENCE_S + 2 * SUBSCRIBE_S)
        await collector.end()
        assert [each.subject for each in collector.events] == list(range(count))
        assert not any(each.missed for each in collector.events)

    run(main())


# --- events, through a session ------------------------------------------------------------------

Told = Callable[[Board, FakeBoard], Any]


def test_events_from_before_the_connection_come_first_to_every_reader() -> None:
    async def main() -> None:
        peer = FakeBoard()
        for number in range(20):
            peer.policy.happen("lease", number, "released", 8192)
        async with connect(FakeTransport(peer)) as board:
            assert [each.number for each in board.recent_events] == list(range(4, 20))
            assert board.recent_events[0].missed == 0
            early = Collector(board)
            peer.policy.happen("denied", None, "memory")
            await until(lambda: len(early.events) == 17)
            late = Collector(board)
        await early.end()
        await late.end()
        assert early.events == late.events
        assert [each.number for each in late.events] == list(range(4, 21))
        assert late.events[-1].detail == "memory"

    run(main())


def test_subscribe_names_the_next_wanted_event() -> None:
    async def main() -> None:
        peer = FakeBoard()
        peer.policy.happen("lease", 1, "released")
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            assert peer.events_from is None
            peer.policy.happen("lease", 2, "released")
            await asyncio.sleep(1.0)
            peer.seq += 1  # one that the link dropped
            peer.sample()
            await until(lambda: peer.events_from == 2, 1.0)
            await asyncio.sleep(1.0)
            assert [each.subject for each in board.recent_events] == [1, 2]

    run(main())


def test_after_a_restart_all_events_of_the_new_boot_are_requested() -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            for number in range(5):
                peer.policy.happen("lease", number, "released")
            await until(lambda: len(board.recent_events) == 5)
            collector = Collector(board)
            await until(lambda: len(collector.events) == 5)
            peer.restart()
            for number in range(9):
                peer.policy.happen("session", number, "closed")
            await until(lambda: len(board.recent_events) == 9, 5)
            assert board.recent_events[0].missed == 0
            peer.restart()
            for number in range(20):
                peer.policy.happen("denied", number, "memory")
            await until(lambda: len(board.recent_events) == 16, 5)
            assert board.recent_events[0].missed == 4
        await collector.end()
        assert [each.kind for each in collector.events].count("session") == 9
        assert len(collector.events) == 5 + 9 + 16

    run(main())


def test_a_row_lost_before_an_unsolicited_hello_is_requested_again() -> None:
    """A HELLO that tells of a capability must not hide that a frame before it was lost."""

    async def main() -> None:
        peer = FakeBoard()
        transport = FakeTransport(peer)
        async with connect(transport) as board:
            await asyncio.sleep(1.0)
            transport.to_host = lambda data: ()
            peer.policy.put(ids.LEASE, 0, LEASE)
            transport.to_host = lambda data: (data,)
            tail = (peer.boot_id, peer.identity, [], peer.capabilities)
            peer._send(ids.HELLO, *peer.version, peer.host_id, *tail)
            await until(lambda: len(board.allocations) == 1, 0.6)
            assert board.link.gaps == 1

    run(main())
