"""The command line as a process of its own, with fake boards at terminals."""

import asyncio
import json
import os
import pty
import re
import signal
import sysconfig
import time

import pytest
from cli_process import (
    LIMIT_S,
    SOON,
    CommandOnTerminal,
    finish,
    line_of,
    one_sentence,
    run,
    start,
)
from places import REPO

pytestmark = pytest.mark.usefixtures("no_leftovers")

# --- watching -----------------------------------------------------------------------------------


async def test_watch_in_a_pipe_prints_a_line_a_sample(fake):
    process = await start("watch", "--board", fake.port)
    for second in range(10, 14):
        line = await line_of(process)
        assert line.startswith(f"up {second} s ")
        assert len(line.rstrip("\n")) <= 80
        fake.board.sample()
    assert "cpu 12 %" in line
    assert "used 59 KB" in line
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.status, done.err) == (130, "")


async def test_watch_in_json_prints_an_object_a_sample(fake):
    process = await start("watch", "--board", fake.port, "--json")
    for second in range(10, 14):
        assert json.loads(await line_of(process))["cpu"]["uptime_s"] == second
        fake.board.sample()
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["people", "json"])
async def test_watch_reports_a_lost_link_and_the_time_of_the_last_sample(fake, options):
    process = await start("watch", "--board", fake.port, *options)
    await line_of(process)
    fake.vanish()
    stream = process.stderr if options else process.stdout

    async def lost():
        while b"link lost; the last sample came at " not in await stream.readline():
            assert process.returncode is None

    await asyncio.wait_for(lost(), LIMIT_S)
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


async def test_watch_ends_quietly_when_its_pipe_is_closed(fake):
    process = await start("watch", "--board", fake.port)
    await line_of(process)
    process.stdout._transport.close()
    err = asyncio.create_task(process.stderr.read())
    deadline = time.monotonic() + LIMIT_S
    while not err.done():  # one sample may come before it waits for the next
        assert time.monotonic() < deadline, "it goes on for nobody"
        fake.board.sample()
        await asyncio.wait([err], timeout=0.1)
    assert await err == b""
    assert await asyncio.wait_for(process.wait(), LIMIT_S) == 141


@pytest.fixture
async def terminal(fake):
    """Return a function that starts `watch` on a terminal of its own."""
    started = []

    async def start_watch(*boards, errors=None, **environment):
        env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80", "LINES": "24"}
        words = boards or ("--board", fake.port)
        env |= environment
        started.append(CommandOnTerminal("watch", *words, environment=env, errors=errors))
        return started[0]

    yield start_watch
    for command in started:
        await command.close()


@pytest.mark.parametrize(
    ("end", "status"),
    [(b"q", 0), (b"\x03", 130), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["q", "ctrl-c", "SIGINT", "SIGTERM", "SIGHUP"],
)
async def test_watch_draws_on_a_terminal_and_restores_it(fake, terminal, end, status):
    command = await terminal()
    await command.until(b"up 10 s")
    fake.board.sample()
    await command.until(b"up 11 s")
    if isinstance(end, bytes):
        command.press(end)
    else:
        command.interrupt(end)
    assert await command.status() == status
    assert b"Traceback" not in command.seen
    assert command.left_as_it_was()


@pytest.mark.parametrize("typed", [b"\xff", b"\xe9"], ids=["no-byte", "latin-1"])
async def test_watch_goes_on_after_a_key_that_is_no_utf_8(fake, terminal, typed):
    command = await terminal()
    await command.until(b"up 10 s")
    command.press(typed)
    fake.board.sample()
    await command.until(b"up 11 s")
    status = asyncio.create_task(command.status())
    while not status.done():  # what comes together with such a byte is lost with it
        command.press(b"q")
        await asyncio.wait([status], timeout=0.3)
    assert await status == 0
    assert b"Traceback" not in command.seen
    assert command.left_as_it_was()


@pytest.mark.alone
async def test_watch_ends_within_two_seconds_when_its_terminal_stops_reading(fake, terminal):
    command = await terminal()
    await command.until(b"up 10 s")
    ending = asyncio.create_task(command.exit_status())
    for _ in range(300):  # draws until the terminal's buffer is full, which nobody empties
        for key in b"7123456":
            if not ending.done():
                command.press(bytes([key]))
                await asyncio.sleep(0.02)
        if ending.done() or not command.takes_output():
            break
    full = time.monotonic()
    assert await ending == 129
    assert time.monotonic() - full < 2.0
    assert (await run("status", "--board", fake.port)).status == 0  # the port is free


@pytest.mark.alone
async def test_watch_ends_within_two_seconds_when_its_terminal_goes_away(fake, terminal):
    command = await terminal()
    await command.until(b"up 10 s")
    gone = time.monotonic()
    command.hang_up()
    assert await command.exit_status() == 129
    assert time.monotonic() - gone < 2.0
    assert (await run("status", "--board", fake.port)).status == 0


@pytest.mark.parametrize("no_color", ["", "1"])
async def test_a_lost_link_is_shown_with_and_without_colour(fake, terminal, no_color):
    command = await terminal(NO_COLOR=no_color)
    await command.until(b"up 10 s")
    fake.vanish()
    await command.until(b"LINK LOST; the last sample came at")
    command.press(b"q")
    assert await command.status() == 0
    found = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", command.seen)
    assert found
    assert all(red == green == blue for red, green, blue in found) == bool(no_color)


async def test_watch_on_a_dumb_terminal_prints_lines(fake, terminal):
    command = await terminal(TERM="dumb")
    await command.until(b"up 10 s        cpu 12 %")
    command.interrupt()
    assert await command.status() == 130
    assert b"\x1b" not in command.seen


async def test_watch_on_a_terminal_without_utf_8_prints_lines_and_says_why(fake, terminal):
    command = await terminal(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    await command.until(b"up 10 s        cpu 12 %")
    command.interrupt()
    assert await command.status() == 130
    assert b"encoding" in command.seen
    assert b"LC_ALL=C.UTF-8" in command.seen
    assert b"\x1b" not in command.seen
    assert b"\\u" not in command.seen


async def test_watch_in_the_c_locale_draws_as_python_takes_that_for_utf_8(fake, terminal):
    command = await terminal(LC_ALL="C")
    await command.until("╭".encode())
    command.press(b"q")
    assert await command.status() == 0


async def test_watch_without_textual_names_the_extra_to_install(fake, terminal, tmp_path):
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError('no', name='textual')")
    command = await terminal(PYTHONPATH=str(tmp_path))
    assert await command.status() == 2
    sentence = b"boardwarden: boardwarden watch needs Textual: pip install 'boardwarden[tui]'."
    assert command.seen.strip() == sentence
    piped = await start("watch", "--board", fake.port, PYTHONPATH=str(tmp_path))
    assert "up 10 s" in await line_of(piped)
    piped.send_signal(signal.SIGINT)
    await finish(piped)


async def test_watch_names_an_address_with_brackets_while_it_connects(terminal):
    command = await terminal("--board", "tcp://127.0.0.1:9/[/b]")  # for Rich, the end of a style
    assert await command.status() == 2
    assert b"does not name a host and a port" in command.seen


async def test_watch_is_on_the_terminal_though_errors_go_to_a_file(terminal, tmp_path):
    with (tmp_path / "errors").open("w") as errors:
        command = await terminal(errors=errors)
        await command.until(b"up 10 s")
        command.press(b"q")
        assert await command.status() == 0
    assert command.left_as_it_was()
    assert (tmp_path / "errors").read_text() == ""


async def test_watch_of_a_missing_port_does_not_touch_the_terminal(terminal):
    command = await terminal("--board", "/dev/ttyNOPE9", TERM="xterm")
    assert await command.status() == 2
    assert b"There is no port /dev/ttyNOPE9" in command.seen
    assert b"\x1b[?1049h" not in command.seen


# --- what goes wrong: one sentence, status 2 ------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["nonsense", "sim:/no/such.py", "qemu:/no/such.elf", "tcp://host", "/dev/null"]
)
async def test_an_invalid_address_is_one_sentence(address):
    sentence = one_sentence(await run("status", "--board", address))
    assert "a board address is sim, sim:app.py, " in sentence


async def test_without_a_board_the_error_names_the_option_and_the_variable():
    sentence = one_sentence(await run("status"))
    assert "--board" in sentence
    assert "BOARDWARDEN_BOARD" in sentence


async def test_a_missing_port_is_one_sentence():
    assert "plugged in" in one_sentence(await run("watch", "--board", "/dev/ttyNOPE9"))


async def test_a_port_in_use_is_refused_and_the_first_user_goes_on(fake):
    fake.board.interval_s = 0.05
    holder = await start("watch", "--board", fake.port)
    await line_of(holder)
    assert "Another program has" in one_sentence(await run("status", "--board", fake.port))
    await line_of(holder)  # the one that came first goes on
    holder.send_signal(signal.SIGINT)
    assert (await finish(holder)).status == 130
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    section = text.partition("## Several hosts at once\n")[2].partition("\n## ")[0]
    assert 'refused, with "Another program has … open" and exit status 2' in " ".join(
        section.split()
    )


async def test_a_silent_port_advises_deploy():
    near, far = pty.openpty()
    try:
        port = os.ttyname(far)
        sentence = one_sentence(await run("status", "--board", port, waits=SOON))
    finally:
        os.close(near)
        os.close(far)
    assert f"`boardwarden deploy {port} --start main.py` installs it." in sentence


async def test_an_agent_of_another_version_is_one_sentence(fake):
    fake.board.version = (2, 0)
    sentence = one_sentence(await run("status", "--board", fake.port))
    assert "2.0" in sentence
    assert "this host 1." in sentence


@pytest.mark.parametrize("words", [["nope"], ["status", "--nope"], ["trends", "--period", "x"]])
async def test_a_usage_error_has_exit_status_2(words):
    done = await run(*words, BOARDWARDEN_BOARD="sim")
    assert done.status == 2
    assert "Traceback" not in done.err


async def test_version_is_printed():
    done = await run("--version")
    assert done.status == 0
    assert done.out.startswith("boardwarden 0.")


async def test_the_installed_command_runs():
    done = await run("--version", command=[sysconfig.get_path("scripts") + "/boardwarden"])
    assert done.out.startswith("boardwarden 0.")


async def test_a_forked_command_ends_and_prints_as_one_that_python_starts():
    for words in (["--version"], ["no-such-command"], ["leases", "--board", "/dev/ttyNOPE9"]):
        forked = await run(*words)
        started = await run(*words, whole=True)
        assert (forked.status, forked.out, forked.err) == (
            started.status,
            started.out,
            started.err,
        )
