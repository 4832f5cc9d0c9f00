"""Hosts at a real mosquitto, whose boards are fakes: addresses, the shared connection, rights."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from fake_stream import FakeStreamBoard
from mosquitto_server import Mosquitto
from mqtt_boards import MqttBoards
from typer.testing import CliRunner
from virtual_time import until

import boardwarden
from boardwarden import BoardOffline, ConnectError, PermissionDenied, PortMissing, connect
from boardwarden._protocol import session
from boardwarden.cli.app import app
from boardwarden.doctor import boards as doctor_boards
from boardwarden.doctor.boards import broker_boards
from boardwarden.serve.service import Fleet, Shard, parse_shard
from boardwarden.transport import mqtt, tcp
from boardwarden.transport.address import PASSWORD, PASSWORD_FILE
from boardwarden.transport.mqtt_broker import Broker, Receiver


def boards(*names: str) -> dict[str, FakeStreamBoard]:
    """Return fake boards that sample ten times a second."""
    made = {name: FakeStreamBoard() for name in names}
    for board in made.values():
        board.interval_s = 0.1
    return made


async def test_boards_of_one_broker_share_a_connection_and_answer(broker: Mosquitto) -> None:
    fakes = boards("green-1", "green-2")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(MqttBoards(broker.address, fakes))
        first, second, other = [
            await stack.enter_async_context(connect(f"{broker.address}/{name}"))
            for name in ("green-1", "green-2", "green-1")
        ]
        assert await first.can_execute(boardwarden.Priority.HIGH)
        limits = await second.set_limits(max_operations=3)
        assert limits.max_operations == 3
        assert fakes["green-1"].policy.limits[0] == 4
        await other.begin("x")
        await until(lambda: first.operations)
        for board in (first, second, other):
            await board.wait_sample()
            assert board.link.gaps == board.link.bad_frames == 0
    log = broker.log()
    assert log.count("New client connected") == 2  # the boards' own, and one of all hosts


async def test_a_broker_that_dies_and_comes_back_costs_reconnects_only(broker: Mosquitto) -> None:
    fakes = boards("a", "b")
    async with MqttBoards(broker.address, fakes):
        first, second = (connect(f"{broker.address}/{name}") for name in fakes)
        async with first as board, second as another:
            broker.kill()
            await until(lambda: not board.connected and not another.connected)
            broker.start()
            async with MqttBoards(broker.address, fakes):
                await until(lambda: board.connected and another.connected)
                await until(lambda: board.synced and another.synced)
                assert board.link.reconnects == 1
                assert await another.can_execute(boardwarden.Priority.HIGH)


async def test_a_list_that_the_broker_does_not_finish_is_an_error(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode_and_kill(payload: bytes) -> mqtt.BoardState | None:
        broker.kill()
        return mqtt.BoardState(False)

    async with MqttBoards(broker.address, boards("a", "b")):
        monkeypatch.setattr(mqtt, "decode_state", decode_and_kill)
        with pytest.raises(ConnectError, match="is lost"):
            await broker_boards(broker.address)


async def test_a_state_of_long_ago_is_not_believed_and_a_quiet_board_is_asked(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = boards("quiet", "gone")
    for board in fakes.values():
        board.interval_s = 0.0  # no samples
        board._full_state_at = asyncio.get_running_loop().time()
    fakes["gone"].mute = True
    monkeypatch.setattr(mqtt, "_NUDGE_S", 0.3)
    monkeypatch.setattr(doctor_boards, "_LISTEN_TO_BOARDS_S", 1.5)
    async with MqttBoards(broker.address, fakes) as fleet:
        fleet.publish("boardwarden/off/state", b"\x91\x00", retain=True)
        listed = await broker_boards(broker.address)
        assert [(each.board, each.state, each.online) for each in listed] == [
            ("gone", "silent for 1.5 s", None),
            ("off", "offline", False),
            ("quiet", "online", True),
        ]
        assert fakes["quiet"].subscribes == 1
        monkeypatch.setattr(session, "_QUIET_S", 1.0)
        with pytest.raises(boardwarden.NoAgent, match=r"Nothing came from .* within 1 s, though"):
            async with connect(f"{broker.address}/gone", timeout=0.3):
                pass


async def test_a_board_that_this_user_may_not_read_hides_no_other(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe = Broker.subscribe

    async def refuse_one(self: Broker, topics: Sequence[str], receiver: Receiver) -> bool:
        """Grant all topics but one, as some brokers do: mosquitto grants all, and sends none."""
        may_read = [topic for topic in topics if topic != "boardwarden/refused/up"]
        return await subscribe(self, may_read, receiver) and len(may_read) == len(topics)

    monkeypatch.setattr(Broker, "subscribe", refuse_one)
    monkeypatch.setattr(doctor_boards, "_LISTEN_TO_BOARDS_S", 1.5)
    async with MqttBoards(broker.address, boards("read", "refused")):
        listed = await broker_boards(broker.address)
    assert [(each.board, each.online) for each in listed] == [("read", True), ("refused", None)]


async def test_workers_share_a_brokers_boards_and_one_that_dies_is_replaced(
    broker: Mosquitto,
) -> None:
    fakes = boards(*(f"b{number}" for number in range(24)))
    names = {f"{broker.address}/{name}" for name in fakes}

    def up(fleet: Fleet) -> set[str]:
        return {each.address for each in (board.snapshot() for board in fleet) if each.up}

    async with MqttBoards(broker.address, fakes) as fleet:
        await fleet.set_online("b0", False)
        workers = [Fleet(broker.address, Shard(number, 3)) for number in (1, 2, 3)]
        tasks = [asyncio.create_task(worker.follow()) for worker in workers]
        offline = f"{broker.address}/b0"
        await until(lambda: set().union(*map(up, workers)) == names - {offline})
        assert sum(len(up(worker)) for worker in workers) == len(names) - 1
        assert all(len(up(worker)) > 2 for worker in workers)
        assert sum(len([*worker]) for worker in workers) == len(names)  # b0 is exported as down
        await fleet.set_online("b0", True)
        await until(lambda: set().union(*map(up, workers)) == names)
        dead = [*workers[1]]
        tasks[1].cancel()
        workers[1] = Fleet(broker.address, Shard(2, 3))
        tasks.append(asyncio.create_task(workers[1].follow()))
        await until(lambda: up(workers[1]) == {each.address for each in dead})
        fleet.publish("boardwarden/b1/state", b"", retain=True)
        await until(lambda: set().union(*map(up, workers)) == names - {f"{broker.address}/b1"})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    log = broker.log()
    assert log.count("New client connected") == 2


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/10001", "1/2/3", "-1/2"])
def test_a_share_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no share"):
        parse_shard(text)


async def test_what_is_wrong_is_said_in_a_sentence(broker: Mosquitto, tmp_path: Path) -> None:
    async def error(address: str, kind: type[Exception], text: str, timeout: float = 5.0) -> None:
        with pytest.raises(kind, match=text) as caught:
            async with connect(address, timeout=timeout):
                pass
        assert str(caught.value).endswith(".")

    fakes = boards("a")
    async with MqttBoards(broker.address, fakes) as fleet:
        await error(f"{broker.address}/none", BoardOffline, "No board 'none' has been at", 1.0)
        await fleet.set_online("a", False)
        await error(f"{broker.address}/a", BoardOffline, "is not connected to the broker")
        await fleet.set_online("a", True)
        async with connect(f"{broker.address}/a") as board:
            await fleet.set_online("a", False)
            await until(lambda: not board.connected)
        tls = broker.address.replace("mqtt:", "mqtts:")
        await error(f"{tls}/a", ConnectError, "does not speak TLS")
    broker.stop()
    await error(f"{broker.address}/a", PortMissing, "No broker listens on port")
    # As mosquitto does beyond its max_connections, where it counts right.
    full = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", broker.port)
    async with full:
        await error(f"{broker.address}/a", ConnectError, "as many connections as it takes")
    await error("mqtt://no.such.host.invalid/a", PortMissing, "no host 'no.such.host.invalid'")


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mosquitto]:
    """A broker with TLS, passwords that are the names, and the rules that we print."""
    made = certificate(tmp_path, "broker")
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    passwords.touch(0o600)
    for name in ("green-1", "green-2", "ann", "wall"):
        command = ("mosquitto_passwd", "-b", passwords, name, name)
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    printed = CliRunner().invoke(
        app, ["broker-rules", "mosquitto", "--operator", "ann", "--observer", "wall"]
    )
    rules.write_text(printed.output)
    rules.chmod(0o600)
    more = f"""allow_anonymous false
password_file {passwords}
acl_file {rules}
certfile {made.file}
keyfile {made.key}
"""
    monkeypatch.setenv(tcp.CA_FILE, str(made.file))
    with Mosquitto(tmp_path, more) as started:
        started.address = started.address.replace("mqtt://", "mqtts://{user}@")
        yield started


async def test_the_printed_rules_hold_at_a_real_broker_with_passwords_and_tls(
    guarded: Mosquitto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def at(user: str, board: str = "") -> str:
        """Return an address, with the user's password where the next connection looks for it."""
        monkeypatch.setenv(PASSWORD, user)
        return f"{guarded.address.format(user=user)}/{board}"

    fakes = boards("green-1")
    other = boards("green-2")
    fakes["green-1"].power_up()
    async with MqttBoards(at("green-1"), fakes) as fleet, MqttBoards(at("green-2"), other) as rogue:
        async with connect(at("ann", "green-1")) as board:
            assert await board.can_execute(boardwarden.Priority.HIGH)
        listed = await broker_boards(at("wall")[:-1])
        assert [(each.board, each.online) for each in listed] == [
            ("green-1", True),
            ("green-2", True),
        ]
        # An observer is whole by what the board sends by itself; nobody hears its requests.
        fakes["green-1"]._full_state_at -= 29.0
        async with connect(at("wall", "green-1"), timeout=1.0) as board:
            subscribes = fakes["green-1"].subscribes
            monkeypatch.setattr("boardwarden.board._REQUEST_TIMEOUT_S", 0.5)
            with pytest.raises(boardwarden.RequestTimeout, match="may not let this user write"):
                await board.can_execute(boardwarden.Priority.HIGH)
            assert fakes["green-1"].subscribes == subscribes == 1
            # Nor does one board write for another.
            gaps, frames = board.link.gaps, board.link.frames
            for name in ("up", "state", "down"):
                rogue.publish(f"boardwarden/green-1/{name}", b"\xc0\x91\x00\xc0")
            await until(lambda: board.link.frames > frames + 3)
            assert board.connected
            assert board.link.bad_frames == 0
            assert board.link.gaps == gaps
        await fleet.set_online("green-1", False)
        with pytest.raises(BoardOffline):
            async with connect(at("ann", "green-1")):
                pass
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(PermissionDenied, match="does not let user 'ann' in"):
        async with connect(guarded.address.format(user="ann") + "/green-1"):
            pass
    monkeypatch.setenv(PASSWORD_FILE, str(tmp_path / "password"))
    (tmp_path / "password").write_text("ann\n")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(ConnectError, match="Others may read"):
        async with connect(guarded.address.format(user="ann") + "/green-1"):
            pass
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(BoardOffline):
        async with connect(guarded.address.format(user="ann") + "/green-1"):
            pass
    with pytest.raises(ConnectError, match="ended the connection before it answered: check"):
        async with connect(f"mqtt://127.0.0.1:{guarded.port}/green-1"):
            pass
    monkeypatch.delenv(tcp.CA_FILE)
    with pytest.raises(ConnectError, match="is not trusted"):
        async with connect(at("ann", "green-1")):
            pass


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"expired": True}, r"\(certificate has expired\): it has to be renewed there, unless"),
        (
            {"names": "subjectAltName=DNS:x.example"},
            r"'127.0.0.1'\): the address has to have a name",
        ),
        (None, f"signed certificate\\): {tcp.CA_FILE} has to name the file with the"),
    ],
)
async def test_a_certificate_that_is_not_trusted_has_the_advice_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any] | None, says: str
) -> None:
    served = certificate(tmp_path, "served", **(made or {}))
    known = served if made else certificate(tmp_path, "known")
    monkeypatch.setenv(tcp.CA_FILE, str(known.file))
    tls = f"allow_anonymous true\ncertfile {served.file}\nkeyfile {served.key}\n"
    with Mosquitto(tmp_path, tls) as broker, pytest.raises(ConnectError, match=says):
        await broker_boards(broker.address.replace("mqtt:", "mqtts:"))


@pytest.mark.parametrize(("name", "says"), [("no", "no such file"), ("key", "it has none in PEM")])
async def test_a_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    (tmp_path / "key").write_text("nothing")
    monkeypatch.setenv(tcp.CA_FILE, str(tmp_path / name))
    with pytest.raises(ConnectError, match=rf"names no file with certificates: .*: {says}.*\.$"):
        await broker_boards("mqtts://127.0.0.1")
