"""A board that listens inside TLS: who trusts its certificate is served, nothing goes in clear."""

from __future__ import annotations

import asyncio

import pytest
from certificates import certificate
from cli_process import run_and_wait as run
from tcp_board import TcpBoard

import boardwarden
from boardwarden import keys
from boardwarden._protocol.keys import KEY_ENVIRONMENT, board_key
from boardwarden.transport import tcp
from boardwarden.transport.tcp import CA_FILE
from warden_schema import ids


@pytest.fixture
async def served(monkeypatch, tmp_path):
    """Return the address of a board with a key to control, inside TLS; this host has both."""
    made = certificate(tmp_path)
    secret, file = keys.new_secret("control"), tmp_path / "fleet.key"
    keys.save(file, secret)
    key = board_key(secret.generations[0], ids.CONTROL, b"").hex()
    for name, value in {
        "CERTIFICATE": made.board_file,
        "CERTIFICATE_KEY": made.board_key,
        "CONTROL_KEY": key,
        CA_FILE: made.file,
        KEY_ENVIRONMENT: file,
    }.items():
        monkeypatch.setenv(name, str(value))
    async with TcpBoard(monkeypatch, "keyed.py", b"listening\n") as board:
        yield board.address.replace("tcp:", "tls:")


async def test_a_host_that_trusts_the_certificate_commands(served):
    async with boardwarden.connect(served) as connected:
        assert [lease.owner for lease in connected.allocations] == ["secret"]
        lease = await connected.allocate(boardwarden.ResourceType.MEMORY, 1024, owner="ota")
        assert lease.id in [each.id for each in connected.allocations]
        await connected.release(lease.id)


async def test_without_trust_or_without_tls_there_is_a_sentence(served, monkeypatch, tmp_path):
    with monkeypatch.context() as strange:
        strange.setenv(CA_FILE, str(certificate(tmp_path, "other").file))
        finished = await asyncio.to_thread(run, "status", "--board", served)
        assert finished.returncode == 2
        assert "The certificate of 127.0.0.1 is not trusted" in finished.stderr
        assert CA_FILE in finished.stderr
    finished = await asyncio.to_thread(
        run, "status", "--board", served.replace("tls:", "tcp:"), "--timeout", "2"
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    finished = await asyncio.to_thread(run, "status", "--board", served)
    assert finished.returncode == 0, finished.stderr


async def test_a_port_that_speaks_no_tls_is_told_so(monkeypatch):
    monkeypatch.setattr(tcp, "_CONNECT_S", 0.5)
    async with TcpBoard(monkeypatch, "serves.py", b"listening\n") as board:
        with pytest.raises(boardwarden.ConnectError, match="does not speak TLS"):
            async with boardwarden.connect(board.address.replace("tcp:", "tls:")):
                pass
