"""Notices of `serve --notify`, at a real HTTP server: each once, in quiet times later."""

import asyncio
import contextlib
import logging
import signal
import time
from datetime import datetime
from types import SimpleNamespace

import pytest
from certificates import certificate
from cli_process import TerminalBoard, finish, kill_started, line_of, run, start
from free_ports import free_port
from full_board import full_board
from test_serve import _until_up
from virtual_time import until
from webhook_server import WebhookServer

from boardwarden._protocol import subscription
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.serve import notify
from boardwarden.serve.notify import Notifier, Quiet, Webhook, check_url, parse_quiet
from boardwarden.serve.watched import Watched
from warden_schema import ids

_CPU = THRESHOLD_METRICS.index("cpu")


@pytest.fixture(autouse=True)
async def quick(monkeypatch):
    """Shorten what is waited for, and end every command with its test."""
    monkeypatch.setattr(notify, "_GATHER_S", 0.02)
    monkeypatch.setattr(notify, "_RETRY_PAUSE_S", (0.05, 0.2))
    monkeypatch.setattr(notify, "_LOOK_S", 0.02)
    monkeypatch.setattr(notify, "_LAST_S", 0.5)
    monkeypatch.setattr(subscription, "KEEPALIVE_S", 0.25)
    monkeypatch.setattr(subscription, "SILENCE_S", 1.0)
    yield
    await kill_started()


@contextlib.contextmanager
def soon_lost(monkeypatch):
    """Have a board that is gone told so soon: on a busy machine one that is there may be silent."""
    with monkeypatch.context() as soon:
        soon.setattr(notify, "LOST_S", 0.3)
        yield


def notice(number, kind="critical"):
    return {"kind": kind, "board": "sim", "text": f"sim: thing {number}"}


# --- boards ---------------------------------------------------------------------------------------


class Followed:
    """A fake board that is followed, with its notices at a server; a context manager."""

    def __init__(self, board):
        self.board = board

    async def __aenter__(self):
        self.server = WebhookServer().__enter__()
        self.terminal = TerminalBoard(self.board)
        self.notifier = await Notifier(Webhook(self.server.url)).__aenter__()
        self.watched = Watched(self.terminal.port, [self.notifier])
        self._task = asyncio.create_task(self.watched.follow())
        await until(lambda: self.watched.snapshot().up)
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.notifier.__aexit__()
        self.terminal.close()
        self.server.__exit__()

    async def kinds(self, *wanted):
        """Wait until notices of these kinds came, and check that they are all."""
        await until(lambda: len(self.server.notices) >= len(wanted), 20.0)
        assert [each["kind"] for each in self.server.notices] == [*wanted]
        return self.server.notices


async def test_crossings_and_crashes_are_told_once_and_what_was_before_is_not():
    board = full_board()
    board.policy.happen("threshold", _CPU, "critical", 990)  # long ago
    async with Followed(board) as one:
        happen = board.policy.happen
        happen("threshold", _CPU, "clear", 100)
        happen("threshold", _CPU, "warn", 800)
        happen("threshold", _CPU, "critical", 990)
        happen("threshold", _CPU, "warn", 800)  # down
        happen("denied", None, "memory", 4096)
        happen("exception", 0, "sync: OSError", 1)
        happen("hang", 0, "sync", 5000)
        happen("hang", 1, "sync", 6000)  # over
        found = await one.kinds("warn", "critical", "crash", "hang")
        assert found[1]["text"] == f"{one.terminal.port}: threshold cpu: critical, 99 %"
        assert (found[1]["metric"], found[1]["level"], found[1]["value"]) == (
            "cpu",
            "critical",
            0.99,
        )
        assert found[1]["board"] == one.terminal.port
        assert datetime.fromisoformat(found[1]["at"]).tzinfo is not None
        board.policy.crash_lists[ids.RESTART].append([9, "wdt", 0, 1, 99, 70, "sync", *[None] * 5])
        board.restart()
        board.policy.used = True
        happen("threshold", _CPU, "critical", 990)
        await until(lambda: len(one.server.notices) >= 6, 20.0)
        found = {each["kind"]: each["text"] for each in one.server.notices[4:]}
        assert {*found} == {"crash", "critical"}  # in any order: they come with one state
        assert found["crash"].endswith(
            "the board restarted: watchdog, after 70 s, sync was running"
        )


async def test_a_board_that_is_lost_and_back_is_told_once_each_and_keeps_its_place(monkeypatch):
    async with Followed(full_board()) as one:
        with soon_lost(monkeypatch):
            one.board.mute = True
            await one.kinds("lost")
        one.board.mute = False
        await one.kinds("lost", "back")
        one.board.policy.happen("threshold", _CPU, "critical", 990)
        await one.kinds("lost", "back", "critical")
        # The port goes, and another connection is made: nothing is told again.
        with soon_lost(monkeypatch):
            one.terminal.vanish()
            await one.kinds("lost", "back", "critical", "lost")
        assert "the port is gone" in one.server.notices[-1]["text"]


async def test_events_that_came_while_another_connection_was_made_are_told_once():
    board = full_board()
    async with Followed(board) as one:
        board.policy.happen("threshold", _CPU, "critical", 990)
        await one.kinds("critical")
        one._task.cancel()
        await asyncio.gather(one._task, return_exceptions=True)
        board.policy.happen("threshold", _CPU, "clear", 100)
        board.policy.happen("exception", 0, "sync: OSError", 1)
        one._task = asyncio.create_task(one.watched.follow())
        await one.kinds("critical", "crash")


async def test_a_short_silence_is_not_told(monkeypatch):
    monkeypatch.setattr(notify, "LOST_S", 60.0)
    async with Followed(full_board()) as one:
        one.board.mute = True
        await until(lambda: not one.watched.snapshot().up, 10.0)
        one.board.mute = False
        await until(lambda: one.watched.snapshot().up, 10.0)
        one.board.policy.happen("threshold", _CPU, "critical", 990)
        await one.kinds("critical")


# --- the webhook ----------------------------------------------------------------------------------


def test_a_webhook_that_is_away_gets_it_later_and_that_is_said_once(caplog):
    caplog.set_level(logging.INFO, "boardwarden")
    port = free_port()
    with Webhook(f"http://127.0.0.1:{port}/hook/a-secret") as hook:
        hook.put(notice(1))
        deadline = time.monotonic() + 10
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        hook.put(notice(2))
        with WebhookServer(statuses=[503, 429], port=port) as server:
            server.until(lambda: len(server.notices) == 2)
            ids_ = [post["id"] for post in server.posts]
            assert len({*ids_}) == len(ids_)
    said = [record.message for record in caplog.records]
    assert said == [
        f"Posting to http://127.0.0.1:{port} failed: Connection refused. It is tried again.",
        f"Posting to http://127.0.0.1:{port} works again.",
    ]


@pytest.mark.parametrize("status", [301, 307, 400, 404])
def test_what_a_webhook_refuses_is_given_up_and_said(status, caplog):
    with WebhookServer(statuses=[status]) as server, Webhook(server.url) as hook:
        hook.put(notice(1))
        server.until(lambda: caplog.records)
        hook.put(notice(2))
        server.until(lambda: server.posts)
    assert [each["text"] for each in server.notices] == ["sim: thing 2"]
    (record,) = caplog.records
    assert record.message.endswith(f"what is posted to it: it answers with status {status}.")
    assert "a-secret" not in record.message


def test_too_many_are_counted_and_the_newest_listed():
    with WebhookServer(statuses=[503] * 3, slow=True) as server, Webhook(server.url) as hook:
        hook.put(notice(0, "lost"))
        server.until(lambda: server.tries)
        for number in range(1, 251):
            hook.put(notice(number))
        server.answers.set()
        server.until(lambda: len(server.posts) == 2)
    post = server.posts[1]
    assert post["counts"] == {"critical": 250}
    assert (len(post["notices"]), post["omitted"]) == (100, 150)
    lines = post["text"].splitlines()
    assert lines[0] == "250 notices: 250 critical; the last 10"
    assert lines[-1] == "sim: thing 250"


_DRIPS_S = 2.0  # as `_ANSWER_S`: a whole answer of a busy machine comes sooner


def test_a_webhook_that_answers_byte_by_byte_is_tried_again(caplog, monkeypatch):
    monkeypatch.setattr(notify, "_ANSWER_S", _DRIPS_S)
    with WebhookServer(dripping=2) as server, Webhook(server.url) as hook:
        hook.put({"kind": "lost", "text": "a"})
        server.until(lambda: server.notices)
        hook.put({"kind": "back", "text": "b"})
        server.until(lambda: len(server.notices) == 2)
    assert server.tries == 4
    (failed,) = [each.message for each in caplog.records if "failed" in each.message]
    assert "it did not answer within 2 s." in failed


def test_a_webhook_that_answers_byte_by_byte_inside_tls_is_tried_again(tmp_path, monkeypatch):
    made = certificate(tmp_path)
    monkeypatch.setenv("BOARDWARDEN_CA", str(made.file))
    monkeypatch.setattr(notify, "_ANSWER_S", _DRIPS_S)
    with WebhookServer(dripping=1, tls=made) as server, Webhook(server.url) as hook:
        hook.put({"kind": "lost", "text": "a"})
        server.until(lambda: server.notices)
    assert server.tries == 2


def test_a_webhook_that_never_answers_delays_nobody(caplog, monkeypatch):
    monkeypatch.setattr(notify, "_ANSWER_S", 600.0)  # who waits for that does not end in time
    with WebhookServer(slow=True) as server:
        with Webhook(server.url) as hook:
            hook.put(notice(0))
            server.until(lambda: server.tries)
            for number in range(1000):
                hook.put(notice(number))
        assert (server.tries, server.posts) == (1, [])
    # The one that was being posted is counted, too.
    assert "1001 notices not posted to http://127.0.0.1:" in caplog.text


def test_at_the_end_all_that_was_not_posted_is_counted(caplog):
    with Webhook(f"http://127.0.0.1:{free_port()}/hook") as hook:
        hook.put(notice(0))
        deadline = time.monotonic() + 10
        while not caplog.records:  # that one is being tried
            assert time.monotonic() < deadline
            time.sleep(0.01)
        hook.put(notice(1))
    assert "2 notices not posted to http://127.0.0.1:" in caplog.text


def test_what_a_board_says_is_no_link_and_calls_nobody_in_a_chat():
    text = "sim: exception: <!channel> <https://evil|log in> @here"
    with WebhookServer() as server, Webhook(server.url) as hook:
        hook.put({**notice(0), "text": text})
        server.until(lambda: server.posts)
    (post,) = server.posts
    assert not set("<>") & set(post["text"])
    assert post["text"].endswith("\u2039https://evil|log in\u203a @\u200bhere")
    assert post["notices"][0]["text"] == text  # for programs, as it is


def test_in_quiet_times_nothing_is_posted_and_one_summary_comes_after_them(monkeypatch):
    now = datetime(2026, 11, 30, 6, 59)

    def clock():
        asked.append(now)
        return now

    asked = []
    monkeypatch.setattr(notify, "datetime", SimpleNamespace(now=clock))
    with WebhookServer() as server:
        quiet = parse_quiet("22:00-07:00")
        with Webhook(server.url, quiet) as hook:
            for number in range(3):
                hook.put(notice(number))
            hook.put(notice(3, "lost"))
            asked.clear()
            server.until(lambda: len(asked) > 3)  # it looks at the clock, and waits
            assert server.tries == 0
            now = datetime(2026, 11, 30, 7, 0)
            server.until(lambda: server.posts)
            hook.put(notice(4))
            server.until(lambda: len(server.posts) == 2)
    first, second = server.posts
    assert first["quiet"] == "22:00-07:00"
    assert first["text"].splitlines() == [
        "4 notices in the quiet times 22:00-07:00: 3 critical, 1 lost",
        *(f"sim: thing {number}" for number in range(4)),
    ]
    assert second["quiet"] is None
    assert second["text"] == "sim: thing 4"


def test_what_could_not_be_posted_before_quiet_times_is_tried_again_after_them(monkeypatch):
    now = datetime(2026, 1, 1, 21, 59)

    def clock():
        asked.append(now)
        return now

    asked = []
    monkeypatch.setattr(notify, "datetime", SimpleNamespace(now=clock))
    quiet = parse_quiet("22:00-07:00")
    with WebhookServer(statuses=[500]) as server, Webhook(server.url, quiet) as hook:
        hook.put(notice(0))
        server.until(lambda: server.tries)
        now = datetime(2026, 1, 1, 22, 0)
        server.until(lambda: asked.count(now) > 3)  # it looks at the clock, and waits
        assert (server.tries, server.posts) == (1, [])
        now = datetime(2026, 1, 2, 7, 0)
        server.until(lambda: server.posts)
    assert len(server.posts) == 1


def test_quiet_times_may_go_over_midnight():
    night, noon = parse_quiet("22:00-7:30"), parse_quiet("12:00-13:00")

    def hours(quiet: Quiet) -> list[int]:
        return [hour for hour in range(24) if quiet.has(datetime(2026, 1, 1, hour).time())]

    assert hours(night) == [0, 1, 2, 3, 4, 5, 6, 7, 22, 23]
    assert hours(noon) == [12]
    for text in ("", "22-7", "22:00", "24:00-07:00", "22:00-07:60", "8:00-8:00", "22:00-07:00\n"):
        with pytest.raises(ValueError, match="are no quiet times"):
            parse_quiet(text)


@pytest.mark.parametrize(
    "url", ["", "hook", "ftp://h/x", "http://", "http://h:x/", "http://u:p@h/", "http://h/a b"]
)
def test_what_is_no_url_of_a_webhook_is_refused(url):
    with pytest.raises(ValueError, match="--notify takes"):
        check_url(url)


# --- the command ----------------------------------------------------------------------------------


async def test_the_command_posts_and_ends_well():
    board = full_board()
    terminal = TerminalBoard(board)
    with WebhookServer() as server:
        words = ("serve", "--board", terminal.port, "--listen", "127.0.0.1:0")
        process = await start(*words, "--notify", server.url)
        await _until_up((await line_of(process)).split()[-1], terminal.port)
        board.policy.happen("threshold", _CPU, "critical", 990)
        await until(lambda: server.posts, 20.0)
        process.send_signal(signal.SIGTERM)
        done = await finish(process)
    terminal.close()
    assert done.status == 0, done.err
    assert [each["kind"] for each in server.notices] == ["critical"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--notify", "ftp://x"], "the URL of a webhook"),
        (["--quiet", "22:00-07:00"], "which is missing"),
        (["--notify", "http://h/", "--quiet", "always"], "are no quiet times"),
    ],
)
async def test_wrong_options_are_one_sentence(words, said):
    done = await run("serve", "--board", "sim", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
