"""Help for tests of the command line: the command as a real process, boards at real terminals."""

import asyncio
import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import tty

import forked
from command_environment import of_command

from boardwarden.errors import LinkLost
from boardwarden.transport.fd_stream import FdStream

LIMIT_S = 60.0
PYTHON = [sys.executable, "-W", "error", "-m"]
COMMAND = [*PYTHON, "boardwarden"]
# Progress is shown earlier; what is waited for takes as long as for its users.
SHOWN_SOON = {"boardwarden.cli.terminal:_SHOW_AFTER_S": 0.2}
# What a command waits for in vain, shorter: where that is on the way of a test, and not its matter.
# Only where nothing answers: on a busy machine what answers may take longer.
SOON = {
    **SHOWN_SOON,
    "boardwarden.board:connect.__wrapped__.__kwdefaults__.timeout": 1.0,
    "boardwarden.doctor.boards:_ANSWER_TIMEOUT_S": 0.5,
    "boardwarden.doctor.checkup:_HELLO_S": 0.7,
    "boardwarden.doctor.repl_look:_ENTER_S": 1.0,
}
# Where a board falls silent in the midst: what it answered before had to come within it, too.
SILENT_SOON = {"boardwarden.board:_REQUEST_TIMEOUT_S": 3.0}
_started = []


class Finished:
    """How a command ended: its exit status, and what it printed."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out.decode()
        self.err = err.decode()


async def start(*arguments, command=COMMAND, whole=False, waits=None, **more):
    """Start the command with pipes; BOARDWARDEN_BOARD is only what is given.

    whole: Python starts and imports, too; see `forked`, for waits as well.
    """
    environment = of_command(**more)
    command = [*command, *arguments]
    words = None if whole else forked.words_of(command, environment)
    if words is not None:
        process = await forked.AsyncProcess.start(words, environment, waits)
    else:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    _started.append(process)
    return process


async def kill_started():
    """Kill what still runs: it would look for its terminal, and find that of another test."""
    while _started:
        process = _started.pop()
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def finish(process):
    """Wait for a process's end; fail after LIMIT_S."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except asyncio.TimeoutError:
        raise AssertionError("the command did not end") from None
    return Finished(process.returncode, out, err)


async def run(*arguments, command=COMMAND, whole=False, waits=None, **more):
    """Run the command to its end; `more` is for its environment. whole, waits: see start()."""
    return await finish(await start(*arguments, command=command, whole=whole, waits=waits, **more))


def run_and_wait(*arguments, waits=None, **more):
    """Run the command to its end, as subprocess does; for tests that have no event loop."""
    environment = of_command(**more)
    command = [*COMMAND, *arguments]
    words = forked.words_of(command, environment)
    if words is not None:
        return forked.run(words, environment, 2 * LIMIT_S, waits)
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        env=environment,
    )


async def line_of(process):
    """Return the next line of the process's output."""
    line = await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
    return line.decode()


async def notice_of(process):
    """Return the next line that the process told beside its output."""
    line = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    return line.decode().rstrip("\n")


def one_sentence(finished, status=2):
    """Check that a command failed with one sentence and nothing else; return it."""
    assert (finished.status, finished.out) == (status, "")
    assert finished.err.startswith("boardwarden: ")
    assert finished.err.count("\n") == 1
    return finished.err


@contextlib.contextmanager
def silent_port():
    """Give a serial port at which nothing answers."""
    near, far = pty.openpty()
    tty.setraw(far)
    try:
        yield os.ttyname(far)
    finally:
        os.close(near)
        os.close(far)


class TerminalBoard:
    """A board of boardwarden.testing at a real pseudo-terminal; `port` is the host's address."""

    def __init__(self, board):
        self.fd, self._host_end = pty.openpty()
        tty.setraw(self._host_end)
        os.set_blocking(self.fd, False)
        self.port = os.ttyname(self._host_end)
        self.board = board
        self.board.send = lambda data: os.write(self.fd, data)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fd, self._receive)
        self._life = asyncio.create_task(self._live())

    def _receive(self):
        self.board.receive(os.read(self.fd, 4096))

    async def _live(self):
        while True:
            self.board.step(self._loop.time())
            await asyncio.sleep(0.01)

    def vanish(self):
        """Unplug it; its name is not another's until close(), as who lost it tries again."""
        if self.fd >= 0:
            self._life.cancel()
            self._loop.remove_reader(self.fd)
            self.board.send = lambda data: None
            os.close(self.fd)
            self.fd = -1

    def close(self):
        """Unplug it, and give its name back."""
        self.vanish()
        if self._host_end >= 0:
            os.close(self._host_end)
            self._host_end = -1


class CommandOnTerminal:
    """The command on a terminal of its own; what it wrote there is in `seen`.

    errors: a file for its standard error, instead of the terminal. waits: see start().
    """

    def __init__(self, *arguments, environment, errors=None, waits=None):
        self._terminal, end = pty.openpty()
        self._modes = termios.tcgetattr(self._terminal)
        self._name = os.ttyname(end)
        environment = of_command(**environment)
        streams = [end, end, end if errors is None else errors]
        command = [*COMMAND, *arguments]
        words = forked.words_of(command, environment)
        if words is not None:
            self._process = forked.start(words, environment, streams, session=True, waits=waits)
        else:
            self._process = subprocess.Popen(
                command,
                **dict(zip(("stdin", "stdout", "stderr"), streams)),  # noqa: B905
                env=environment,
                start_new_session=True,
            )
        os.close(end)
        self._stream = FdStream(self._terminal, "the command's terminal")
        self.seen = b""

    async def until(self, mark):
        """Read until the mark comes."""
        while mark not in self.seen:
            data = await asyncio.wait_for(self._stream.read(), LIMIT_S)
            assert data, f"it ended after {self.seen!r}"
            self.seen += data

    def press(self, keys):
        """Type something."""
        os.write(self._terminal, keys)

    def interrupt(self, number=signal.SIGINT):
        """Send a signal; SIGINT is what a terminal makes of Ctrl-C, unless it is told not to."""
        self._process.send_signal(number)

    def hang_up(self):
        """Take the terminal away, as when its window or its connection is closed."""
        self._stream.close()

    def takes_output(self):
        """Return whether a program could write to the terminal now."""
        end = os.open(self._name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return bool(select.select([], [end], [], 0)[1])
        finally:
            os.close(end)

    async def exit_status(self):
        """Wait for the command's end without reading its terminal; return its exit status."""
        return await asyncio.to_thread(self._process.wait, LIMIT_S)

    def left_as_it_was(self):
        """Tell whether the terminal is as before: its modes, its cursor and what was on it."""
        shown = self.seen.rfind(b"\x1b[?25h") > self.seen.rfind(b"\x1b[?25l")
        back = self.seen.rfind(b"\x1b[?1049l") >= self.seen.rfind(b"\x1b[?1049h")
        return self.modes_are_back() and shown and back

    def modes_are_back(self):
        """Tell whether the terminal echoes what is typed, and the rest, as before."""
        return termios.tcgetattr(self._terminal) == self._modes

    async def type(self, keys):
        """Type these bytes."""
        self.press(keys)

    async def status(self):
        """Wait for the command's end; return its exit status."""
        with contextlib.suppress(LinkLost):
            while data := await asyncio.wait_for(self._stream.read(), LIMIT_S):
                self.seen += data
        return await asyncio.to_thread(self._process.wait, LIMIT_S)

    async def interrupted(self, number=signal.SIGINT):
        """Send a signal at a question until it ends; return its exit status.

        One that comes just as Python begins to read a line is seen with that line only.
        """
        ending = asyncio.create_task(self.status())
        while not ending.done():
            self.interrupt(number)
            await asyncio.wait([ending], timeout=5.0)
        return ending.result()

    async def close(self):
        """Make sure that it has ended."""
        self.hang_up()
        if self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
