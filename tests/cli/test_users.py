"""`boardwarden users`, and the refusals of `boardwarden serve --page`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import stat
import urllib.request

import campaign
import pytest
from certificates import certificate
from cli_process import (
    COMMAND,
    LIMIT_S,
    CommandOnTerminal,
    line_of,
    one_sentence,
    run,
    start,
)
from command_environment import of_command
from web_page import users_file

from boardwarden.web import access

pytestmark = pytest.mark.usefixtures("no_leftovers")


async def typed(*words, text=""):
    """Run the command with text at its standard input; return status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=of_command(),
    )
    out, err = await asyncio.wait_for(process.communicate(text.encode()), LIMIT_S)
    return process.returncode, out.decode(), err.decode()


async def test_users_are_added_listed_and_removed(tmp_path):
    file = str(tmp_path / "users.json")
    status, out, err = await typed("users", "add", file, "ada", "--control", text="long enough\n")
    assert (status, err) == (0, "")
    assert out.startswith("ada may control")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert "long enough" not in (tmp_path / "users.json").read_text()
    await typed("users", "add", file, "bob", text="another one\n")
    listed = await run("users", "list", file, "--json")
    found = json.loads(listed.out)["users"]
    assert found == [{"name": "ada", "right": "control"}, {"name": "bob", "right": "observe"}]
    shown = (await run("users", "list", file)).out.splitlines()
    assert [line.split() for line in shown] == [
        ["name", "may"],
        ["ada", "control"],
        ["bob", "observe"],
    ]
    assert (await run("users", "remove", file, "ada")).status == 0
    assert [*access.load_users(tmp_path / "users.json")] == ["bob"]
    assert os.listdir(tmp_path) == ["users.json"]


async def test_ctrl_c_at_the_password_leaves_a_terminal_that_echoes(tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        file = str(tmp_path / "users.json")
        terminal = CommandOnTerminal("users", "add", file, "ada", environment={})
        try:
            await terminal.until(b"password: ")
            assert await terminal.interrupted(number) == 128 + number
            assert terminal.modes_are_back()
            assert not os.listdir(tmp_path)
        finally:
            await terminal.close()


async def test_ctrl_d_at_the_password_is_one_sentence(tmp_path):
    file = str(tmp_path / "users.json")
    terminal = CommandOnTerminal("users", "add", file, "ada", environment={})
    try:
        await terminal.until(b"password: ")
        terminal.press(b"\x04")
        assert await terminal.status() == 2
        said = b"\r\nboardwarden: No password was typed; nothing was changed.\r\n"
        assert terminal.seen.endswith(said)
        assert terminal.modes_are_back()
        assert not os.listdir(tmp_path)
    finally:
        await terminal.close()


async def test_a_password_that_no_browser_could_send_changes_nothing(tmp_path):
    file = str(tmp_path / "users.json")
    terminal = CommandOnTerminal("users", "add", file, "ada", environment={"LC_ALL": "C.UTF-8"})
    try:
        await terminal.until(b"password: ")
        terminal.press(b"caf\xe9 au lait\n")
        await terminal.until(b"gain: ")
        terminal.press(b"caf\xe9 au lait\n")
        assert await terminal.status() == 2
        assert b"The password is not UTF-8 text" in terminal.seen
        assert b"Traceback" not in terminal.seen
        assert terminal.modes_are_back()
        assert not os.listdir(tmp_path)
    finally:
        await terminal.close()


async def test_a_password_that_is_typed_in_two_ways_changes_nothing(tmp_path):
    file = str(tmp_path / "users.json")
    terminal = CommandOnTerminal("users", "add", file, "ada", environment={})
    try:
        await terminal.until(b"password: ")
        terminal.press(b"long enough\n")
        await terminal.until(b"gain: ")
        terminal.press(b"long enougg\n")
        assert await terminal.status() == 2
        assert b"The two passwords differ; nothing was changed." in terminal.seen
        assert b"enoug" not in terminal.seen
        assert not os.listdir(tmp_path)
    finally:
        await terminal.close()


async def test_wrong_uses_get_a_sentence_and_lose_nothing(tmp_path):
    file = tmp_path / "users.json"
    users_file(file, ada="control")
    before = file.read_bytes()
    for words, sentence in (
        (("add", file, "bob"), "has 8 to 1024 characters"),  # it reads an empty one
        (("add", file, "b\x1bob"), "is no user's name"),
        (("add", file), "takes the name of a user"),
        (("list", file, "ada"), "takes no name"),
        (("remove", file, "ada", "--json"), "--json goes with list"),
        (("remove", file, "eve"), "has no user 'eve'"),
        (("list", tmp_path / "none"), "Cannot read"),
        (("dance", file), "users takes add, remove or list"),
    ):
        assert sentence in one_sentence(await run("users", *map(str, words)))
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 50_000,
        '{"format": 2, "users": []}',
        '{"format": 1, "users": [{"name": "a"}]}',
        '{"format": 1, "users": [{"name": "a", "right": "root", "salt": "00", "hash": "00"}]}',
        json.dumps({"format": 1, "users": [
            {"name": "a", "right": "observe", "salt": "00" * 16, "hash": "00" * 32, "n": 1 << 30}
        ]}),
        json.dumps({"format": 1, "users": [
            {"name": "a", "right": "observe", "salt": "00" * 16, "hash": "00" * 32, "n": 1 << 17}
        ]}),
        json.dumps({"format": 1, "users": [
            {"name": ["a"], "right": "observe", "salt": "00" * 16, "hash": "00" * 32}
        ]}),
    ],
)  # fmt: skip
def test_a_file_that_is_none_of_users_lets_nobody_in(tmp_path, text):
    file = tmp_path / "users.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(access.UsersError, match=r"is no file of users|of a newer boardwarden"):
        access.load_users(file)


def test_a_password_is_checked_against_its_hash():
    user = access.new_user("ada", access.CONTROL, "correct horse")
    assert access.is_password(user, "correct horse")
    assert not access.is_password(user, "correct horses")
    assert not access.is_password(None, "correct horse")
    assert access.new_user("ada", access.CONTROL, "correct horse").hash != user.hash


def test_the_most_that_a_file_may_ask_for_can_be_computed(tmp_path):
    file = tmp_path / "users.json"
    user = {"name": "a", "right": "observe", "salt": "00" * 16, "hash": "00" * 32}

    def asks_for(n):
        asked = {"n": n, "p": campaign.of(16, 1)}
        file.write_text(json.dumps({"format": 1, "users": [{**user, **asked}]}))

    file.touch(0o600)
    asks_for(1 << 16)
    assert not access.is_password(access.load_users(file)["a"], "correct horse")
    asks_for(1 << 17)  # scrypt itself would raise
    with pytest.raises(access.UsersError, match="is no file of users"):
        access.load_users(file)


@pytest.mark.parametrize("length", [7, 1025])
def test_how_long_a_password_may_be_is_said(length):
    with pytest.raises(access.UsersError, match="has 8 to 1024 characters"):
        access.new_user("ada", access.CONTROL, "x" * length)


async def test_the_page_is_not_served_to_strangers(tmp_path):
    file = str(users_file(tmp_path / "users.json", ada="control"))
    page = ("serve", "--board", "sim", "--listen", "127.0.0.1:0", "--page")
    for words, sentence in (
        ((*page, "0.0.0.0:0"), "would cross the network unencrypted"),
        ((*page, "0.0.0.0:0", "--users", file), "would cross the network unencrypted"),
        ((*page, "8080"), "is not an address to listen on"),
        ((*page, "127.0.0.1:0", "--tls-cert", "x"), "--tls-cert and --tls-key go together"),
        ((*page, "127.0.0.1:0", "--users", "/none"), "Cannot read /none"),
        ((*page, "127.0.0.1:0", "--proxy", "me"), "is no address of a proxy"),
        (("serve", "--board", "sim", "--users", file), "go with --page"),
    ):
        assert sentence in one_sentence(await run(*words))


async def test_with_a_certificate_the_page_is_served_over_tls(tmp_path):
    made = certificate(tmp_path)
    file = users_file(tmp_path / "users.json", ada="control")
    process = await start(
        *("serve", "--board", "tcp://127.0.0.1:1", "--listen", "127.0.0.1:0"),
        *("--page", "127.0.0.1:0", "--users", str(file)),
        *("--tls-cert", str(made.file), "--tls-key", str(made.key)),
    )
    await line_of(process)
    line = await line_of(process)
    assert "the file of users says who may look" in line
    url = line.removeprefix("the page is at ").partition(";")[0]
    assert url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=str(made.file))

    def get():
        with urllib.request.urlopen(f"{url}api/session", context=trusting, timeout=LIMIT_S) as got:
            return json.load(got)

    assert (await asyncio.to_thread(get))["right"] is None
    wrong = await run(
        *("serve", "--board", "tcp://127.0.0.1:1", "--listen", "127.0.0.1:0"),
        *("--page", "127.0.0.1:0", "--tls-cert", str(made.key), "--tls-key", str(made.file)),
    )
    assert "are no certificate and its key" in wrong.err
