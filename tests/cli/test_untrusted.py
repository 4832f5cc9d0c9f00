"""What a board says is data: nothing in it reaches a terminal as something to act on."""

import asyncio
import os
import signal

import pytest
from cli_process import LIMIT_S, TerminalBoard, finish, run, start
from full_board import full_board
from virtual_time import until

from boardwarden.render.text import Printable, harmless, printable
from warden_schema import ids

pytestmark = pytest.mark.usefixtures("no_leftovers")

_EVIL = "\x1b]0;PWNED\x07\x1b[2J\x1b[31mEVIL\x9b31m\u202eabc\r\nFAKE LINE\x7f"
_STRANGE = "\N{REPLACEMENT CHARACTER}"
_SHORT = "\x1b[31mX\x9b2J\n\u202e"
# All that print something of a board once and end; what prints its texts, as JSON, too.
_COMMANDS = (
    *(["status"], ["events"], ["leases"], ["ops"], ["sessions"], ["thresholds"], ["limits"]),
    *(["capabilities"], ["top", "--once"], ["crashes"], ["policy"], ["trends"], ["safe"]),
    *(["alloc", "memory", "1M"], ["release", "99"]),
    *([name, "--json"] for name in ("status", "events", "leases", "ops")),
)


def _lying_board():
    """Return a board that puts escape sequences into every text that it sends."""
    board = full_board()
    board.identity = [_EVIL, _SHORT, _SHORT, b"\x01", _SHORT, _SHORT]
    board.rows = [["/" + _SHORT, 4096, 512, 400, 390]]
    policy = board.policy
    policy.put(ids.LEASE, 0, [1, 0, 8192, "own" + _SHORT, 2, None, 5, None, True, "/" + _SHORT])
    policy.put(ids.OPERATION, 0, [5, _SHORT, 2, 1, 420, _SHORT, None, 5, 5000, None, _SHORT])
    policy.put(ids.SESSION, 0, [6, "ses" + _SHORT, None, None, None, None])
    policy.put(ids.METER, 0, [7, "met" + _SHORT, 0, 1, 100, 5, 10, None])
    policy.put(ids.NEED, 0, ["need" + _SHORT, 3, 1000, 2000])
    policy.quotas["quota" + _SHORT] = [1000, None, None, None]
    policy.crash_lists[ids.RESTART] = _resets(1)
    text = ("f" + _SHORT + ":3 g\nE: " + _EVIL + "\n").encode()
    policy.crash_lists[ids.EXCEPTION] = [[1, 3, "exc" + _SHORT, 1, 5, text]]
    for kind in ("lease", "operation", "knd" + _SHORT):
        policy.happen(kind, 1, "det" + _SHORT, 5)
    board.answer[ids.ALLOCATE] = lambda arguments: (ids.DENIED, ["rsn" + _SHORT, 5, 100, [1, 2]])
    board.answer[ids.RELEASE] = lambda arguments: (ids.FAILED, "Err" + _SHORT)
    return board


def _resets(boot):
    return [[boot, "cse" + _EVIL, 0, 1, boot, 9, "who" + _SHORT, 1, 1, 1, 0, None]]


def _is_clean(text):
    return all(char.isprintable() or char in "\n\t" for char in text)


async def test_no_command_prints_what_a_terminal_acts_on():
    async def check(words):
        terminal = TerminalBoard(_lying_board())
        try:
            done = await run(*words, BOARDWARDEN_BOARD=terminal.port)
        finally:
            terminal.close()
        text = done.out + done.err
        assert _is_clean(text), (words, text)
        assert text, words
        assert not any(line.startswith("FAKE LINE") for line in text.splitlines()), words

    for first in range(0, len(_COMMANDS), 4):
        await asyncio.gather(*map(check, _COMMANDS[first : first + 4]))


@pytest.mark.parametrize("words", [["console"], ["console", "--json"], ["events", "--follow"]])
async def test_what_comes_live_is_clean_too(words):
    terminal = TerminalBoard(_lying_board())
    try:
        process = await start(*words, BOARDWARDEN_BOARD=terminal.port)
        await until(lambda: terminal.board.host_id is not None)
        terminal.board.print("console " + _EVIL + "\r\nits end\n")
        terminal.board.policy.happen("its", None, "end\n" + _SHORT)
        read = b""
        while b"its end" not in read and b"its: end" not in read:
            read += await asyncio.wait_for(process.stdout.read(4096), LIMIT_S)
        process.send_signal(signal.SIGINT)
        done = await finish(process)
        assert _is_clean(read.decode() + done.out + done.err)
    finally:
        terminal.close()


async def test_a_restart_is_told_in_clean_words():
    terminal = TerminalBoard(_lying_board())
    try:
        process = await start("events", "--follow", BOARDWARDEN_BOARD=terminal.port)
        await until(lambda: terminal.board.host_id is not None)
        terminal.board.policy.crash_lists[ids.RESTART] = _resets(2)
        terminal.board.restart()
        read = b""
        while b"running\n" not in read:
            read += await asyncio.wait_for(process.stderr.read(4096), LIMIT_S)
        process.send_signal(signal.SIGINT)
        await finish(process)
        assert _is_clean(read.decode())
        assert b"the board restarted: cse" in read
        assert not any(line.startswith(b"FAKE LINE") for line in read.splitlines())
    finally:
        terminal.close()


async def test_the_differences_that_apply_asks_about_are_clean(tmp_path):
    (tmp_path / "warden.toml").write_text("[session]\n")
    terminal = TerminalBoard(_lying_board())
    try:
        where = os.fspath(tmp_path / "warden.toml")
        done = await run("apply", where, "--dry-run", BOARDWARDEN_BOARD=terminal.port)
    finally:
        terminal.close()
    assert (done.status, _is_clean(done.out + done.err)) == (0, True), done.out + done.err
    assert "quota" in done.out


def test_text_in_pieces_is_as_harmless_as_in_one():
    whole = Printable().feed(_EVIL)
    for size in (1, 2, 3, 7):
        pieces = Printable()
        found = "".join(pieces.feed(_EVIL[at : at + size]) for at in range(0, len(_EVIL), size))
        assert found == whole == f"EVIL{_STRANGE}abc\nFAKE LINE{_STRANGE}"


def test_a_sequence_that_never_ends_is_not_kept():
    for begin in ("\x1b[", "\x9b", "\x1b[ ", "\x1b]"):
        pieces = Printable()
        for _ in range(50):
            pieces.feed(begin + "0" * 20)
            found = "".join(
                pieces.feed("0" * 20 if begin != "\x1b[ " else " " * 20) for _ in range(20)
            )
            assert found, begin


def test_a_name_is_one_line_and_text_may_be_several():
    assert printable("a\nb\tc\x1b[1m") == f"a{_STRANGE}b{_STRANGE}c"
    assert harmless("a\nb\tc\x1b[1m") == "a\nb\tc"
