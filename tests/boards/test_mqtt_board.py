"""A real board over a real mosquitto: the agent's frames beside the application's own messages.

The board's client behaves as umqtt does, see firmware_tests/umqtt_like.py.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import subprocess
import time
from collections.abc import AsyncIterator

import msgpack
import pytest
from certificates import certificate
from cli_process import LIMIT_S
from mosquitto_server import Mosquitto
from places import APPS
from typer.testing import CliRunner
from virtual_time import until

import boardwarden
from boardwarden import Denied, Gap, connect
from boardwarden.cli.app import app
from boardwarden.doctor import boards as doctor_boards
from boardwarden.recording.reading import Recording
from boardwarden.recording.recorder import Recorder
from boardwarden.recording.store import Store
from boardwarden.serve.watched import Watched
from boardwarden.transport import mqtt_broker, tcp, transport_for
from boardwarden.transport.address import PASSWORD, parse_mqtt
from warden_schema import ids

_ID = "bench.board-1"


class BrokerBoard:
    """Runs tests/support/apps/publishes.py; `said` is what the application printed."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        broker: Mosquitto,
        client: str = "Simple",
        control: bool = True,
        will: str = "",
        secure: bool = False,
    ) -> None:
        values = {"PORT": broker.port, "BOARD_ID": _ID, "CLIENT": client, "WILL": will}
        for name, value in {**values, "CONTROL": int(control), "SECURE": int(secure)}.items():
            monkeypatch.setenv(name, str(value))
        self.address = f"{broker.address}/{_ID}"
        self.said = b""
        self._board = transport_for(f"sim:{APPS / 'publishes.py'}")

    async def on(self) -> None:
        await self._board.open()
        self._reading = asyncio.create_task(self._read())
        await self.until(b"connected\n")

    async def off(self) -> None:
        """Take the power away."""
        self._reading.cancel()
        await self._board.close()

    async def until(self, text: bytes, count: int = 1) -> None:
        """Wait until the application has printed this so often."""
        await until(lambda: self.said.count(text) >= count, LIMIT_S)

    async def _read(self) -> None:
        while True:
            self.said += (await self._board.read()).replace(b"\r", b"")


@contextlib.asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[tuple[mqtt_broker.Broker, dict]]:
    """A connection of the test's own, and what it got: the payloads by topic."""
    own = mqtt_broker.Broker(parse_mqtt(broker.address)[0])
    got: dict[str, list[bytes]] = collections.defaultdict(list)
    await own.enter()
    try:
        topics = [f"boardwarden/{_ID}/up", f"boardwarden/{_ID}/state", "app/out", "app/will"]
        await own.subscribe(topics, lambda topic, data, _: got[topic].append(data))
        yield own, got
    finally:
        await own.leave()


@contextlib.asynccontextmanager
async def powered(board: BrokerBoard) -> AsyncIterator[BrokerBoard]:
    await board.on()
    try:
        yield board
    finally:
        await board.off()


async def test_the_agent_and_the_application_share_one_connection(monkeypatch, broker) -> None:
    async with (
        powered(BrokerBoard(monkeypatch, broker)) as board,
        connect(board.address) as host,
        listening(broker) as (own, got),
    ):
        lease = await host.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="ota")
        await until(lambda: host.allocations)
        assert [each.id for each in host.allocations] == [lease.id]
        for number in range(20):
            own.publish("app/in", f"message {number}".encode(), False)
            await host.ping()
            await host.wait_sample()
        await board.until(b"app got message 19\n")
        assert board.said.count(b"app got message") == 20
        assert host.link.gaps == host.link.bad_frames == 0
        (online,) = got[f"boardwarden/{_ID}/state"]
        number, identity, boot_id, policy = msgpack.unpackb(online)
        assert (number, policy, boot_id) == (1, 0, host.status.board.boot_id)
        assert host.capabilities["last_will"].available
        assert identity[2] == "linux"
        assert set(got["app/out"]) == {b"beat"}
        for message in got[f"boardwarden/{_ID}/up"]:
            assert message[:1] == message[-1:] == b"\xc0"
        await host.release(lease.id)
    assert broker.log().count(f"as {_ID}") == 1
    assert got[f"boardwarden/{_ID}/state"][1:] == []


async def test_a_board_that_loses_its_power_is_offline_at_once(monkeypatch, broker) -> None:
    board = BrokerBoard(monkeypatch, broker)
    await board.on()
    async with connect(board.address) as host, listening(broker) as (_, got):
        await board.off()
        assert await until(lambda: not host.connected) < 9  # of one that is silent it takes twelve
        await until(lambda: got[f"boardwarden/{_ID}/state"][-1:] == [msgpack.packb([0])])


async def test_the_applications_own_will_is_left_to_it(monkeypatch, broker) -> None:
    board = BrokerBoard(monkeypatch, broker, will="app/will")
    await board.on()
    async with connect(board.address) as host, listening(broker) as (_, got):
        await board.off()
        await until(lambda: got["app/will"])
        assert got["app/will"] == [b"gone"]
        assert host.capabilities["last_will"].reason == ids.REASONS[ids.OWN_WILL]
        assert len(got[f"boardwarden/{_ID}/state"]) == 1  # online, as far as that says
        assert host.connected  # for 25 s


async def test_a_board_that_has_its_own_will_and_is_dead_is_listed_as_silent(
    monkeypatch, broker
) -> None:
    monkeypatch.setattr(doctor_boards, "_LISTEN_TO_BOARDS_S", 60.0)
    board = BrokerBoard(monkeypatch, broker, will="app/will")
    await board.on()
    (listed,) = await doctor_boards.broker_boards(broker.address)  # as soon as it is heard
    assert (listed.state, listed.online, listed.silent_s) == ("online", True, None)
    async with listening(broker) as (own, got):
        await board.off()
        await until(lambda: got["app/will"])
        own.publish(f"boardwarden/{_ID}/up", b"of any time", True)
        await until(lambda: got[f"boardwarden/{_ID}/up"][-1:] == [b"of any time"])
        monkeypatch.setattr(doctor_boards, "_LISTEN_TO_BOARDS_S", 1.0)
        (listed,) = await doctor_boards.broker_boards(broker.address)
        assert (listed.state, listed.online, listed.silent_s) == ("silent for 1 s", None, 1.0)
        assert listed.agent


async def test_how_long_a_board_is_up_is_heard_at_its_broker_and_not_requested(
    monkeypatch, broker
) -> None:
    began_s = time.monotonic()
    board = BrokerBoard(monkeypatch, broker)
    async with powered(board), listening(broker) as (own, got):
        own.publish("boardwarden/x/state", msgpack.packb([0]), True)
        await own.subscribe([f"boardwarden/{_ID}/down"], lambda *message: requests.append(message))
        requests: list[tuple[object, ...]] = []
        await until(lambda: len(got[f"boardwarden/{_ID}/up"]) > 15)
        listed, offline = await doctor_boards.broker_boards(broker.address, uptime=True)
        assert 1 <= listed.uptime_s <= time.monotonic() - began_s
        assert (offline.uptime_s, offline.state) == (None, "offline")
        assert not requests


async def test_who_may_only_look_has_all_and_changes_nothing(monkeypatch, broker) -> None:
    async with (
        powered(BrokerBoard(monkeypatch, broker, control=False)) as board,
        connect(board.address) as host,
    ):
        await host.ping()
        with pytest.raises(Denied, match="right to control"):
            await host.stop_monitoring()


@pytest.mark.parametrize("client", ["Simple", "Robust", "OldRobust"])
async def test_a_broker_that_dies_and_comes_back_costs_a_gap_and_each_event_comes_once(
    monkeypatch, broker, client
) -> None:
    async with (
        powered(BrokerBoard(monkeypatch, broker, client)) as board,
        connect(board.address) as host,
    ):
        events = []

        async def collect() -> None:
            async for event in host.events():
                events.append(event)

        collecting = asyncio.create_task(collect())
        lease = await host.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="x", ttl=0.5)
        broker.kill()
        await until(lambda: not host.connected)
        broker.start()
        await until(lambda: host.connected and host.synced)
        await host.ping()
        await until(lambda: any(event.subject == lease.id for event in events))
        collecting.cancel()
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        assert host.link.bad_frames == 0


async def test_after_50_minutes_without_a_broker_nothing_is_missing_and_lost_events_are_counted(
    monkeypatch, broker, tmp_path
) -> None:
    monkeypatch.setenv("AWAY_S", "3000")
    path = tmp_path / "a.db"
    store, stop = Store(path), asyncio.Event()
    store.open()
    gaps: list[Gap] = []
    async with (
        powered(BrokerBoard(monkeypatch, broker)) as board,
        connect(board.address) as host,
    ):
        served = Watched(board.address)
        following = asyncio.create_task(served.follow())
        recorder = Recorder(store, {board.address: host}, on_gap=lambda _, gap: gaps.append(gap))
        recording = asyncio.create_task(recorder.run(stop))
        await until(lambda: served.snapshot().up and recorder.followers[0].samples)
        boot_id = host.status.board.boot_id
        broker.kill()
        await board.until(b"away for 3000\n")
        broker.start()
        await until(lambda: gaps, LIMIT_S)
        await until(lambda: served.snapshot().up, LIMIT_S)
        last = [event for event in host.recent_events if event.kind == "policy"][-1]
        assert last.detail == "2900"
        await until(lambda: recorder.store.written["history"])
        counted = served.snapshot()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        stop.set()
        await recording
    store.close()
    (gap,) = gaps
    assert gap.why is None
    assert 3000 <= gap.end_s - gap.begin_s < 3030
    assert gap.slots[0].begin_s <= gap.begin_s + 1
    assert gap.end_s - (gap.slots[-1].begin_s + gap.slots[-1].step_s) < 2
    for before, after in itertools.pairwise(gap.slots):
        assert after.begin_s <= before.begin_s + before.step_s
    minutes = [slot for slot in gap.slots if slot.step_s == 60]
    assert 48 <= len(minutes) <= 51
    for slot in minutes:
        assert 0 < slot.memory.min <= slot.memory.mean <= slot.memory.max
    with Recording(path) as read:
        (span,) = read.spans()
        assert span.boot_id == boot_id
        numbers = [each.event.number for each in read.events(span)]
        lost = [number for each in read.lost_events(span)
                for number in range(each.first, each.first + each.number)]  # fmt: skip
        assert sorted(numbers + lost) == list(range(numbers[-1] + 1))
        assert lost
        assert [each.slot for each in read.history(span)] == list(gap.slots)
    assert sum(counted.events.values()) + counted.missed_events == numbers[-1] + 1
    assert counted.missed_events == len(lost)


async def test_over_tls_a_board_needs_no_more_than_the_printed_rules(monkeypatch, tmp_path) -> None:
    made = certificate(tmp_path)
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    passwords.touch(0o600)
    for user in (_ID, "ann"):
        command = ("mosquitto_passwd", "-b", passwords, user, user)
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    printed = CliRunner().invoke(app, ["broker-rules", "mosquitto", "--operator", "ann"])
    rules.write_text(printed.output)
    rules.chmod(0o600)
    monkeypatch.setenv(tcp.CA_FILE, str(made.file))
    monkeypatch.setenv(PASSWORD, "ann")
    more = f"""allow_anonymous false
password_file {passwords}
acl_file {rules}
certfile {made.file}
keyfile {made.key}
"""
    with Mosquitto(tmp_path, more) as broker:
        async with (
            powered(BrokerBoard(monkeypatch, broker, secure=True)),
            connect(f"mqtts://ann@127.0.0.1:{broker.port}/{_ID}") as host,
        ):
            for _ in range(10):
                await host.ping()
                await host.wait_sample()
            assert host.link.gaps == host.link.bad_frames == 0
