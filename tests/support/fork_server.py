"""Starts commands by forking a process that has imported them: a fortieth of what Python takes.

What is forked is a process as any other: its own exit status, signals, pipes, terminal, environment
and folder. Only that Python starts and that it imports is not tried again each time.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time

from boardwarden.cli.app import MODULES

# What commands import when they run; and what some do, by their name, before the first of them.
PRELOADED = (
    *(f"boardwarden.cli.{name}" for name in sorted(set(MODULES.values()))),
    "boardwarden.deploy.deploying",
    "boardwarden.plot_data",
    "boardwarden.policy_file",
    "boardwarden.recording.recorder",
    "boardwarden.recording.reading",
    "boardwarden.recording.store",
    "boardwarden.transport.serial_port",
    "boardwarden.transport.sim",
    "boardwarden.transport.tcp",
    "rich.console",
    "rich.live",
    "rich.markup",
    "rich.progress",
    "rich.text",
    "typer.rich_utils",
)
LATER = {
    "plot": "boardwarden.plot_picture",
    "serve": "boardwarden.serve.service",
    "watch": "boardwarden.tui.app",
}
MAX_REQUEST_BYTES = 1 << 17


def serve(control: socket.socket) -> tuple[dict[str, object], list[int]]:
    """Fork a child for each request until the other end closes; return only in the children.

    A child gets its request and its file descriptors: standard input, output, error, and the one
    to which its process id and, after its end, its wait status are written.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who ask for children
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    status_fds: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _report_ends(status_fds)
        if control not in ready:
            continue
        data, fds = _receive(control)
        if not data:
            sys.exit()
        request = json.loads(data)
        for name in LATER.keys() & request["words"]:
            _load(LATER.pop(name))
        pid = os.fork()
        if pid:
            status_fds[pid] = fds.pop()
            for fd in fds:
                os.close(fd)
            continue
        for other in (wake_read, wake_write, *status_fds.values()):
            os.close(other)
        control.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return request, fds


def _load(*modules: str) -> None:
    for name in modules:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child's collections copy nothing


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    room = socket.CMSG_SPACE(4 * fds.itemsize)
    data, ancillary, _, _ = control.recvmsg(MAX_REQUEST_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for _, _, more in ancillary:
        fds.frombytes(more)
    return data, list(fds)


def _report_ends(status_fds: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            fd = status_fds.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(fd, b"end %d\n" % os.waitstatus_to_exitcode(status))
            os.close(fd)


def become(request: dict[str, object], fds: list[int]) -> None:
    """Make this process what Python would be after its start, and run what it was started with."""
    *streams, report = fds
    if request["session"]:
        os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    at_once = os.isatty(1) or "PYTHONUNBUFFERED" in os.environ
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1 if at_once else -1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, closefd=False, errors="backslashreplace"
    )
    os.write(report, b"pid %d\n" % os.getpid())
    os.close(report)
    for name, seconds in request["waits"].items():
        _set(name, seconds)
    _run(request["words"])


def _set(name: str, value: float) -> None:
    """Set what `module:attribute` names; a part of the path may be a key of a dict."""
    module, _, path = name.partition(":")
    *parts, last = path.split(".")
    found = importlib.import_module(module)
    for part in parts:
        found = getattr(found, part)
    if isinstance(found, dict):
        assert last in found, name
        found[last] = value
    else:
        assert hasattr(found, last), name
        setattr(found, last, value)


def _run(words: list[str]) -> None:
    """Do what Python does with the words of its command line: `-m module`, `-c text`, a file."""
    option, *rest = words
    if option == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(rest[0], "<string>", "exec"), names)
    else:
        sys.argv = words
        sys.path[0] = os.path.dirname(os.path.abspath(option))
        runpy.run_path(option, run_name="__main__")


def main() -> None:
    """Serve the socket that is standard input."""
    control = socket.socket(fileno=os.dup(0))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy: a process with threads is not to be forked
    _load(*PRELOADED)
    become(*serve(control))


if __name__ == "__main__":
    main()
