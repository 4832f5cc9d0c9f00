"""Keys over TCP, between the real host and MicroPython: who gets in, and who does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import msgpack
import pytest
from cli_process import run_and_wait as run
from repl_board import ReplBoard
from tcp_board import TcpBoard

import boardwarden
from boardwarden import Denied, KeyRefused, keys
from boardwarden._protocol.keys import KEY_ENVIRONMENT, Secret, board_key
from boardwarden._protocol.link import Deframer, frame
from warden_schema import ids

_STRANGER = "127.0.0.2"  # another address than the honest host's
_LIMIT_S = 5.0


def board(monkeypatch, secret: Secret, observe=True, control=True, open_hosts=False) -> TcpBoard:
    """A board with the keys of a fleet; it has no unique id."""
    for name, right, wanted in (
        ("OBSERVE_KEY", ids.OBSERVE, observe),
        ("CONTROL_KEY", ids.CONTROL, control),
    ):
        key = board_key(secret.generations[0], right, b"").hex() if wanted else ""
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("OPEN", "1" if open_hosts else "")
    return TcpBoard(monkeypatch, "keyed.py", b"listening\n")


async def test_a_host_with_the_key_commands_and_is_told_all(monkeypatch, secret):
    async with board(monkeypatch, secret[0]) as served:
        monkeypatch.setenv(KEY_ENVIRONMENT, str(secret[1]))
        async with boardwarden.connect(served.address) as connected:
            assert [lease.owner for lease in connected.allocations] == ["secret"]
            lease = await connected.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="ota")
            await connected.release(lease.id)
            assert connected.status.board.unique_id is None  # of which its key is made


async def test_a_host_of_observers_only_looks(monkeypatch, secret, tmp_path):
    observer = tmp_path / "observe.key"
    keys.save(observer, Secret(ids.OBSERVE, secret[0].generations))
    async with (
        board(monkeypatch, secret[0]) as served,
        boardwarden.connect(served.address, key=observer) as connected,
    ):
        await connected.ping()
        assert [lease.owner for lease in connected.allocations] == ["secret"]
        with pytest.raises(Denied, match="takes the right to control"):
            await connected.start_monitoring(0.1)


async def test_a_host_looks_where_the_board_has_no_key_to_control(monkeypatch, secret):
    async with (
        board(monkeypatch, secret[0], control=False) as served,
        boardwarden.connect(served.address, key=secret[1]) as connected,
    ):
        await connected.ping()
        with pytest.raises(Denied):
            await connected.stop_monitoring()


async def test_who_has_no_key_or_a_wrong_one_is_told_in_a_sentence(monkeypatch, secret, tmp_path):
    wrong = tmp_path / "wrong.key"
    keys.save(wrong, keys.new_secret("control"))
    async with board(monkeypatch, secret[0]) as served:
        with pytest.raises(KeyRefused, match="demands a key: give --key-file"):
            async with boardwarden.connect(served.address):
                pass
        await asyncio.sleep(0.6)  # what has failed waits
        with pytest.raises(KeyRefused, match="refuses this key") as refusal:
            async with boardwarden.connect(served.address, key=wrong):
                pass
        assert keys.load(wrong).generations[0].hex() not in str(refusal.value)
        async with boardwarden.connect(served.address, key=secret[1]) as connected:
            await connected.ping()


async def test_key_check_says_over_the_network_whether_a_board_proves_the_key(
    monkeypatch, secret, tmp_path
):
    wrong = tmp_path / "wrong.key"
    keys.save(wrong, keys.new_secret("control"))
    async with board(monkeypatch, secret[0]) as served:
        checks = [
            await asyncio.to_thread(run, "key", "check", str(file), "--board", served.address)
            for file in (secret[1], wrong)
        ]
    assert [check.returncode for check in checks] == [0, 2]
    assert checks[0].stdout == "The board without a unique id proves its key.\n"
    assert "refuses this key" in checks[1].stderr


async def test_a_board_without_keys_gets_nothing_from_a_host_that_has_one(monkeypatch, secret):
    async with TcpBoard(monkeypatch, "serves.py", b"listening\n") as served:
        with pytest.raises(KeyRefused, match="proved the key within 1 s"):
            async with boardwarden.connect(served.address, key=secret[1], timeout=1.0):
                pass


async def test_a_host_without_a_key_sees_figures_where_the_board_allows_it(monkeypatch, secret):
    async with board(monkeypatch, secret[0], open_hosts=True) as served:
        async with boardwarden.connect(served.address) as connected:
            assert connected.status.memory.total_bytes
            assert connected.allocations == ()
            with pytest.raises(Denied, match="right to control"):
                await connected.stop_monitoring()
        async with (
            boardwarden.connect(served.address),
            boardwarden.connect(served.address, key=secret[1]) as connected,
        ):
            await connected.ping()


async def test_hosts_of_each_right_are_served_at_once_and_a_visitor_gives_its_place(
    monkeypatch, secret, tmp_path
):
    observer = tmp_path / "observe.key"
    keys.save(observer, Secret(ids.OBSERVE, secret[0].generations))
    async with (
        board(monkeypatch, secret[0], open_hosts=True) as served,
        boardwarden.connect(served.address) as visitor,
        boardwarden.connect(served.address, key=observer) as looks,
        boardwarden.connect(served.address, key=secret[1]) as acts,
    ):
        lease = await acts.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="ota")
        for _ in range(20):
            if len(looks.allocations) == 2:
                break
            await looks.wait_sample()
        assert [each.owner for each in looks.allocations] == ["secret", "ota"]
        assert visitor.allocations == ()
        await visitor.wait_sample()
        for connected, right in ((looks, "control"), (visitor, "control")):
            with pytest.raises(Denied, match=f"right to {right}"):
                await connected.release(lease.id)
        async with boardwarden.connect(served.address, key=secret[1]) as fourth:
            await fourth.ping()
            await acts.release(lease.id)


async def test_the_link_is_proved_again_when_it_was_lost(monkeypatch, secret):
    async with (
        board(monkeypatch, secret[0]) as served,
        boardwarden.connect(served.address, key=secret[1]) as connected,
    ):
        connected._session.link._transport._writer.transport.abort()
        await connected.ping()
        assert connected.link.reconnects == 1


async def test_honest_hosts_come_in_beside_two_hundred_connections(monkeypatch, secret):
    async with board(monkeypatch, secret[0]) as served:
        port = int(served.address.rsplit(":", 1)[1])
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as strangers:
            for number in range(200):
                stranger = strangers.enter_context(socket.socket())
                stranger.setblocking(False)
                stranger.bind((_STRANGER, 0))
                stranger.connect_ex(("127.0.0.1", port))
                if number % 2:
                    with contextlib.suppress(OSError):
                        stranger.send(frame(msgpack.packb([ids.GREETING, 1, 2, bytes(16)])))
            began = loop.time()
            async with boardwarden.connect(
                served.address, key=secret[1], timeout=_LIMIT_S
            ) as connected:
                assert loop.time() - began < _LIMIT_S
                await connected.ping()


async def test_what_changes_on_the_way_is_not_believed(monkeypatch, secret):
    """Somebody in the middle changes each reply, and repeats what a host sent."""
    async with board(monkeypatch, secret[0]) as served:
        host, port = "127.0.0.1", int(served.address.rsplit(":", 1)[1])
        forge, ended = False, asyncio.Event()

        async def relay(reader, writer):
            board_reader, board_writer = await asyncio.open_connection(host, port)

            async def to_board():
                while data := await reader.read(4096):
                    board_writer.write(data * 3)

            async def to_host():
                deframer = Deframer()
                while data := await board_reader.read(4096):
                    for item in deframer.feed(data):
                        if isinstance(item, bytes):
                            if forge and item[1] == ids.REPLY:
                                item = item[:-1] + bytes([item[-1] ^ 1])
                            writer.write(frame(item))

            both = [asyncio.create_task(each()) for each in (to_board, to_host)]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for each in (writer, board_writer):
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            ended.set()

        async with await asyncio.start_server(relay, host, 0) as server:
            address = f"tcp://{host}:{server.sockets[0].getsockname()[1]}"
            async with boardwarden.connect(address, key=secret[1]) as connected:
                lease = await connected.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="a")
                await connected.wait_sample()
                assert [each.owner for each in connected.allocations] == ["secret", "a"]
                forge = True
                with pytest.raises(boardwarden.RequestTimeout):
                    await connected._session.request(ids.PING, timeout=1.0)
                forge = False
                await connected.release(lease.id)
            await ended.wait()


def test_keys_are_put_on_a_board_checked_renewed_and_forgotten(tmp_path, monkeypatch):
    folder = tmp_path / "board"
    folder.mkdir()
    file = str(tmp_path / "fleet.key")
    board = ReplBoard(folder)
    board.put({"main.py": b"print('application runs')\n"})

    def stored():
        return board.files().get(keys.BOARD_FILE, b"").decode().splitlines()

    assert run("key", "new", file).returncode == 0
    assert os.stat(file).st_mode & 0o777 == 0o600
    with board:
        assert run("key", "check", file, "--board", board.port).returncode == 2
        put = run("key", "put", file, "--board", board.port)
        assert (put.returncode, put.stderr) == (0, "")
        assert run("key", "check", file, "--board", board.port).returncode == 0
    secret = keys.load(file)
    names = [f"{right} {board_key(secret.generations[0], number, b'').hex()}"
             for number, right in ((1, "observe"), (2, "control"))]  # fmt: skip
    assert stored() == names
    assert "had a former one" not in run("key", "renew", file).stdout
    again = str(tmp_path / "again.key")
    keys.save(again, keys.load(file))
    assert "had a former one" in run("key", "renew", again).stdout
    with board:
        assert run("key", "put", file, "--board", board.port).returncode == 0
    assert len(stored()) == 4
    assert set(names) < set(stored())
    assert run("key", "forget", file).returncode == 0
    with board:
        assert run("key", "put", file, "--board", board.port).returncode == 0
    assert len(stored()) == 2
    assert not set(names) & set(stored())
    shown = put.stdout + put.stderr
    assert not any(line.split()[1] in shown for line in [*names, *stored()])
