"""Commands that a fork server starts: used as those of subprocess and asyncio, and begun at once.

Python itself is started where its environment is another one, under coverage, on other systems than
Linux, and for each command in `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import campaign
import command_environment

# What Python, Typer, Textual and matplotlib read of the environment only once.
_READ_AT_START = ("LANG", "LC_", "LD_", "PYTHON", "TERMINAL_WIDTH", "TYPER_", "TEXTUAL", "MPL")
_server = None


_PYTHON = [sys.executable, "-W", "error"]


def words_of(command, environment):
    """Return what follows `python -W error` in a command that may be forked, None for others."""
    command = [os.fspath(word) for word in command]
    if sys.platform != "linux" or campaign.WHOLE or command_environment.measured():
        return None
    if command[:3] != _PYTHON or _at_start(environment) != _at_start(os.environ):
        return None
    return command[3:]


def _at_start(environment):
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_START) and name != "PYTHONUNBUFFERED"
    }


class _Server:
    def __init__(self):
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = Path(__file__).with_name("fork_server.py")
        self.made_for = _at_start(os.environ)
        self._process = subprocess.Popen([*_PYTHON, program], stdin=far)
        far.close()

    def start(self, words, environment, streams, session, waits):
        """Start what `words` stand for after `python -W error`; return its process."""
        status_fd, far = os.pipe()
        request = {
            "words": words,
            "environment": environment,
            "folder": os.getcwd(),
            "session": session,
            "waits": waits,
        }
        fds = [fd if isinstance(fd, int) else fd.fileno() for fd in (*streams, far)]
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        finally:
            os.close(far)
        return Process(status_fd)

    def stop(self):
        """End the server; what it started goes on."""
        self._control.close()
        self._process.wait()


def start(words, environment, streams, session=False, waits=None):
    """Start what `words` stand for after `python -W error`, and return its process.

    streams: the files or descriptors that become its standard streams.
    session: it gets a session of its own, without a terminal that controls it.
    waits: seconds by `module:attribute` that the command waits for instead of its own; where Python
    itself is started it has its own.
    """
    global _server
    if _server is not None and _server.made_for != _at_start(environment):
        stop_server()
    if _server is None:
        _server = _Server()
    return _server.start(words, environment, streams, session, waits or {})


def run(words, environment, timeout, waits=None):
    """Run it to its end; return what subprocess.run() would, as text."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with open(os.devnull, "rb") as nothing:
            process = start(words, environment, [nothing, out, err], waits=waits)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        for each in (out, err):
            each.seek(0)
        text = out.read().decode(), err.read().decode()
        return subprocess.CompletedProcess(words, process.returncode, *text)


def stop_server():
    """End the server, if there is one."""
    global _server
    if _server is not None:
        _server.stop()
        _server = None


class Process:
    """A process that was forked; what subprocess.Popen has of the same names."""

    def __init__(self, status_fd):
        self._said = b""
        self._status_fd = status_fd
        self.returncode = None
        self.pid = None
        while self.pid is None and self.returncode is None:
            self._read()
        os.set_blocking(status_fd, False)

    def fileno(self):
        """Return the file descriptor that becomes readable when it ends."""
        return self._status_fd

    def _read(self):
        data = os.read(self._status_fd, 100)
        *lines, self._said = (self._said + data).split(b"\n")
        for word, number in map(bytes.split, lines):
            if word == b"pid":
                self.pid = int(number)
            else:
                self.returncode = int(number)
        if not data and self.returncode is None:
            raise AssertionError("the fork server ended")

    def __del__(self):
        os.close(self._status_fd)

    def poll(self):
        """Return its exit status, None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                self._read()
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end; raise TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._status_fd], [], [], left)[0]:
                raise subprocess.TimeoutExpired("a forked command", timeout)
        return self.returncode

    def send_signal(self, number):
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class AsyncProcess:
    """The same for a loop, with pipes: what asyncio.subprocess.Process has of the same names."""

    def __init__(self, process):
        self._process = process
        self.pid = process.pid
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self.send_signal = process.send_signal
        self.kill = process.kill
        self.terminate = process.terminate
        self._ended = asyncio.Event()

    @classmethod
    async def start(cls, words, environment, waits=None):
        """Start it with nothing to read."""
        ours, theirs = zip(os.pipe(), os.pipe())  # noqa: B905
        nothing = os.open(os.devnull, os.O_RDONLY)
        process = start(words, environment, [nothing, *theirs], waits=waits)
        for fd in (nothing, *theirs):
            os.close(fd)
        self = cls(process)
        loop = asyncio.get_running_loop()
        for reader, fd in zip((self.stdout, self.stderr), ours):  # noqa: B905
            protocol = asyncio.StreamReaderProtocol(reader)
            pipe = os.fdopen(fd, "rb", buffering=0)
            await loop.connect_read_pipe(lambda protocol=protocol: protocol, pipe)
        loop.add_reader(process.fileno(), self._on_status)
        return self

    def _on_status(self):
        if self._process.poll() is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            self._ended.set()

    @property
    def returncode(self):
        """Its exit status, None while it runs."""
        return self._process.returncode

    async def wait(self):
        """Wait for its end; return its exit status."""
        await self._ended.wait()
        return self.returncode

    async def communicate(self):
        """Read both pipes to their ends and wait; return what was in them."""
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err
