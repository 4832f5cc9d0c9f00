"""`boardwarden record`: boards are recorded until Ctrl-C, SIGTERM, or a time is over."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from boardwarden.board import connect
from boardwarden.recording.follower import Follower
from boardwarden.recording.recorder import Recorder
from boardwarden.recording.store import Rotation, Store

from .follow import link_state
from .outcome import Interrupted
from .output import print_json, print_line
from .text import count, duration, percent, size

if TYPE_CHECKING:
    from rich.live import Live

_STOPS = ("SIGINT", "SIGTERM")  # a service manager's stop is as good as Ctrl-C


class Wanted(NamedTuple):
    """What is to be recorded; None: as the board has it, or without end."""

    path: Path
    addresses: list[str]
    rotation: Rotation
    interval: float | None
    seconds: float | None


async def record(wanted: Wanted, as_json: bool) -> None:
    """Record, show how it goes, and say at the end what was recorded."""
    async with contextlib.AsyncExitStack() as boards:
        found = {
            address: await boards.enter_async_context(connect(address))
            for address in wanted.addresses
        }
        if wanted.interval is not None:
            for board in found.values():
                await board.start_monitoring(wanted.interval)
        store = Store(wanted.path, wanted.rotation)
        store.open()
        try:
            with _stops() as stop, _Picture(wanted.path, wanted.addresses) as picture:
                recorder = Recorder(store, found, wanted.interval, picture.show, picture.tell)
                if as_json:
                    print_json({"recording": str(wanted.path), "boards": wanted.addresses})
                await recorder.run(stop.event, wanted.seconds)
        finally:
            store.close()
    _sum_up(recorder, as_json)
    if stop.interrupted:
        raise Interrupted


class _Stop:
    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.interrupted = False

    def __call__(self, name: str) -> None:
        self.interrupted = self.interrupted or name == "SIGINT"
        self.event.set()


@contextlib.contextmanager
def _stops() -> Iterator[_Stop]:
    """Turn Ctrl-C and SIGTERM into an event, so that there is time to write what came last."""
    loop = asyncio.get_running_loop()
    stop = _Stop()
    with contextlib.suppress(NotImplementedError):  # Windows: the last half second is lost
        for name in _STOPS:
            loop.add_signal_handler(getattr(signal, name), stop, name)
    try:
        yield stop
    finally:
        with contextlib.suppress(NotImplementedError):
            for name in _STOPS:
                loop.remove_signal_handler(getattr(signal, name))


class _Picture:
    """How the recording goes: redrawn on a terminal; elsewhere only that a link is lost or back."""

    def __init__(self, path: Path, addresses: list[str]) -> None:
        self._path = path
        self._what = ", ".join(addresses)
        self._live: Live | None = None
        self._connected: dict[str, bool] = {}

    def __enter__(self) -> _Picture:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, auto_refresh=False)
            self._live.start()
        else:
            _say(f"recording {self._what} to {self._path}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, recorder: Recorder) -> None:
        """Show how far it is."""
        if self._live is None:
            return
        from rich.text import Text

        passed = duration(time.monotonic() - recorder.began_at)
        head = f"recording to {self._path} for {passed}, {size(recorder.store.size_bytes)}"
        text = Text(f"{head}; Ctrl-C ends it", overflow="ellipsis", no_wrap=True)
        for follower in recorder.followers:
            style = "" if follower.board.connected else "red"
            text.append("\n" + _line(follower), style=style)
        self._live.update(text, refresh=True)

    def tell(self, follower: Follower) -> None:
        """Tell that a board's link is lost, or back, where that is not seen anyway."""
        connected = follower.board.connected
        if self._live is None and self._connected.get(follower.address, True) != connected:
            _say(f"{follower.address}: {link_state(follower.board)}")
        self._connected[follower.address] = connected


def _say(text: str) -> None:
    print(f"boardwarden: {text}", file=sys.stderr, flush=True)


def _line(follower: Follower) -> str:
    board = follower.board
    memory = board.status.memory
    live = None
    if memory.live_bytes is not None and memory.total_bytes:
        live = memory.live_bytes / memory.total_bytes
    counts = f"{count(follower.samples, 'sample')}, {count(follower.events, 'event')}"
    return f"{follower.address}: {counts}, {percent(live)} live, {link_state(board)}"


def _sum_up(recorder: Recorder, as_json: bool) -> None:
    """Say what was recorded."""
    store, passed = recorder.store, time.monotonic() - recorder.began_at
    samples, events = store.written["sample"], store.written["event"]
    if as_json:
        print_json(
            {
                "recorded": str(store.path),
                "seconds": round(passed, 3),
                "samples": samples,
                "events": events,
                "rotations": store.rotations,
                "size_bytes": store.size_bytes,
            }
        )
        return
    boards = count(len(recorder.followers), "board")
    rotated = f", {count(store.rotations, 'file')} put aside" if store.rotations else ""
    print_line(
        f"{store.path}: {count(samples, 'sample')} and {count(events, 'event')} of {boards} "
        f"in {duration(passed)}, {size(store.size_bytes)}{rotated}"
    )
