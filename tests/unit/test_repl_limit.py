"""How long deploy waits for a board's REPL, where the host's process stands still meanwhile."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from boardwarden.deploy import repl
from boardwarden.errors import LinkLost


class Port:
    """A board's line: it says `data` after the process stood still for so long, then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: bytes, stands_s: float) -> None:
        self._now = 0.0
        self._data = data
        self._stands_s = stands_s
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def read(self, count: int) -> bytes:
        self._now += self._stands_s
        self._stands_s = 0.0
        read, self._data = self._data[:count], self._data[count:]
        if not read:
            self._now += 1.0  # its timeout
        return read


def _line(port: Port) -> repl._Line:
    line = repl._Line.__new__(repl._Line)
    line.serial = repl._PatientPort(cast(Any, port))
    line._port, line.device_name = port, "fake"
    return line


def test_what_a_board_said_while_the_host_stood_still_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = _line(Port(monkeypatch, b"raw REPL; CTRL-B to exit\r\n>", 60.0))
    assert line.read_until(1, b">", 2.0).endswith(b">")


def test_an_answer_that_came_while_the_host_stood_still_is_no_restart_of_the_board(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = repl.Repl.__new__(repl.Repl)
    board.address, board._port = "fake", cast(Any, Port(monkeypatch, b"done\x04", 60.0))
    assert board._until_end(repl._Limit(30.0)) == b"done"


def test_a_board_that_says_nothing_is_waited_for_as_long_as_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = repl.Repl.__new__(repl.Repl)
    board.address, board._port = "fake", cast(Any, Port(monkeypatch, b"", 0.0))
    with pytest.raises(LinkLost):
        board._until_end(repl._Limit(30.0))
    assert time.monotonic() == 30.0


def test_a_board_that_stands_still_while_a_program_is_sent_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What mpremote reads once, and takes for an error where it is not there within a second."""
    line = _line(Port(monkeypatch, b"R", 0.0))
    port = line._port
    read, answered = port.read, list[Any]()

    def late(count: int) -> bytes:
        if time.monotonic() == 4.0 and not answered:
            answered.append(port)
            port._data = b"\x01"
        return read(count)

    port.read = late
    assert line.serial.read(2) == b"R\x01"
    assert time.monotonic() == 4.0
    assert line.serial.read(1) == b""
    assert time.monotonic() == 4.0 + repl._PROMPT_S
