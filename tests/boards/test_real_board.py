"""The agent on MicroPython's unix port, over a real pseudo-terminal, seen through the host."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pty
import re
import socket
import time
import tty
from urllib.parse import urlsplit

import pytest
from damage import DamagedTransport
from free_ports import free_port
from places import APPS

import boardwarden
from boardwarden import ResourceType
from boardwarden._protocol import messages
from boardwarden._protocol.link import frame
from boardwarden.transport import transport_for
from boardwarden.transport.fd_stream import FdStream
from warden_schema import ids


def _app(name: str) -> str:
    return f"sim:{APPS / name}.py"


async def test_memory_adds_up_and_uptime_grows():
    async with boardwarden.connect("sim") as board:
        first = board.status
        memory = first.memory
        assert memory.used_bytes + memory.available_bytes == memory.total_bytes
        assert 0 < memory.live_bytes <= memory.used_bytes
        assert 0 < memory.largest_free_block_bytes <= memory.available_bytes
        assert board.capabilities["largest_free_block"].available
        assert not board.capabilities["wlan"].available
        second = await board.wait_sample()
        assert second.cpu.uptime_s > first.cpu.uptime_s
        assert second.cpu.active_threads == 1


async def test_live_memory_follows_what_the_application_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with boardwarden.connect(_app("keeps")) as board:
        await board.wait_sample()
        before = board.status.memory.live_bytes
        (tmp_path / "keep").touch()
        async for text in board.console():
            if "kept" in text:
                break
        # Within ten seconds of its time: a busy machine may leave no collection for some samples.
        until_s = board.status.cpu.uptime_s + 10
        while board.status.memory.live_bytes < before + 300_000:
            assert board.status.cpu.uptime_s < until_s
            await board.wait_sample()


@pytest.mark.alone
async def test_cpu_is_30_percent_for_30_of_100_ms_of_work():
    async with boardwarden.connect(_app("spins")) as board:
        shares = []
        while len(shares) < 4:
            status = await board.wait_sample()
            if status.cpu.usage is not None:
                shares.append(status.cpu.usage)
        assert sorted(shares)[1] == pytest.approx(0.30, abs=0.03), shares
        assert 0.029 <= board.status.cpu.loop_lag_worst_s < 0.1


async def test_console_text_arrives_whole_and_in_order_and_costs_no_frame():
    expected = "".join(f"№ {n} – grüße, 日本語, ☃, \U0001f40d\n" for n in range(2000))
    got = ""
    async with boardwarden.connect(_app("talks")) as board:
        async for text in board.console():
            got += text
            if len(got) >= len(expected):
                break
        await board.ping()
        assert got == expected
        assert board.link.bad_frames == 0
        assert board.link.gaps == 0
        assert board.link.frames > 5  # most samples were overtaken: the text fills the line


class StalledTransport:
    """Another transport, which can stop reading while it goes on writing: a lying host."""

    def __init__(self, inner):
        self.reading = asyncio.Event()
        self.reading.set()
        self.writing = True
        self._inner = inner

    @property
    def address(self):
        return self._inner.address

    async def open(self):
        await self._inner.open()

    async def close(self):
        await self._inner.close()

    async def read(self):
        await self.reading.wait()
        return await self._inner.read()

    async def write(self, data):
        if self.writing:
            await self._inner.write(data)


@pytest.mark.parametrize("keepalives", [True, False], ids=["that-says-it-is-there", "that-is-mute"])
async def test_a_stalled_host_costs_the_application_nothing(tmp_path, monkeypatch, keepalives):
    monkeypatch.chdir(tmp_path)
    transport = StalledTransport(transport_for(_app("measures")))
    async with boardwarden.connect(transport) as board:
        await board.wait_sample()
        await board.wait_sample()
        transport.reading.clear()
        transport.writing = keepalives
        await asyncio.sleep(10.0)  # the stall itself
        worst_ms = int((tmp_path / "worst").read_text()) / 1000
        transport.writing = True
        transport.reading.set()
        for _ in range(20):
            status = await board.wait_sample()
        # A write that waits for this host waits for seconds; a busy machine alone takes tens of ms.
        assert worst_ms < 300
        assert board.connected
        assert status.age_s < 1
        assert status.overhead.dropped_frames == board.link.dropped_frames
        if keepalives:
            assert status.overhead.dropped_frames > 100
        await board.ping()


class LosesHello(DamagedTransport):
    """Loses the first frames of the board that are a HELLO."""

    def __init__(self, inner, count):
        super().__init__(inner, 0, rate=0.0)
        self.left = count

    def _pass(self, way, data):
        begin = data.find(b"\xc0\x99}!")  # a frame's delimiter, nine fields, of which 1 is escaped
        if way == "in" and self.left and begin >= 0:
            self.left -= 1
            data = data[:begin] + data[data.index(b"\xc0", begin + 1) :]
        return super()._pass(way, data)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_host_connects_though_the_first_hello_is_lost(count):
    # What the board sent behind it fills its window: the next one has to find room.
    transport = LosesHello(transport_for("sim"), count)
    async with boardwarden.connect(transport) as board:
        await board.ping()
    assert not transport.left


async def test_ctrl_c_interrupts_the_application_while_frames_flow_both_ways():
    async with boardwarden.connect(_app("talks")) as board:
        pings = asyncio.create_task(_ping_for_ever(board))
        for _ in range(5):
            await board.wait_sample()
        await board.interrupt()
        printed = ""
        async for text in board.console():
            printed += text
            if "KeyboardInterrupt" in printed:
                break
        pings.cancel()
        await asyncio.gather(pings, return_exceptions=True)
        assert "KeyboardInterrupt" in printed


async def _ping_for_ever(board):
    while True:
        await board.ping()


@pytest.mark.parametrize("seed", range(3))
async def test_the_mirror_equals_the_board_after_any_damage(seed):
    """Invariant 6, with the real agent: nothing but frames corrects what damage did."""
    transport = DamagedTransport(transport_for(_app("tells")), seed, rate=0.0)
    async with boardwarden.connect(transport) as board:
        await board.start_monitoring(0.02)
        await transport.damage(0.15, 3.0)
        await board.start_monitoring(1.0)
        told, status = await _both_of_the_same_sample(board)
    for name in ("total_bytes", "live_bytes"):
        assert str(getattr(status.memory, name)) == told[name], name
    assert str(status.board.boot_id) == told["boot_id"]
    assert str(status.overhead.dropped_frames) == told["dropped_frames"]
    assert str(round(status.interval_s * 1000)) == told["interval_ms"]
    assert [str(row.available_bytes) for row in status.storage] == told["available"].split("+")
    assert str(status.cpu.active_tasks) == told["tasks"]
    assert str(status.cpu.active_threads) == told["threads"]


_LINE = r"^STATUS ((?:\w+=[^\s=]+ ){8}\w+=[^\s=]+)\n"  # a whole one: others were damaged


async def _both_of_the_same_sample(board):
    """Return what the application prints of `warden.status()`, and the mirror, of one sample."""
    printed = ""
    first = None  # in its second there may have been others, before the interval changed
    async for text in board.console():
        printed = (printed + text)[-2000:]
        for line in re.findall(_LINE, printed, re.MULTILINE):
            told = dict(item.split("=") for item in line.split())
            status = board.status
            now = (told.get("interval_ms"), told.get("uptime_s"))
            if now == ("1000", str(int(status.cpu.uptime_s))) and status.interval_s == 1.0:
                first = first or now
                if now != first:
                    return told, status
    raise AssertionError(printed)


@pytest.fixture
async def served(monkeypatch):
    """The address of a board that serves TCP."""
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    program = transport_for(_app("serves"))
    await program.open()
    try:
        said = b""
        while b"listening\n" not in said:
            said += await program.read()
        yield f"tcp://127.0.0.1:{port}"
    finally:
        await program.close()


async def test_the_next_host_over_tcp_connects_after_the_first(served):
    for _ in range(3):
        async with boardwarden.connect(served) as board:
            await board.start_monitoring(0.1)
            assert (await board.wait_sample()).interval_s == 0.1
            await board.ping()
            assert board.link.gaps == 0


async def test_three_hosts_over_tcp_see_the_same_and_a_fourth_is_told_who_they_are(served):
    async with contextlib.AsyncExitStack() as stack:
        boards = [await stack.enter_async_context(boardwarden.connect(served)) for _ in range(3)]
        leases = [
            await board.allocate(ResourceType.MEMORY, 32, owner=f"host {place}")
            for place, board in enumerate(boards)
        ]
        with pytest.raises(boardwarden.NoPlace, match="three are connected, from"):
            async with boardwarden.connect(served):
                pass
        await _until(lambda: all(len(board.allocations) == 3 for board in boards))
        for board in boards:
            assert {lease.id for lease in board.allocations} == {lease.id for lease in leases}
            await board.wait_sample()
            assert (board.link.gaps, board.link.reconnects) == (0, 0)
        await boards[0].close()
        async with boardwarden.connect(served) as fourth:
            await _until(lambda: len(fourth.allocations) == 2)  # the first one's have ended
            await fourth.ping()


@pytest.mark.parametrize("rate", [0.0, 0.15], ids=["whole", "damaged"])
async def test_hosts_that_stall_flood_or_lie_cost_the_third_nothing(served, rate):
    """Also where its own line damages a third of the frames, of two or three pieces each."""
    address = urlsplit(served)

    async def stall():
        """Subscribe again and again, and read nothing."""
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            sock.connect((address.hostname, address.port))
            sock.setblocking(False)
            while True:
                with contextlib.suppress(BlockingIOError):
                    sock.send(frame(messages.subscribe(7)))
                await asyncio.sleep(0.02)

    async def flood():
        """Send requests, damaged frames and noise as fast as the board takes them."""
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(frame(messages.subscribe(8)))
        try:
            for number in itertools.count():
                writer.write(frame(messages.request(8, number & 0xFFFF, ids.PING, ())))
                writer.write(frame(messages.request(8, 0, ids.PING, ()))[:-3] + b"\xc0\x91junk\xff")
                await writer.drain()
                await reader.read(1000)
        finally:
            writer.close()

    async def ask(board, operation, *arguments):
        """Request something, with more patience than an application has."""
        return await board._session.request(operation, *arguments, timeout=30.0)

    others = [asyncio.create_task(stall()), asyncio.create_task(flood())]
    try:
        line = DamagedTransport(transport_for(served), seed=1, rate=0.0)
        async with boardwarden.connect(line) as board:
            await _until(lambda: board.status.overhead.bad_frames > 3)
            slowest, leases = 0.0, []
            line.rate = rate
            for number in range(20):
                began = time.monotonic()
                leases.append(await ask(board, ids.ALLOCATE, ResourceType.MEMORY, 32, str(number)))
                if len(leases) > 5:
                    await ask(board, ids.RELEASE, leases.pop(0))
                slowest = max(slowest, time.monotonic() - began)
            assert not any(task.done() for task in others), others
            if rate:
                assert line.damaged > 5
                line.rate = 0.0
            else:
                assert slowest < 2.0, slowest
                assert board.link.gaps == 0
            await board.wait_sample()
            assert board.link.reconnects == 0
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            async with boardwarden.connect(served) as fresh:
                # Each was granted and released once, however often it was asked for.
                assert [lease.owner for lease in fresh.allocations] == [
                    str(number) for number in range(15, 20)
                ]
                await _until(lambda: fresh.allocations == board.allocations)
    finally:
        for task in others:
            task.cancel()


async def _until(condition):
    """Wait until a condition holds; 10 seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("subscribes", [True, False])
async def test_a_host_that_lost_its_power_does_not_block_the_next(served, subscribes):
    address = urlsplit(served)
    with socket.create_connection((address.hostname, address.port), 10) as dead:
        if subscribes:
            dead.sendall(frame(messages.subscribe(7)))
            while await asyncio.to_thread(dead.recv, 4096):  # until the board hangs up
                pass
        until = time.monotonic() + 10
        while True:
            try:
                async with boardwarden.connect(served) as board:
                    await board.wait_sample()
                    return
            except boardwarden.NoAgent:  # turned away, as long as the other may be alive
                assert time.monotonic() < until


class OpenLine:
    """The host's end of a pseudo-terminal that the test made."""

    address = "a pseudo-terminal"

    def __init__(self, fd):
        self._fd = fd

    async def open(self):
        self._stream = FdStream(self._fd, self.address)

    async def read(self):
        return await self._stream.read()

    async def write(self, data):
        await self._stream.write(data)

    async def close(self):
        self._stream.close()


async def test_a_board_works_over_a_separate_serial_line(monkeypatch):
    near, far = pty.openpty()
    tty.setraw(far)
    monkeypatch.setenv("LINE", os.ttyname(far))
    program = transport_for(_app("wired"))
    await program.open()
    try:
        async with boardwarden.connect(OpenLine(near)) as board:
            await board.ping()
            await board.wait_sample()
            assert board.link.text_bytes == 0
        assert b"the application's" in await program.read()
    finally:
        await program.close()
        os.close(far)


async def test_a_restart_is_distinguished_from_a_gap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    transport = transport_for("sim")
    async with boardwarden.connect(transport) as board:
        first = board.status.board.boot_id
        await transport.close()  # power goes
        while board.status.board.boot_id == first:
            await board.wait_sample()
        assert board.link.reconnects == 1
        assert board.connected


async def test_the_agent_is_silent_until_a_host_subscribes_and_after_it_left():
    transport = transport_for("sim")
    await transport.open()
    try:
        heard = await _listen(transport, 2.0)
        assert b"\xc0" not in heard
    finally:
        await transport.close()


async def test_the_board_goes_silent_when_the_host_vanishes():
    stalled = StalledTransport(transport_for(_app("spins")))
    async with boardwarden.connect(stalled) as board:
        await board.wait_sample()
        stalled.writing = False
        stalled.reading.clear()
        await asyncio.sleep(4.5)
        await _listen(stalled._inner, 0.3)  # what was still in the line
        assert await _listen(stalled._inner, 1.5) == b""


async def _listen(transport, seconds):
    """Return what comes in so many seconds."""
    heard = b""

    async def read():
        nonlocal heard
        while data := await transport.read():
            heard += data

    reader = asyncio.create_task(read())
    await asyncio.wait([reader], timeout=seconds)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    return heard


async def test_a_budget_that_is_too_small_stretches_the_interval():
    async with boardwarden.connect(f"sim:{APPS / 'keeps.py'}") as board:
        assert board.status.overhead.budget == 1.0
        await board.start_monitoring(0.02, budget=0.001)  # too little for that many
        await asyncio.wait_for(_stretched(board), 40)
        assert board.status.wanted_interval_s == 0.02
        assert board.status.overhead.budget == 0.001


async def test_collect_runs_on_request_at_a_bounded_rate():
    async with boardwarden.connect("sim") as board:
        assert await _collected(board) >= 0
        with pytest.raises(boardwarden.Denied, match="just now; try again in") as caught:
            await _collect_until_refused(board)
        assert caught.value.reason == "collected"
        assert caught.value.retry_after_s is not None


async def _collect_until_refused(board):
    while True:
        await board.collect()


async def _collected(board):
    while True:
        try:
            return await board.collect()
        except boardwarden.Denied as error:  # the agent made one as it started
            await asyncio.sleep(error.retry_after_s)


async def _stretched(board):
    while board.status.wanted_interval_s != 0.02 or board.status.interval_s <= 0.02:
        await board.wait_sample()
