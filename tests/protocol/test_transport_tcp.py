"""TCP, against real sockets on the loopback."""

import asyncio
import socket
import ssl
import struct
import threading
import time

import pytest
from certificates import signed_by_plain_authority

from boardwarden.errors import ConnectError, LinkLost, PortMissing
from boardwarden.transport import tcp, transport_for

LIMIT_S = 10.0


@pytest.fixture
async def server():
    """Return (port, queue of the (reader, writer) pairs that connected)."""
    arrivals = asyncio.Queue()

    async def arrived(reader, writer):
        await arrivals.put((reader, writer))

    listener = await asyncio.start_server(arrived, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1], arrivals
    listener.close()
    while not arrivals.empty():
        arrivals.get_nowait()[1].transport.abort()


async def end_of_arrival(server):
    """End the next connection that comes to the server."""
    _, writer = await asyncio.wait_for(server[1].get(), LIMIT_S)
    writer.transport.abort()


@pytest.fixture
async def link(server):
    """Return (transport, the board's reader and writer), connected."""
    port, arrivals = server
    transport = transport_for(f"tcp://127.0.0.1:{port}")
    await transport.open()
    reader, writer = await asyncio.wait_for(arrivals.get(), LIMIT_S)
    yield transport, reader, writer
    await transport.close()
    writer.transport.abort()


async def test_bytes_pass_both_ways_without_delay(link):
    transport, reader, writer = link
    writer.write(b"\xc0up\x00")
    assert await asyncio.wait_for(transport.read(), LIMIT_S) == b"\xc0up\x00"
    await transport.write(b"down")
    assert await asyncio.wait_for(reader.readexactly(4), LIMIT_S) == b"down"
    raw = transport._writer.get_extra_info("socket")
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for name, value in tcp._DEAD_AFTER.items():
        if hasattr(socket, name):
            assert raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


async def test_a_connection_that_is_reset_at_once_is_an_end_of_the_link():
    def reset(reader, writer):
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    listener = await asyncio.start_server(reset, "127.0.0.1", 0)
    said = {"closes the connection at once"}
    try:
        for _ in range(20):  # before, while and after it is opened
            transport = transport_for(f"tcp://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
            try:
                await transport.open()
                assert await asyncio.wait_for(transport.read(), LIMIT_S) == b""
            except ConnectError as error:
                said.add(str(error).partition(" 127.0.0.1 ")[2].partition(":")[0])
            await transport.close()
    finally:
        listener.close()
    assert said == {"closes the connection at once"}


async def test_a_closed_connection_before_it_is_set_up_is_an_end_of_the_link(server, monkeypatch):
    def closed(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("asyncio.trsock.TransportSocket.setsockopt", closed)
    transport = transport_for(f"tcp://127.0.0.1:{server[0]}")
    await transport.open()
    await transport.close()
    await end_of_arrival(server)


async def test_a_name_with_several_addresses_is_tried_at_each(server, monkeypatch):
    port, _ = server
    places = [("127.0.0.2", port), ("127.0.0.3", port), ("127.0.0.1", port)]

    def found(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    transport = transport_for(f"tcp://board.example:{port}")
    await transport.open()
    await transport.close()
    await end_of_arrival(server)
    del places[-1]
    with pytest.raises(PortMissing, match=f"Nothing listens on port {port} of board.example"):
        await transport.open()


def test_no_program_waits_at_its_end_for_a_resolver_that_hangs(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(4 * LIMIT_S) and [])
    monkeypatch.setattr(tcp, "_CONNECT_S", 0.1)
    began = time.monotonic()
    try:
        with pytest.raises(ConnectError, match="did not answer within"):
            asyncio.run(transport_for("tcp://board.example:8765").open())
        assert time.monotonic() - began < LIMIT_S
    finally:
        over.set()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_closed_connection_ends_reads_and_fails_writes(link, how):
    transport, _, writer = link
    (writer.close if how == "close" else writer.transport.abort)()
    assert await asyncio.wait_for(transport.read(), LIMIT_S) == b""

    async def write_until_it_shows():
        while True:
            await transport.write(b"x")

    with pytest.raises(LinkLost):
        await asyncio.wait_for(write_until_it_shows(), LIMIT_S)


async def test_close_wakes_the_reader_and_open_connects_again(link, server):
    transport, _, _ = link
    reading = asyncio.create_task(transport.read())
    await asyncio.sleep(0)
    await transport.close()
    await transport.close()
    assert await asyncio.wait_for(reading, LIMIT_S) == b""
    assert await transport.read() == b""
    with pytest.raises(LinkLost):
        await transport.write(b"x")
    await transport.open()
    _, writer = await asyncio.wait_for(server[1].get(), LIMIT_S)
    writer.write(b"again")
    assert await asyncio.wait_for(transport.read(), LIMIT_S) == b"again"
    writer.transport.abort()


async def test_a_port_where_nobody_listens_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(PortMissing, match=f"Nothing listens on port {port}"):
            await transport_for(f"tcp://127.0.0.1:{port}").open()


async def test_an_unknown_host_is_named():
    with pytest.raises(PortMissing, match=r"There is no host 'no-such-board\.invalid'"):
        await transport_for("tcp://no-such-board.invalid:80").open()


async def test_a_host_that_does_not_answer_times_out(monkeypatch):
    monkeypatch.setattr(tcp, "_CONNECT_S", 0.05)
    with socket.socket() as full:
        # Nobody accepts, and the one place in the queue is taken: the next SYN gets no answer.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address, LIMIT_S), pytest.raises(ConnectError) as caught:
            await transport_for(f"tcp://127.0.0.1:{address[1]}").open()
    assert "did not answer" in str(caught.value)


async def test_an_authority_without_key_usage_is_believed_where_the_user_names_it(
    monkeypatch, tmp_path
):
    authority, signed, key = signed_by_plain_authority(tmp_path)
    monkeypatch.setenv(tcp.CA_FILE, str(authority))
    as_before_3_13 = ssl.create_default_context

    def as_since_3_13(**more):
        context = as_before_3_13(**more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_since_3_13)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(signed, key)
    arrived = asyncio.Event()
    server = await asyncio.start_server(
        lambda reader, writer: arrived.set(), "127.0.0.1", 0, ssl=serving
    )
    async with server:
        link = transport_for(f"tls://localhost:{server.sockets[0].getsockname()[1]}")
        await link.open()
        await asyncio.wait_for(arrived.wait(), LIMIT_S)
        await link.close()
