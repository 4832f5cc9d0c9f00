"""What strangers and users send to the web page's server to stop it, or to be taken for others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time

import pytest
from certificates import certificate
from full_board import full_board
from many_boards import StandIn
from web_client import Client
from web_page import PASSWORD, PageThread, users_file

import boardwarden
from boardwarden.testing import FakeTransport
from boardwarden.web import access, app, requests, server
from boardwarden.web.access import Access, Brake, parse_networks
from boardwarden.web.app import Guard
from boardwarden.web.board_view import BoardView
from boardwarden.web.fleet_view import FleetView
from warden_schema import ids


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = users_file(tmp_path_factory.mktemp("users") / "users.json", ada="control")
    with PageThread(Access(access.UsersFile(file)), {"board": full_board()}) as page:
        yield page


@pytest.fixture
def client(page):
    return Client(page.url, page.port)


def opened(page, data=b""):
    """Return a connection to the page on which something was sent."""
    found = socket.create_connection(("127.0.0.1", page.port), 20)
    found.sendall(data)
    return found


def rest(connection):
    """Return all that comes until the server closes."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    connection.close()
    return found


def head(page, *lines, method="POST /api/login"):
    """Return a request's head, as the page itself sends it."""
    own = (f"Host: 127.0.0.1:{page.port}", f"Origin: {page.url.rstrip('/')}", "X-Boardwarden: 1")
    whole = (f"{method} HTTP/1.1", *own, "Content-Type: application/json", *lines, "", "")
    return "\r\n".join(whole).encode()


# --- who holds connections ------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_connection_that_sends_no_whole_request_is_closed(page, monkeypatch, begin):
    monkeypatch.setattr(server, "HEAD_S", 0.1)
    # In the server's loop: it accepts the connection, and begins to wait, when all is sent.
    assert rest(page.call(lambda: opened(page, begin))) == b""


def test_a_body_that_does_not_come_is_not_waited_for(page, monkeypatch):
    read = app._read

    async def read_after_the_head(request):
        monkeypatch.setattr(server, "HEAD_S", 0.1)  # of what is left: the head has come
        return await read(request)

    monkeypatch.setattr(app, "_read", read_after_the_head)
    monkeypatch.setattr(app, "_BODY_S", 0.1)
    assert rest(opened(page, head(page, "Content-Length: 99") + b"{")).startswith(b"HTTP/1.1 400 ")


def test_a_connection_that_comes_as_the_page_ends_is_closed_with_it(monkeypatch):
    shutdown = server.uvicorn.Server.shutdown

    async def unseeing(self, sockets=None):
        """End what was there before this connection came."""
        state = self.server_state
        late, state.connections = state.connections, set()
        await shutdown(self, sockets)
        state.connections = late

    monkeypatch.setattr(server.uvicorn.Server, "shutdown", unseeing)
    monkeypatch.setattr(server, "HEAD_S", 600.0)  # it is not closed for that
    with PageThread() as page:
        late = opened(page, b"GET")
        with opened(page, head(page, method="GET /")) as next_one:
            assert next_one.recv(12) == b"HTTP/1.1 200"
        page.stop()
        assert rest(late) == b""


def test_more_connections_than_the_boards_can_spare_are_closed_and_the_others_go_on(
    page, client, monkeypatch
):
    client.login("ada")
    cookie = f"Cookie: {client.cookie}"
    stream = opened(page, head(page, cookie, method="GET /api/fleet/events"))
    assert stream.recv(20).startswith(b"HTTP/1.1 200")
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 0)
    assert rest(opened(page)) == b""
    monkeypatch.undo()
    assert stream.recv(100)
    stream.close()
    assert client.get("/api/session")[0] == 200


def test_with_tls_a_connection_that_begins_no_handshake_is_counted_and_closed(
    tmp_path, monkeypatch
):
    made = certificate(tmp_path)
    monkeypatch.setattr(server, "HEAD_S", 600.0)  # longer than `rest` waits
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    with PageThread(Access(tls=(made.file, made.key))) as page:
        silent = opened(page)
        assert rest(opened(page)) == b""  # one too many
        monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
        trusting = ssl.create_default_context(cafile=str(made.file))
        raw = opened(page)
        with trusting.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert rest(tls).startswith(b"HTTP/1.1 200 ")
        silent.close()
    monkeypatch.setattr(server, "HEAD_S", 0.5)
    with PageThread(Access(tls=(made.file, made.key))) as page:
        assert rest(opened(page)) == b""


def test_who_does_not_read_is_disconnected(monkeypatch):
    lost = threading.Event()
    ended = server.Connection.connection_lost

    def connection_lost(self, error):
        ended(self, error)
        lost.set()

    class Small(server.Listening):
        """Connections take their buffers from it: else the system's have to fill first."""

        def __init__(self, *given):
            super().__init__(*given)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr(server, "Listening", Small)
    monkeypatch.setattr(server.Connection, "connection_lost", connection_lost)
    monkeypatch.setattr(server, "STALL_S", 0.2)
    boards = [StandIn(number) for number in range(300)]
    with PageThread(stand_ins=boards) as page, socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.settimeout(20)
        viewer.connect(("127.0.0.1", page.port))
        viewer.sendall(head(page, method="GET /api/fleet/events"))
        assert viewer.recv(20).startswith(b"HTTP/1.1 200")
        assert lost.wait(60)


def test_asking_for_the_head_of_a_stream_opens_none(page, client):
    client.login("ada")
    lines = (f"Cookie: {client.cookie}", "Connection: close")
    found = rest(opened(page, head(page, *lines, method="HEAD /api/fleet/events")))
    assert found.startswith(b"HTTP/1.1 200")
    assert b"text/event-stream" in found


# --- who would be another -------------------------------------------------------------------------


def test_a_request_of_two_lengths_is_refused_and_what_follows_is_not_read(page):
    lengths = ("Content-Length: 5", "Transfer-Encoding: chunked")
    smuggled = head(page, method="GET /api/session")
    found = rest(opened(page, head(page, *lengths) + b"0\r\n\r\n" + smuggled))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_a_page_at_another_port_of_this_machine_reads_nothing(client):
    assert client.get("/api/session", Sec_Fetch_Site="same-site")[0] == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:80@evil.example", "127.0.0.1:x", "[::1", "[::1]evil.example", "", "a b"]
)
def test_what_only_begins_like_the_pages_name_is_not_its_name(client, host):
    assert client.get("/api/session", Host=host)[0] == 421


def test_a_proxy_is_known_on_a_socket_for_both_versions_of_the_internet_protocol():
    guard = Guard(None, Access(None, None, parse_networks(["192.0.2.7"]), "X-User"), "::")
    assert guard._is_proxy({"client": ("::ffff:192.0.2.7", 1)})
    assert not guard._is_proxy({"client": ("::ffff:192.0.2.8", 1)})
    assert not guard._is_proxy({"client": ("2001:db8::7", 1)})


def test_guesses_from_the_addresses_of_one_network_are_counted_together(monkeypatch):
    monkeypatch.setattr("boardwarden.web.access.passed_s", lambda: 0.0)
    brake = Brake()
    for number in range(3):
        brake.failed(f"2001:db8::{number}", "ada")
    assert brake.wait_s("2001:db8::ffff") == 2
    assert brake.wait_s("2001:db8:0:1::") == 0
    brake.succeeded("2001:db8::5", "ada")
    assert brake.wait_s("2001:db8::ffff") == 0


def test_ones_own_password_does_not_forget_the_guesses_of_anothers(monkeypatch):
    monkeypatch.setattr("boardwarden.web.access.passed_s", lambda: 0.0)
    brake = Brake()
    brake.failed("peer", "bob")
    for _ in range(3):
        brake.failed("peer", "ada")
        brake.succeeded("peer", "bob")
    assert brake.wait_s("peer") == 2


def test_two_servers_on_one_machine_do_not_sign_each_others_users_out(page, client):
    client.login("ada")
    own = client.cookie
    with PageThread(page._access) as other:
        another = Client(other.url, other.port)
        another.login("ada")
        assert another.cookie.partition("=")[0] != own.partition("=")[0]
        both = f"{own}; {another.cookie}"
        assert client.get("/api/session", Cookie=both)[2]["user"] == "ada"
        assert another.get("/api/session", Cookie=both)[2]["user"] == "ada"


def test_another_password_ends_the_sessions_that_began_with_the_old_one(tmp_path):
    file = users_file(tmp_path / "users.json", bob="observe")
    with PageThread(Access(access.UsersFile(file))) as page:
        client = Client(page.url, page.port)
        client.login("bob")
        assert client.get("/api/session")[2]["user"] == "bob"
        access.save_users(file, {"bob": access.new_user("bob", "observe", PASSWORD + "!")})
        assert client.get("/api/session")[2]["user"] is None


def test_a_file_of_users_that_others_may_write_or_read_is_refused(tmp_path):
    file = users_file(tmp_path / "users.json", ada="control")
    for mode in (0o602, 0o620, 0o604):
        file.chmod(mode)
        with pytest.raises(access.UsersError, match="chmod 600"):
            access.UsersFile(file)


# --- who would stop the server --------------------------------------------------------------------


def test_a_policy_that_takes_long_to_read_stops_nobody_else(page, client, monkeypatch):
    client.login("ada")
    deadline = time.monotonic() + 20
    while not (page.watched[0].board and page.watched[0].board.connected):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    board = page.terminals["board"].port
    body = {"board": board, "name": "compare_policy", "arguments": {"text": "x" * 16_385}}
    status, _, found = client.post("/api/board/request", body)
    assert (status, found["error"]) == (400, "A policy has at most 16384 characters.")
    answers, read = [], requests.policy_file.loads

    def slowly(text, name):
        answers.append(Client(page.url, page.port).get("/api/session")[0])
        return read(text, name)

    monkeypatch.setattr(requests.policy_file, "loads", slowly)
    body["arguments"]["text"] = "interval = 1"
    sending = threading.Thread(target=client.post, args=("/api/board/request", body))
    sending.start()
    sending.join(20)
    assert answers == [200]


async def test_many_viewers_at_once_are_sent_what_was_made_once():
    view = FleetView([StandIn(number) for number in range(3)])
    view.tick()
    first, second, third = (view.messages() for _ in range(3))
    whole = await anext(first)
    assert b"board2" in whole
    assert await anext(second) is whole
    view.tick()
    assert b"board2" in await anext(third)
    for each in (first, second, third):
        await each.aclose()


async def test_a_viewer_who_does_not_keep_up_gets_everything_again():
    view = FleetView([StandIn(number) for number in range(3)])
    view.tick()
    messages = view.messages()
    assert (await anext(messages)).startswith(b"event: fleet")
    view.tick()
    view.tick()
    assert (await anext(messages)).startswith(b"event: rows")
    for _ in range(200):
        view.tick()
    (viewer,) = view._viewers
    assert len(viewer.unread) < 100  # what waits for who reads nothing has an end
    assert (await anext(messages)).startswith(b"event: fleet")
    view.tick()
    assert (await anext(messages)).startswith(b"event: rows")
    await messages.aclose()


async def test_what_a_board_prints_does_not_pile_up_for_a_viewer_who_does_not_read():
    class Prints:
        async def console(self):
            for number in range(200):
                yield f"{number}" + "x" * 5000
            yield "the end"

    view = BoardView(None, "board", None)
    await asyncio.wait_for(view._follow_console(Prints()), 20)
    assert len(view._printed) <= 32 * 1024
    assert view._printed.endswith("the end")


async def test_a_board_that_refuses_its_meters_is_asked_no_more():
    peer = full_board()
    del peer.answer[ids.TELL_METERS]
    async with boardwarden.connect(FakeTransport(peer)) as board:
        await asyncio.wait_for(BoardView(None, "board", None)._meter(board), 20)
