"""Leases, operations, limits and events of the agent on MicroPython's unix port, by the host."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from damage import DamagedTransport
from free_ports import free_port
from places import APPS
from virtual_time import until

import boardwarden
from boardwarden import Action, Level, OperationState, Priority, ResourceType
from boardwarden.transport import transport_for

MEMORY = ResourceType.MEMORY


def kinds_of_events(board):
    return {event.kind for event in board.recent_events}


async def test_a_lease_is_granted_seen_by_the_board_and_released():
    async with boardwarden.connect("sim") as board:
        lease = await board.allocate(MEMORY, 8192, "ota", Priority.HIGH, ttl=30.0)
        assert board.allocations == (lease,)
        assert (lease.amount, lease.owner, lease.priority) == (8192, "ota", Priority.HIGH)
        assert 29 < lease.remaining_s <= 30
        while not board.sessions:  # its row may come in a later turn than the lease's
            await board.wait_sample()
        assert [session.id for session in board.sessions] == [lease.session]
        assert board.limits.max_operations == 4
        assert board.thresholds[0].metric == "memory"
        with pytest.raises(boardwarden.Denied) as caught:
            await board.allocate(MEMORY, 2**30 - 1)
        assert caught.value.reason == "memory"
        assert caught.value.available < board.status.memory.total_bytes
        assert lease.id in caught.value.blockers
        await board.release(lease.id)
        assert board.allocations == ()
        with pytest.raises(boardwarden.NotFound):
            await board.release(lease.id)


async def test_each_resource_is_granted_in_its_unit():
    async with boardwarden.connect("sim") as board:
        cpu = await board.allocate(ResourceType.CPU_TIME, 0.25)
        storage = await board.allocate(ResourceType.STORAGE, 4096, mount="/")
        network = await board.allocate(ResourceType.NETWORK_BANDWIDTH, 10_000)
        assert board.allocations == (cpu, storage, network)
        assert [lease.amount for lease in board.allocations] == [0.25, 4096, 10_000]
        assert storage.mount == "/"
        with pytest.raises(boardwarden.Denied) as caught:
            await board.allocate(ResourceType.CPU_TIME, 0.9)
        assert 0 < caught.value.available <= 0.65


async def test_a_lease_expires():
    async with boardwarden.connect("sim") as board:
        lease = await board.allocate(MEMORY, 10, ttl=0.3)
        await until(lambda: not board.allocations, 3)
        await until(
            lambda: board.recent_events and board.recent_events[-1].kind == "lease", 3
        )  # told after the row
        ended = board.recent_events[-1]
        assert (ended.kind, ended.subject, ended.detail) == ("lease", lease.id, "expired")
        assert ended.value == 10


async def test_operations_begin_wait_preempt_and_complete():
    async with boardwarden.connect("sim") as board:
        await board.set_limits(max_operations=1)
        first = await board.begin("first", Priority.LOW, timeout=30.0, memory=4096)
        assert (first.state, first.memory_bytes) == (OperationState.ACTIVE, 4096)
        assert not await board.can_execute(Priority.NORMAL)
        assert await board.can_execute(Priority.HIGH)
        began = time.monotonic()
        with pytest.raises(boardwarden.Denied) as caught:
            await board.begin("second", wait=0.5)
        assert 0.4 < time.monotonic() - began < 3
        assert caught.value.blockers == (first.id,)
        waiting = asyncio.create_task(board.begin("third", wait=10.0))
        await until(lambda: len(board.operations) == 2, 3)
        await board.complete(first.id)
        third = await waiting
        assert third.state is OperationState.ACTIVE
        high = await board.begin("high", Priority.HIGH)
        assert board.operations[0].why == "preempted"
        await board.complete(high.id)
        with pytest.raises(boardwarden.NotFound):
            await board.complete(high.id)


async def test_a_begin_cancelled_while_it_waits_leaves_nothing():
    async with boardwarden.connect("sim") as board:
        await board.set_limits(max_operations=1)
        async with board.operation("first"):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(board.begin("second", wait=30.0), 0.5)
            await until(lambda: len(board.operations) == 1, 3)
        assert board.operations == ()


async def test_cancel_preempts_an_operation_of_the_application(granted):
    async with boardwarden.connect(granted) as board:
        mine = board.operations[0]
        assert (mine.name, mine.progress, mine.text) == ("application", 0.42, "half")
        await board.cancel(mine.id)
        await until(lambda: board.operations[0].why == "preempted", 3)


async def test_the_applications_own_grants_are_mirrored_at_connect(granted):
    async with boardwarden.connect(granted) as board:
        lease, session = board.allocations[0], board.sessions[0]
        assert (lease.owner, lease.session, lease.remaining_s) == ("application", session.id, None)
        assert (session.memory_bytes, session.operations) == (65_536, 2)
        denied = next(event for event in board.recent_events if event.kind == "denied")
        assert (denied.detail, denied.value) == ("memory", 1 << 29)
        assert board.recent_events[0].missed == 0


async def test_limits_and_thresholds_are_set_and_mirrored():
    async with boardwarden.connect("sim") as board:
        limits = await board.set_limits(2, 60.0, 0.2, 2.5)
        assert list(limits.to_dict().values()) == [2, 60.0, 0.2, 2.5]
        assert board.limits == limits
        await board.set_threshold("loop_lag", 0.2, 0.5, 0.1, hold=1.0)
        await board.set_threshold("live_bytes", warn=1, action=Action.TELL)
        lag, live = board.thresholds[1:]
        assert (lag.warn, lag.critical, lag.clear, lag.hold_s) == (0.2, 0.5, 0.1, 1.0)
        await until(lambda: board.thresholds[2].level is Level.WARN, 5)
        await until(lambda: "threshold" in kinds_of_events(board), 3)  # the next frame but one
        crossed = next(event for event in board.recent_events if event.kind == "threshold")
        assert (crossed.subject, crossed.detail) == ("live_bytes", "warn")
        assert crossed.value == board.thresholds[2].value >= live.warn
        await board.set_threshold("loop_lag")
        await until(lambda: len(board.thresholds) == 2, 3)
        with pytest.raises(boardwarden.RequestRefused):
            await board.set_threshold("memory", 0.5, action=Action.RESET)  # the port cannot


async def test_a_watching_agent_refuses_grants_with_the_reason():
    async with boardwarden.connect(f"sim:{APPS / 'watches.py'}") as board:
        await board.wait_sample()
        assert board.status.memory.used_bytes > 0
        assert board.allocations == board.operations == board.thresholds == ()
        assert board.limits.max_operations is None
        for asking in (board.allocate(MEMORY, 10), board.begin("x"), board.policy()):
            with pytest.raises(boardwarden.Denied, match="protect=False") as caught:
                await asking
            assert caught.value.reason == "watching"
        await board.fetch_history()  # what it measured it has, too


@pytest.mark.alone
async def test_meters_are_sent_while_somebody_watches(granted):
    async with boardwarden.connect(granted) as board:
        assert board.meters == ()
        async with board.metering():
            await until(lambda: len(board.meters) == 3, 5)
            await board.wait_sample()
            await board.wait_sample()
            meters = {meter.name: meter for meter in board.meters}
        assert meters["spinner"].cpu == pytest.approx(0.3, abs=0.1)
        assert (meters["reader"].kind, meters["reader"].cpu) == ("thread", None)
        assert board.meters == ()
        await board.wait_sample()
        assert board.meters == ()


async def test_events_arrive_once_and_in_order_while_frames_are_lost():
    transport = DamagedTransport(transport_for("sim"), seed=5, rate=0.0)
    async with boardwarden.connect(transport) as board:
        events = board.events()
        transport.rate = 0.1
        for _ in range(5):
            with contextlib.suppress(boardwarden.RequestTimeout):  # the board may have done it
                await board.release((await board.allocate(MEMORY, 10)).id)
        transport.rate = 0.0
        last = (await board.allocate(MEMORY, 10)).id
        await board.release(last)
        ended = []
        while last not in ended:
            event = await asyncio.wait_for(anext(events), 5)
            assert event.missed == 0
            if event.kind == "lease":
                ended.append(event.subject)
        assert ended == sorted(set(ended))
        left = set(range(1, last + 1)) - set(ended)  # what was granted and never released
        await until(lambda: {lease.id for lease in board.allocations} == left, 5)
        assert transport.damaged


@pytest.mark.parametrize("seed", range(2))
async def test_the_tables_equal_the_boards_after_any_damage(seed):
    """Invariant 6: nothing but frames corrects what damage did."""
    transport = DamagedTransport(transport_for("sim"), seed, rate=0.0)
    async with boardwarden.connect(transport) as board:
        asking = [asyncio.create_task(_use(board)) for _ in range(3)]
        await transport.damage(0.15, 3.0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(4.0)  # what was cancelled is given back, or was never granted
        for lease in board.allocations:
            await board.release(lease.id)
        for each in board.operations:
            with contextlib.suppress(boardwarden.NotFound):
                await board.complete(each.id)
        assert board.allocations == board.operations == ()
        lease = await board.allocate(MEMORY, 10)  # and the board has room for all again
        for _ in range(4):
            await board.begin("x")
        assert board.allocations == (lease,)


async def _use(board):
    while True:
        with contextlib.suppress(boardwarden.RequestError):
            async with board.lease(MEMORY, 10), board.operation("x"):
                await asyncio.sleep(0.05)


# --- the host's session, over TCP ---------------------------------------------------------------


@pytest.fixture
async def lender(tmp_path, monkeypatch):
    """Start a board that serves TCP; return its address."""
    monkeypatch.chdir(tmp_path)
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    program = transport_for(f"sim:{APPS / 'lends.py'}")
    await program.open()
    said = b""
    while b"listening\n" not in said:
        said += await program.read()
    yield f"tcp://127.0.0.1:{port}"
    await program.close()


def held():
    """Return how many leases and operations there are, as the application sees it."""
    return Path("held").read_text()


class Cable:
    """Another transport, which can be pulled out and put back."""

    def __init__(self, inner):
        self.pulled = False
        self._inner = inner
        self.address = inner.address

    async def open(self):
        if self.pulled:
            raise boardwarden.PortMissing("It is pulled out.", self.address)
        await self._inner.open()

    async def read(self):
        return await self._inner.read()

    async def write(self, data):
        await self._inner.write(data)

    async def close(self):
        await self._inner.close()

    async def pull(self):
        """Break the connection, without a word to the board's agent."""
        self.pulled = True
        await self._inner.close()


async def test_a_host_that_reconnects_in_time_finds_its_grants_unchanged(lender):
    cable = Cable(transport_for(lender))
    async with boardwarden.connect(cable) as board:
        lease = await board.allocate(MEMORY, 8192)
        begun = await board.begin("upload")
        host_id = board._session.subscription.host_id
        await cable.pull()
        await until(lambda: not board.connected, 3)
        await asyncio.sleep(5.0)  # less than the ten seconds after which its session ends
        assert held() == "1 1"
        cable.pulled = False
        await until(lambda: board.connected, 8)
        assert board._session.subscription.host_id == host_id
        assert [each.id for each in board.allocations] == [lease.id]
        assert [each.id for each in board.operations] == [begun.id]
        await board.release(lease.id)
        await board.complete(begun.id)
        await until(lambda: held() == "0 0", 3)


async def test_the_grants_of_a_crashed_host_end(lender):
    cable = Cable(transport_for(lender))
    async with boardwarden.connect(cable) as board:
        await board.allocate(MEMORY, 8192, ttl=1000.0)
        await board.begin("upload", timeout=1000.0)
        await until(lambda: held() == "1 1", 3)
        await cable.pull()
        began = time.monotonic()
        await until(lambda: held() == "0 0", 13)
        assert time.monotonic() - began > 8
        cable.pulled = False
        await until(lambda: board.connected and board.sessions == (), 8)
        assert board.allocations == board.operations == ()
        await until(lambda: {"lease", "operation", "session"} <= kinds_of_events(board), 3)


async def test_the_grants_of_a_host_end_when_it_leaves(lender):
    async with boardwarden.connect(lender) as board:
        await board.allocate(MEMORY, 8192, ttl=1000.0)
        await until(lambda: held() == "1 0", 3)
    assert await until(lambda: held() == "0 0") < 8  # of one that says nothing they end after ten
    async with boardwarden.connect(lender) as board:
        assert board.allocations == board.sessions == ()
