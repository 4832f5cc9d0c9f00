"""Keys over a real mosquitto, between the real host and MicroPython: who requests, and who not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cli_process import run
from mosquitto_server import Mosquitto
from test_mqtt_board import _ID, BrokerBoard, listening, powered
from virtual_time import until

from boardwarden import BoardRestarted, Denied, KeyRefused, ResourceType, connect, keys
from boardwarden._protocol.keys import Secret, board_key
from boardwarden._protocol.link import Deframer
from warden_schema import ids


def board(monkeypatch, broker: Mosquitto, secret: Secret, control: bool = True) -> BrokerBoard:
    """A board with the keys of a fleet; it has no unique id."""
    for name, right in (("OBSERVE_KEY", ids.OBSERVE), ("CONTROL_KEY", ids.CONTROL)):
        key = board_key(secret.generations[0], right, b"").hex()
        monkeypatch.setenv(name, key if control or right == ids.OBSERVE else "")
    return BrokerBoard(monkeypatch, broker, control=False)


def observer(secret: Secret, folder: Path) -> Path:
    """A file that is good for observing only."""
    file = folder / "observe.key"
    keys.save(file, Secret(ids.OBSERVE, secret.generations))
    return file


async def test_hosts_of_both_rights_are_served_at_once(monkeypatch, broker, secret, tmp_path):
    async with (
        powered(board(monkeypatch, broker, secret[0])) as served,
        connect(served.address, key=secret[1]) as acts,
        connect(served.address, key=observer(secret[0], tmp_path)) as looks,
        connect(served.address) as reads,
    ):
        lease = await acts.allocate(ResourceType.MEMORY, 1024, owner="ota")
        for each in (acts, looks, reads):
            await until(lambda each=each: [x.owner for x in each.allocations] == ["ota"])
        await looks.ping()
        with pytest.raises(Denied, match="takes the right to control"):
            await looks.release(lease.id)
        for _ in range(2):
            with pytest.raises(KeyRefused, match="demands a key: give --key-file"):
                await reads.ping()
        await reads.wait_sample()  # it goes on to read
        await asyncio.gather(*(each.ping() for each in (acts, looks) for _ in range(5)))
        await acts.release(lease.id)
        for each in (acts, looks, reads):
            assert each.link.gaps == each.link.bad_frames == 0


async def test_a_host_looks_where_the_board_has_no_key_to_control(monkeypatch, broker, secret):
    async with (
        powered(board(monkeypatch, broker, secret[0], control=False)) as served,
        connect(served.address, key=secret[1]) as connected,
    ):
        await connected.ping()
        with pytest.raises(Denied):
            await connected.stop_monitoring()


async def test_a_wrong_key_is_refused_and_the_right_one_comes_in(
    monkeypatch, broker, secret, tmp_path
):
    wrong = tmp_path / "wrong.key"
    keys.save(wrong, keys.new_secret("control"))
    async with powered(board(monkeypatch, broker, secret[0])) as served:
        with pytest.raises(KeyRefused, match="refuses this key"):
            async with connect(served.address, key=wrong):
                pass
        async with connect(served.address, key=secret[1]) as connected:
            await connected.ping()
            async for event in connected.events():  # of before it came, too
                if event.kind == "key":
                    break
            assert event.value == 1


async def test_a_board_without_keys_is_sent_no_request_by_a_host_that_has_one(
    monkeypatch, broker, secret
):
    async with powered(BrokerBoard(monkeypatch, broker)) as served:
        with pytest.raises(KeyRefused, match="proved the key within 2 s"):
            async with connect(served.address, key=secret[1], timeout=2.0):
                pass


async def test_what_was_recorded_at_the_broker_commands_nothing(monkeypatch, broker, secret):
    async with (
        powered(board(monkeypatch, broker, secret[0])) as served,
        listening(broker) as (own, got),
    ):
        down = f"boardwarden/{_ID}/down"
        recorded: list[bytes] = []
        await own.subscribe([down], lambda topic, data, _: recorded.append(data))
        async with connect(served.address, key=secret[1]) as connected:
            lease = await connected.allocate(ResourceType.MEMORY, 1024, owner="ota")
            await connected.release(lease.id)
            frames = len(recorded)
            assert frames >= 5  # GREETING, PROOF, SUBSCRIBE, two REQUESTs
            up = got[f"boardwarden/{_ID}/up"]
            replies = _kinds(up).count(ids.REPLY)
            for data in recorded[:frames]:
                own.publish(down, data, retain=True)
                await asyncio.sleep(0.02)  # a board holds four messages
            await until(lambda: ids.KEY_REFUSED in _kinds(up))  # the old proof
            await connected.ping()
            assert _kinds(up).count(ids.REPLY) == replies + 1  # no other request was answered
            assert connected.allocations == ()
            assert connected.link.reconnects == 0
        own.publish(down, b"", retain=True)


def _kinds(messages: list[bytes]) -> list[int]:
    deframer = Deframer()
    return [x[1] for data in messages for x in deframer.feed(data) if isinstance(x, bytes)]


async def test_a_board_that_restarts_is_proved_again(monkeypatch, broker, secret):
    served = board(monkeypatch, broker, secret[0])
    await served.on()
    try:
        async with connect(served.address, key=secret[1]) as connected:
            await connected.allocate(ResourceType.MEMORY, 1024, owner="ota")
            boot = connected.status.board.boot_id
            await served.off()
            await until(lambda: not connected.connected)
            served = board(monkeypatch, broker, secret[0])
            await served.on()
            await until(lambda: connected.synced and connected.status.board.boot_id != boot)
            for _ in range(2):
                try:
                    lease = await connected.allocate(ResourceType.MEMORY, 1024, owner="new")
                except BoardRestarted:
                    continue
                break
            assert [each.id for each in connected.allocations] == [lease.id]
    finally:
        await served.off()


async def test_after_a_restart_a_board_that_proves_nothing_is_sent_and_believed_nothing(
    monkeypatch, broker, secret
):
    served = board(monkeypatch, broker, secret[0])
    await served.on()
    async with connect(served.address, key=secret[1]) as connected:
        await served.off()
        await until(lambda: not connected.connected)
        for name in ("OBSERVE_KEY", "CONTROL_KEY"):
            monkeypatch.setenv(name, "")
        async with powered(BrokerBoard(monkeypatch, broker)):
            await until(lambda: not connected._session.keys.proved)
            with pytest.raises(KeyRefused, match="proved the key within 1 s"):
                await connected._session.request(ids.PING, timeout=1.0)
            assert not connected.synced


async def test_a_broker_that_restarts_costs_a_gap_and_each_request_is_done_once(
    monkeypatch, broker, secret
):
    async with (
        powered(board(monkeypatch, broker, secret[0])) as served,
        connect(served.address, key=secret[1]) as connected,
    ):
        first = await connected.allocate(ResourceType.MEMORY, 1024, owner="ota")
        broker.kill()
        await until(lambda: not connected.connected)
        broker.start()
        second = await connected.allocate(ResourceType.MEMORY, 1024, owner="two")
        await until(lambda: connected.synced)
        assert [each.id for each in connected.allocations] == [first.id, second.id]


async def test_of_five_hosts_at_once_one_proves_its_key_anew(monkeypatch, broker, secret):
    async with (
        powered(board(monkeypatch, broker, secret[0])) as served,
        listening(broker) as (_, got),
        AsyncExitStack() as stack,
    ):
        opened = [connect(served.address, key=secret[1]) for _ in range(5)]
        hosts = await asyncio.gather(*map(stack.enter_async_context, opened))
        for host in hosts:
            await host.ping()
        assert _kinds(got[f"boardwarden/{_ID}/up"]).count(ids.PROVED) > len(hosts)
        await until(lambda: all(host.synced for host in hosts))
        assert [host.link.gaps for host in hosts] == [0] * 5  # nothing was lost


async def test_key_check_says_whether_a_board_behind_a_broker_proves_its_key(
    monkeypatch, broker, secret, tmp_path
):
    wrong = tmp_path / "wrong.key"
    keys.save(wrong, keys.new_secret("control"))
    async with powered(board(monkeypatch, broker, secret[0])) as served:
        for file, status, says in (
            (secret[1], 0, "proves its key"),
            (wrong, 2, "refuses this key"),
        ):
            finished = await run("key", "check", str(file), "--board", served.address)
            assert finished.status == status
            assert says in finished.out + finished.err
