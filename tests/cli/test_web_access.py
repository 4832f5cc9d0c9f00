"""Who may see the page, and from where: over HTTP, with a real server."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from full_board import full_board
from web_client import Client
from web_page import PASSWORD, PageThread, users_file

from boardwarden import errors
from boardwarden.board import Board
from boardwarden.web import requests
from boardwarden.web.access import (
    IDLE_S,
    LONGEST_S,
    Access,
    Brake,
    Sessions,
    UsersFile,
    check_access,
    load_users,
    parse_networks,
    save_users,
)
from warden_schema import ids


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    return users_file(tmp_path_factory.mktemp("users") / "users.json", ada="control", bob="observe")


@pytest.fixture(scope="module")
def page(users):
    with PageThread(Access(UsersFile(users)), {"board": full_board()}) as page:
        yield page


@pytest.fixture
def client(page):
    return Client(page.url, page.port)


@pytest.fixture
def request_of(page):
    """Return the body of a request to the page's board."""

    def of(name="collect", **arguments):
        return {"board": page.terminals["board"].port, "name": name, "arguments": arguments}

    return of


def done(page, operation):
    return [each for each in page.terminals["board"].board.done if each[0] == operation]


def until_connected(page):
    deadline = time.monotonic() + 20
    while not (page.watched[0].board and page.watched[0].board.connected):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- what every answer has ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/static/main.js", 200), ("/api/session", 200), ("/api/fleet/events", 401),
     ("/nothing", 404), ("/static/../users.py", 404), ("/api/board/request", 405)],
)  # fmt: skip
def test_every_answer_forbids_what_the_page_does_not_need(client, path, status):
    found, headers, _ = client.get(path)
    assert found == status
    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


# --- signing in -----------------------------------------------------------------------------------


def test_without_signing_in_nothing_of_a_board_is_answered(client):
    for path in ("/api/fleet/events", "/api/board/events?board=x", "/api/requests"):
        assert client.get(path)[0] == 401
    assert client.post("/api/board/request", {})[0] == 401
    assert client.get("/api/session")[2]["right"] is None


def test_a_session_begins_with_the_password_and_ends_with_signing_out(client):
    status, headers, found = client.login("bob")
    assert (status, found) == (200, {"user": "bob", "right": "observe"})
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/session")[2]["user"] == "bob"
    status, _, text = client.get("/api/fleet/events")
    assert status == 200
    assert "event: fleet" in text
    old = client.cookie
    assert client.post("/api/logout", {})[0] == 200
    client.cookie = old
    assert client.get("/api/session")[2]["right"] is None


def test_a_wrong_password_or_name_is_refused_in_the_same_words(page):
    answers = [
        Client(page.url, page.port).login("ada", "wrong horse")[::2],
        Client(page.url, page.port).login("eve", PASSWORD)[::2],
    ]
    assert answers[0] == answers[1] == (403, {"error": "The name or the password is wrong."})
    assert Client(page.url, page.port).login("ada")[0] == 200  # and the failures are forgotten


def test_a_login_without_a_password_or_of_nonsense_is_refused(client):
    for body in ({}, {"name": 1, "password": []}, "no json", "[" * 100_000, "x" * 200_000):
        assert client.post("/api/login", body)[0] == 400


def test_after_three_failures_the_next_has_to_wait(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("boardwarden.web.access.passed_s", lambda: now[0])
    brake = Brake()
    for _ in range(3):
        assert brake.wait_s("peer") == 0
        brake.failed("peer", "ada")
    assert brake.wait_s("peer") == 2
    assert brake.wait_s("another") == 0
    now[0] += 2
    assert brake.wait_s("peer") == 0
    brake.failed("peer", "ada")
    assert brake.wait_s("peer") == 4
    brake.succeeded("peer", "ada")
    assert brake.wait_s("peer") == 0


def test_sessions_end_when_they_are_idle_and_at_last_in_any_case(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("boardwarden.web.access.passed_s", lambda: now[0])
    sessions = Sessions()
    token = sessions.begin("ada")
    assert len(token) >= 43  # 32 bytes
    now[0] += IDLE_S - 1
    assert sessions.user(token) == "ada"
    now[0] += IDLE_S + 1
    assert sessions.user(token) is None
    token = sessions.begin("ada")
    for _ in range(int(LONGEST_S / 1800)):
        assert sessions.user(token) == "ada"
        now[0] += 1801
    assert sessions.user(token) is None
    assert sessions.user("") is None


def test_who_is_removed_from_the_file_is_signed_out(tmp_path):
    file = users_file(tmp_path / "users.json", ada="control", bob="observe")
    with PageThread(Access(UsersFile(file))) as page:
        client = Client(page.url, page.port)
        client.login("bob")
        assert client.get("/api/session")[2]["right"] == "observe"
        bob = load_users(file)["bob"]
        users_file(file, ada="control")
        assert client.get("/api/session")[2]["right"] is None
        save_users(file, {"bob": replace(bob, right="control")})
        assert client.get("/api/session")[2]["right"] == "control"
        file.write_text("{")
        assert client.get("/api/session")[2]["right"] is None


# --- requests -------------------------------------------------------------------------------------


def test_who_may_control_has_the_board_do_it_and_the_log_says_who(page, client, request_of):
    until_connected(page)
    client.login("ada")
    before = len(done(page, ids.COLLECT))
    status, _, found = client.post("/api/board/request", request_of())
    assert status == 200, found
    assert found["ok"], found
    assert "of garbage" in found["text"]
    assert len(done(page, ids.COLLECT)) == before + 1
    entry = client.get("/api/requests")[2]["requests"][0]
    assert (entry["who"], entry["what"], entry["answer"]) == ("ada", "collect", found["text"])


def test_who_may_only_look_gets_no_request_through(page, client, request_of):
    client.login("bob")
    before = len(page.terminals["board"].board.done)
    status, _, found = client.post("/api/board/request", request_of())
    assert (status, found) == (403, {"error": "You may look, and not change anything."})
    assert len(page.terminals["board"].board.done) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},
        {"X_Boardwarden": None},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
    ],
    ids=str,
)
def test_a_request_that_is_not_of_this_page_is_refused(page, client, request_of, changed):
    client.login("ada")
    before = len(page.terminals["board"].board.done)
    status, _, found = client.post("/api/board/request", request_of(), **changed)
    assert status in (403, 415, 421), found
    assert len(page.terminals["board"].board.done) == before


def test_another_site_reads_nothing_even_with_the_cookie(client):
    client.login("ada")
    assert client.get("/api/session", Origin="https://evil.example")[0] == 403
    assert client.get("/api/fleet/events", Sec_Fetch_Site="cross-site")[0] == 403
    assert client.get("/api/fleet/events", Host="evil.example:8080")[0] == 421


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("nothing", {}, "There is no request 'nothing'."),
        ("interval", {"interval": "soon"}, "The interval must be a duration"),
        ("interval", {"interval": "1h"}, "The interval must be from 20 ms to 10 min."),
        ("interval", {"interval": 5}, "interval must be text."),
        ("release", {"id": "1"}, "id must be a number."),
        ("threshold", {"metric": "colour"}, "There is no metric 'colour'."),
        ("threshold", {"metric": "memory", "warn": "lots"}, "warn must be a fraction"),
        ("threshold", {"metric": "memory", "action": "x"}, "The action must be one of"),
        ("compare_policy", {"text": "intervall = 1"}, "policy:1: intervall: unknown key"),
    ],
)
def test_a_request_that_makes_no_sense_gets_a_sentence(
    client, request_of, name, arguments, sentence
):
    client.login("ada")
    status, _, found = client.post("/api/board/request", request_of(name, **arguments))
    assert status == 400
    assert found["error"].startswith(sentence)


def test_what_the_board_refuses_is_its_answer(page, client, request_of):
    until_connected(page)
    client.login("ada")
    status, _, found = client.post("/api/board/request", request_of("release", id=99))
    assert status == 200
    assert not found["ok"]
    assert "99" in found["text"] or "no" in found["text"].lower()


def test_an_interval_and_a_threshold_can_be_undone(page, client, request_of):
    until_connected(page)
    client.login("ada")
    for name, arguments in (
        ("interval", {"interval": "2 s"}),
        ("threshold", {"metric": "cpu", "warn": "80 %", "hold": "1 s", "action": "tell"}),
    ):
        _, _, found = client.post("/api/board/request", request_of(name, **arguments))
        assert found["ok"], found
        undo = found["undo"]
        _, _, back = client.post(
            "/api/board/request", request_of(undo["name"], **undo["arguments"])
        )
        assert back["ok"], back
    assert [each[1][0] for each in done(page, ids.START_MONITORING)][-2:] == [2000, 1000]
    assert all(each.metric != "cpu" for each in page.watched[0].board.thresholds)


def test_what_an_apply_stored_is_stored_no_more_once_it_is_undone(page, client, request_of):
    until_connected(page)
    client.login("ada")
    board = page.terminals["board"].board
    applied = {"text": "[limits]\nmax_operations = 3\n", "save": True}

    def ask(name, arguments):
        return client.post("/api/board/request", request_of(name, **arguments))[2]

    first = ask("apply_policy", applied)
    assert first["ok"], first
    assert board.policy.stored == 1
    text = ask("policy", {})["policy"]
    # Over a stored one: undone, that is stored again.
    second = ask("apply_policy", {**applied, "text": "[limits]\nmax_operations = 2\n"})
    assert ask(second["undo"]["name"], second["undo"]["arguments"])["ok"]
    assert (board.policy.stored, ask("policy", {})["policy"]) == (1, text)
    assert ask(first["undo"]["name"], first["undo"]["arguments"])["ok"]
    assert board.policy.stored == 0
    assert "max_operations = 4" in ask("policy", {})["policy"]


def test_a_policy_that_is_not_to_be_stored_takes_no_agent_that_stores_one(
    page, client, request_of, monkeypatch
):
    until_connected(page)
    client.login("ada")
    monkeypatch.delitem(page.terminals["board"].board.answer, ids.KEEP)
    for saves in (True, False):
        applied = {"text": "[limits]\nmax_operations = 4\n", "save": saves}
        found = client.post("/api/board/request", request_of("apply_policy", **applied))[2]
        assert found["ok"] is not saves, found


def test_a_policy_that_is_perhaps_not_stored_is_in_force_and_can_be_undone(
    page, client, request_of, monkeypatch
):
    until_connected(page)
    client.login("ada")
    refuses = errors.RequestRefused("The board says nothing.", 1)

    async def save_policy(self, insist=False):
        raise refuses

    monkeypatch.setattr(Board, "save_policy", save_policy)
    applied = {"text": "[limits]\nmax_operations = 3\n", "save": True}
    found = client.post("/api/board/request", request_of("apply_policy", **applied))[2]
    assert not found["ok"]
    assert found["text"].endswith("The policy is in force, but perhaps not stored.")
    undo = found["undo"]
    back = client.post("/api/board/request", request_of(undo["name"], **undo["arguments"]))[2]
    assert back["ok"], back


def test_the_log_tells_boards_of_one_name_apart():
    log = requests.RequestLog()
    for broker in ("one", "two"):
        log.add("ada", f"mqtt://{broker}/green-1", broker, requests.Answer(True, "Done."))
    found = log.entries("mqtt://one/green-1")
    assert [(each["what"], each["board"]) for each in found] == [("one", "green-1")]
    assert len(log.entries()) == 2


# --- where it may be served -----------------------------------------------------------------------


def test_the_page_is_refused_where_strangers_could_read_it(users):
    proxies = parse_networks(["192.0.2.7"])
    known, tls = UsersFile(users), ("cert", "key")
    for host in ("127.0.0.1", "::1", "localhost"):
        check_access(host, Access())
    for access, word in (
        (Access(), "unencrypted"),
        (Access(users=known), "unencrypted"),
        (Access(tls=tls), "--users"),
        (Access(users=known, tls=tls), "--name"),
        (Access(proxies=proxies), "--user-header"),
        (Access(user_header="X-User"), "--proxy"),
        (Access(proxies=proxies, user_header="X-User"), "--name"),
    ):
        with pytest.raises(ValueError, match=word):
            check_access("0.0.0.0", access)
    check_access("192.0.2.1", Access(users=known, tls=tls))
    check_access("0.0.0.0", Access(users=known, tls=tls, names=("b.example",)))
    for name in ("b.example:8443", "https://b.example", "[::1]:80", ""):
        with pytest.raises(ValueError, match="without scheme and port"):
            check_access("192.0.2.1", Access(users=known, tls=tls, names=(name,)))
    check_access("::", Access(users=known, tls=tls, names=("2001:db8::7",)))
    with pytest.raises(ValueError, match="is no address of a proxy"):
        parse_networks(["proxy"])


def test_behind_a_proxy_its_header_says_who_it_is_and_nobody_else_is_answered(users):
    here = Access(UsersFile(users), None, parse_networks(["127.0.0.1"]), "X-User", ("b.example",))
    with PageThread(here, {"board": full_board()}) as page:
        client = Client(page.url, page.port)
        client.origin = "https://b.example"
        with_host = {"Host": "b.example"}
        for user, right in (("ada", "control"), ("bob", "observe"), ("eve", "observe"), ("", None)):
            found = client.get("/api/session", X_User=user, **with_host)[2]
            assert found["right"] == right, user
        assert client.get("/api/session", **with_host)[2]["right"] is None
        assert client.login("ada")[0] == 403  # of another host than the page's
        assert client.post("/api/login", {"name": "ada"}, **with_host)[0] == 404
    elsewhere = Access(UsersFile(users), None, parse_networks(["192.0.2.7"]), "X-User")
    with PageThread(elsewhere) as page:
        status, _, found = Client(page.url, page.port).get("/api/session", X_User="ada")
        assert (status, found["error"]) == (403, "This page is reached through its proxy only.")


def test_without_users_whoever_is_on_this_machine_may_look_and_not_control():
    with PageThread(Access(), {"board": full_board()}) as page:
        client = Client(page.url, page.port)
        assert client.get("/api/session")[2]["right"] == "observe"
        body = {"board": page.terminals["board"].port, "name": "collect"}
        assert client.post("/api/board/request", body)[0] == 403
