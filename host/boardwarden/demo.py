"""`python -m boardwarden.demo`: two applications, each on two boards, with and without the agent.

One leaks, the other fragments its heap. Each ends after 25 seconds, or DEMO_SECONDS; exit status 1
if a board with the agent did not last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from ._program import Failure, checked_output, fail, print_line, run
from .board import Board, connect
from .grants import Event
from .models import Memory
from .render.text import count, percent, size
from .transport.sim import Sim, board_files, find_micropython

_HEAP_BYTES = 1 << 20
_SECONDS = 25.0
_LEFT = 29  # columns


def _live(memory: Memory) -> str:
    return f"{percent((memory.live_bytes or 0) / (memory.total_bytes or 1))} live"


def _fragmentation(memory: Memory) -> str:
    return f"frag {percent(memory.fragmentation)}"


class Act(NamedTuple):
    """An application, what is wrong with it, and the figure that shows that."""

    application: str
    trouble: str  # begins after the name
    figure: Callable[[Memory], str]


_ACTS = (
    Act(
        "leaky_gateway.py",
        "Its\nuplink is down: what it should have sent piles up.",
        _live,
    ),
    Act(
        "fragmenting_gateway.py",
        "It\ncuts its heap into gaps that are too small for what it needs next.",
        _fragmentation,
    ),
)


def main() -> None:
    """Run the demo; exit status 130 after Ctrl-C."""
    with checked_output():
        run(_demo(_seconds()))


async def _demo(seconds: float) -> None:
    for number, act in enumerate(_ACTS):
        if number:
            print_line("")
        await _play(act, seconds)


async def _play(act: Act, seconds: float) -> None:
    story = Story()
    print_line(
        f"Two simulated boards, each with {size(_HEAP_BYTES)} of heap, run {act.application}. "
        f"{act.trouble}\n\n"
        f"        {'without an agent':{_LEFT}}with boardwarden's"
    )
    bare, guarded = BareBoard(act, story), GuardedBoard(act, story)
    tasks = [asyncio.create_task(board.run()) for board in (bare, guarded)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print_line(f"\nWithout an agent: {bare.outcome()}\nWith boardwarden: {guarded.outcome()}")


class Story:
    """Two columns, and the time since the beginning."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begin

    def show(self, left: str = "", right: str = "") -> None:
        """Print what happened on one board or the other."""
        print_line(f"{self.seconds:5.1f} s {left:{_LEFT}}{right}".rstrip())


class BareBoard:
    """The application on MicroPython, and nothing else."""

    def __init__(self, act: Act, story: Story) -> None:
        self._application = act.application
        self._story = story
        self._last_line = "nothing"  # by the application, last
        self._error = ""
        self._status: int | None = None
        self._ended_s = 0.0

    async def run(self) -> None:
        """Show what it prints until it ends."""
        process = await asyncio.create_subprocess_exec(
            find_micropython(),
            *("-X", f"heapsize={_HEAP_BYTES}", str(board_files()[-1] / self._application)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "MICROPYPATH": ".frozen"},
        )
        try:
            async for line in _lines(process):
                if line.endswith("checks"):
                    self._last_line = line
                    self._story.show(left=line)
                elif "Error" in line:
                    self._error = line.partition(":")[0]
            self._status = await process.wait()
            self._ended_s = self._story.seconds
            self._story.show(left=f"{self._error}: the board is dead")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def outcome(self) -> str:
        """Return how it went, in a sentence or two."""
        if self._status is None:
            passed = f"{self._story.seconds:.0f} s"
            return f"not dead yet after {passed}, give it longer; {self._last_line}."
        return (
            f"died of {self._error} after {self._ended_s:.1f} s (exit status {self._status}),\n"
            f"  after {self._last_line}."
        )


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield line.decode(errors="replace").rstrip()


class GuardedBoard:
    """The same application beside the agent; the host only mirrors what the board decides."""

    def __init__(self, act: Act, story: Story) -> None:
        self.ended = False
        self._act = act
        self._story = story
        self._last_line = "nothing"
        self._counts: Counter[str] = Counter()
        self._given_bytes = 0
        self._refusing = ""  # the last reason shown

    async def run(self) -> None:
        """Show what it prints and its events, until it ends."""
        application = str(board_files()[-1] / self._act.application)
        async with connect(Sim(f"sim:{application}", application, _HEAP_BYTES)) as board:
            showing = asyncio.create_task(self._show_events(board))
            try:
                await self._show_prints(board)
            finally:
                showing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await showing

    async def _show_prints(self, board: Board) -> None:
        text = ""
        async for piece in board.console():
            *lines, text = (text + piece).split("\n")
            for line in map(str.strip, lines):
                if line.endswith("checks"):
                    self._last_line = line
                    figure = self._act.figure(board.status.memory)
                    self._story.show(right=f"{line}, {figure}")
                elif "Error" in line:
                    self.ended = True
                    raise Failure(f"The board with the agent died, too: {line}.", status=1)

    async def _show_events(self, board: Board) -> None:
        async for event in board.events():
            self._counts[f"{event.kind} {event.detail}"] += 1
            self._counts[event.kind] += 1
            if text := self._text_of(event):
                self._story.show(right=f"  {text}")

    def _text_of(self, event: Event) -> str:
        if event.kind == "threshold":
            self._refusing = ""
            if event.subject == "memory":
                return f"{event.detail}: {percent(event.value)} live"
            return f"{event.detail}: largest free block {size(event.value)}"
        if event.kind == "collect":
            return f"collected {size(event.value)} of garbage"
        if event.kind == "trim" and event.value:
            self._given_bytes += int(event.value)
            return f"{event.detail} gave back {size(event.value)}"
        if event.kind == "operation" and event.detail == "preempted":
            return f"preempts operation {event.subject}, which is low"
        if event.kind == "denied" and event.detail != self._refusing:
            self._refusing = event.detail or ""
            return f"refuses what is not urgent: {event.detail}"
        return ""

    def outcome(self) -> str:
        """Return how it went, in a sentence or two."""
        counts = self._counts
        how = "died after" if self.ended else "still working after"
        return (
            f"{how} {self._story.seconds:.0f} s, {self._last_line};\n"
            f"  {count(counts['threshold warn'], 'warning')}, "
            f"{count(counts['threshold critical'], 'time')} critical, "
            f"{size(self._given_bytes)} given back, "
            f"{count(counts['denied'], 'refusal')}, "
            f"{count(counts['operation preempted'], 'preemption')}."
        )


def _seconds() -> float:
    given = os.environ.get("DEMO_SECONDS")
    if not given:
        return _SECONDS
    try:
        return float(given)
    except ValueError:
        fail(f"DEMO_SECONDS must be a number of seconds, not {given!r}.")


if __name__ == "__main__":
    main()
