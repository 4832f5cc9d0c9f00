"""What `serve --home-assistant` publishes at a real broker, read as Home Assistant reads it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from cli_process import TerminalBoard, finish, kill_started, line_of, run, start
from fake_stream import FakeStreamBoard
from full_board import full_board
from home_assistant_like import Device, HomeAssistantLike, check_topic
from hypothesis import given
from hypothesis import strategies as st
from mosquitto_server import Mosquitto
from mqtt_boards import MqttBoards
from places import REPO
from typer.testing import CliRunner
from virtual_time import until

from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.cli.app import app
from boardwarden.errors import AddressError
from boardwarden.serve import home_assistant
from boardwarden.serve.home_assistant import HomeAssistant, object_id, topics
from boardwarden.serve.service import Fleet
from boardwarden.serve.watched import Watched
from boardwarden.testing import FakeBoard
from boardwarden.transport.address import PASSWORD
from boardwarden.transport.mqtt import BoardState
from warden_schema import ids

_CPU = THRESHOLD_METRICS.index("cpu")
_ALL = {
    *("Memory live", "Memory used", "Largest free block", "CPU", "Loop lag", "Storage"),
    *("Signal", "Pressure", "Uptime", "Boots"),
}


@pytest.fixture(autouse=True)
async def quick(monkeypatch):
    monkeypatch.setattr(home_assistant, "STATE_S", 0.2)
    monkeypatch.setattr(home_assistant, "_TICK_S", 0.1)
    monkeypatch.setattr(home_assistant, "_RETRY_PAUSE_S", (0.1, 0.2))
    yield
    await kill_started()


@contextlib.asynccontextmanager
async def shown(broker: Mosquitto, board: FakeBoard) -> AsyncIterator[tuple[Device, TerminalBoard]]:
    """Follow a board at a terminal, and show it: its device, and the terminal."""
    terminal = TerminalBoard(board)
    with HomeAssistantLike(broker.port) as reader:
        async with HomeAssistant(broker.address) as follower:
            task = asyncio.create_task(Watched(terminal.port, [follower]).follow())
            try:
                await until(lambda: [one for one in reader.devices.values() if one.states], 20.0)
                (device,) = reader.devices.values()
                yield device, terminal
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                terminal.close()
        await until(lambda: device.available is False)


async def test_a_board_is_a_device_with_its_figures(broker) -> None:
    async with shown(broker, full_board()) as (device, terminal):
        about = device.config["device"]
        assert about["name"] == terminal.port
        assert about["model"] == "fakeboard"
        assert about["sw_version"] == "agent 0.1.0, MicroPython 1.28.0"
        assert device.config["origin"]["name"] == "boardwarden"
        assert device.names <= _ALL
        states = device.states
        await until(lambda: device.available is True)
        assert states["Memory live"] == pytest.approx(100 * 50_000 / 240_000, abs=0.05)
        assert states["Memory used"] == 60_000
        assert states["Largest free block"] == 64_000
        assert states["CPU"] == 12.5
        assert states["Loop lag"] == 0.009
        assert states["Signal"] == -61
        assert states["Pressure"] == "warn"


async def test_a_figure_that_a_board_does_not_have_is_none_of_its_entities(broker) -> None:
    board = FakeBoard()
    async with shown(broker, board) as (device, _):
        assert not {"Signal", "Pressure", "Largest free block", "Boots"} & device.names
        board.sample(rssi_dbm=-70)
        await until(lambda: device.states.get("Signal") == -70)
        board.sample(rssi_dbm=None)
        await until(lambda: device.states["Signal"] is None)  # unknown, and still there


async def test_alarms_and_restarts_are_triggers_once_each(broker) -> None:
    board = full_board()
    async with shown(broker, board) as (device, _):
        happen = board.policy.happen
        happen("threshold", _CPU, "warn", 800)
        happen("threshold", _CPU, "critical", 990)
        happen("exception", 0, "sync: OSError", 1)
        happen("hang", 0, "sync", 5000)
        happen("denied", None, "memory", 4096)
        await until(lambda: len(device.fired) == 4)
        board.policy.crash_lists[ids.RESTART].append([9, "wdt", 0, 1, 99, 70, "sync", *[None] * 5])
        board.restart()
        await until(lambda: len(device.fired) == 5, 20.0)
        assert device.fired == [
            ("alarm", "warn"),
            ("alarm", "critical"),
            ("exception", "caught"),
            ("hang", "begun"),
            ("restart", "unexpected"),
        ]
        board.mute = True
        await until(lambda: device.available is False, 20.0)
        board.mute = False
        await until(lambda: device.available is True, 20.0)


async def test_boards_of_a_broker_come_and_go_over_the_same_connection(broker, monkeypatch) -> None:
    fakes = {name: FakeStreamBoard() for name in ("green.1", "green_1", "-")}
    for board in fakes.values():
        board.interval_s = 0.1
    with HomeAssistantLike(broker.port) as reader:
        async with (
            MqttBoards(broker.address, fakes) as boards,
            HomeAssistant(broker.address) as follower,
        ):
            fleet = Fleet(broker.address)
            fleet.followers = [follower]
            task = asyncio.create_task(fleet.follow())
            await until(lambda: len(reader.devices) == 3, 20.0)
            assert {each.config["device"]["name"] for each in reader.devices.values()} == {*fakes}
            await until(lambda: all(each.available for each in reader.devices.values()))
            # Home Assistant starts anew: it has the figures at once.
            monkeypatch.setattr(home_assistant, "STATE_S", 600.0)
            later = asyncio.get_running_loop().time() + 300
            await until(lambda: all(each.state_due > later for each in follower._entries.values()))
            for board in fakes.values():
                board.values["cpu_permille"] = 770
            await until(lambda: all(each.snapshot().status.cpu.usage == 0.77 for each in fleet))
            reader.birth()
            await until(
                lambda: {each.states.get("CPU") for each in reader.devices.values()} == {77.0}
            )
            await boards.set_online("-", False)
            gone = next(each for key, each in reader.devices.items() if key.endswith("--"))
            await until(lambda: gone.available is False)
            boards.publish("boardwarden/-/state", b"", retain=True)
            await until(lambda: len(reader.devices) == 2)
            assert reader.removed == ["boardwarden--"]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not any(each.available for each in reader.devices.values()))
    with HomeAssistantLike(broker.port) as later:  # what is retained
        await until(lambda: len(later.devices) == 2)
        await until(lambda: all(each.available is False for each in later.devices.values()))
    log = broker.log()
    assert log.count("as boardwarden-") == 2  # the boards' own, and one for all else


async def test_a_worker_that_hands_its_boards_on_leaves_them_available(broker, monkeypatch) -> None:
    monkeypatch.setattr(home_assistant, "STATE_S", 600.0)
    fake = FakeStreamBoard()
    fake.interval_s = 0.1
    with HomeAssistantLike(broker.port) as reader:
        async with (
            MqttBoards(broker.address, {"green-1": fake}),
            HomeAssistant(broker.address) as stays,
        ):
            async with HomeAssistant(broker.address) as ends:
                watched = Watched(f"{broker.address}/green-1", [ends, stays])
                task = asyncio.create_task(watched.follow())
                entries = ends._entries, stays._entries
                await until(
                    lambda: [e.available_sent for d in entries for e in d.values()] == [True, True]
                )
                await until(lambda: [each.available for each in reader.devices.values()] == [True])
            (device,) = reader.devices.values()
            await until(lambda: device.available is False)  # as the one that ends has it
            stays._entries[watched.address].state_due = 0.0
            await until(lambda: device.available is True)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_followers_are_told_of_no_board_that_goes_and_was_never_there() -> None:
    told: list[str] = []
    fleet = Fleet("mqtt://127.0.0.1:1")
    fleet.followers = [SimpleNamespace(forget=told.append)]
    fleet._on_state("never", None)
    fleet._on_state("green-1", BoardState(False))
    fleet._on_state("green-1", None)
    assert told == ["mqtt://127.0.0.1:1/green-1"]


async def test_a_broker_that_dies_gets_all_of_it_again(broker) -> None:
    async with shown(broker, full_board()) as (device, _):
        broker.kill()
        broker.start()
        with HomeAssistantLike(broker.port) as reader:
            await until(lambda: [one for one in reader.devices.values() if one.states], 20.0)
            (again,) = reader.devices.values()
            await until(lambda: again.available is True)
            assert again.config == device.config
        # The first reader reconnects by itself, for the end of shown().
        await until(lambda: device.available is True, 20.0)
        device.states.clear()
        await until(lambda: device.states, 20.0)


async def test_the_documented_rights_are_enough(tmp_path, monkeypatch) -> None:
    guide = (REPO / "docs" / "guides" / "home-assistant.md").read_text("utf-8")
    monkeypatch.setattr(home_assistant, "STATE_S", 600.0)
    lines = re.findall(r"^topic .+$", guide, re.MULTILINE)
    assert len(lines) == 3
    printed = CliRunner().invoke(app, ["broker-rules", "mosquitto", "--observer", "wall"]).output
    rules, passwords = tmp_path / "rules", tmp_path / "passwords"
    rules.write_text("\n".join([printed, *lines, "user ha", "topic readwrite #", ""]))
    passwords.touch(0o600)
    rules.chmod(0o600)
    for name in ("green-1", "wall", "ha"):
        command = ("mosquitto_passwd", "-b", passwords, name, name)
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    more = f"allow_anonymous false\npassword_file {passwords}\nacl_file {rules}\n"
    fake = FakeStreamBoard()
    fake.interval_s = 0.1
    with Mosquitto(tmp_path, more) as broker, HomeAssistantLike(broker.port, "ha") as reader:
        monkeypatch.setenv(PASSWORD, "green-1")
        own = broker.address.replace("mqtt://", "mqtt://green-1@")
        async with MqttBoards(own, {"green-1": fake}):
            monkeypatch.setenv(PASSWORD, "wall")
            await until(lambda: fake._full_state_at > 0)
            fake._full_state_at -= 28.0  # an observer has what the board sends by itself, in 2 s
            address = broker.address.replace("mqtt://", "mqtt://wall@")
            async with HomeAssistant(address) as follower:
                watched = Watched(f"{address}/green-1", [follower])
                task = asyncio.create_task(watched.follow())
                await until(lambda: [one for one in reader.devices.values() if one.states], 20.0)
                reader.devices["boardwarden-green-1"].states.clear()  # the next is long away
                reader.birth()
                await until(lambda: reader.devices["boardwarden-green-1"].states)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await until(lambda: reader.devices["boardwarden-green-1"].available is False)
    denied = [line for line in broker.log().splitlines() if "Denied" in line]
    assert all("'boardwarden/green-1/down'" in line for line in denied)  # what an operator may


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
def test_no_name_leaves_its_topic_or_shares_one(names) -> None:
    first, second = (f"/dev/{name}" for name in names)
    with contextlib.suppress(UnicodeEncodeError):  # no name of a port
        for topic in topics(first):
            check_topic(topic)
            assert topic.count("/") == topics("sim")[topics(first).index(topic)].count("/")
        assert object_id(first) != object_id(second)


def test_a_name_with_odd_characters_stays_one_level() -> None:
    assert object_id("mqtt://ann@broker/green-1") == "green-1"
    assert object_id("mqtt://broker:18/a.b_c") == "a_2eb_5fc"
    assert object_id("tcp://h/+#/\0é") == "tcp_3a_2f_2fh_2f_2b_23_2f_00_c3_a9"
    with pytest.raises(AddressError, match="names a board"):
        HomeAssistant("mqtt://broker/green-1")


async def test_the_command_shows_boards_at_their_broker_and_single_ones_at_any(broker) -> None:
    terminal = TerminalBoard(full_board())
    with HomeAssistantLike(broker.port) as reader:
        words = ("serve", "--board", terminal.port, "--listen", "127.0.0.1:0")
        process = await start(*words, "--home-assistant-at", broker.address)
        await line_of(process)
        await until(lambda: [one for one in reader.devices.values() if one.states], 20.0)
        process.send_signal(signal.SIGTERM)
        assert (await finish(process)).status == 0
        await until(lambda: not any(each.available for each in reader.devices.values()))
    terminal.close()
    fake = FakeStreamBoard()
    fake.interval_s = 0.1
    with HomeAssistantLike(broker.port) as reader:
        async with MqttBoards(broker.address, {"green-1": fake}):
            words = ("serve", broker.address, "--home-assistant", "--listen", "127.0.0.1:0")
            process = await start(*words)
            await line_of(process)
            await until(lambda: "boardwarden-green-1" in reader.devices, 20.0)
            process.send_signal(signal.SIGTERM)
            assert (await finish(process)).status == 0
    wrong = await run("serve", "--board", "sim", "--home-assistant")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err == (
        "boardwarden: Home Assistant is reached by a broker: name it with --home-assistant-at.\n"
    )
    wrong = await run("serve", "--board", "sim", "--home-assistant-at", "tcp://h:1")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
