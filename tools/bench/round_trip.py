"""A request's way to a board and back, beside what people do today on the same board.

Each kind of board is there twice in one run: one with the agent, asked by `board.ping()`, and one
at its raw REPL, given the shortest program there is (`pass`) and the specification's query. They
take turns of a few rounds, so that what else the machine does hits both, and the one whose turn it
is not is stopped (SIGSTOP): QEMU's REPL looks for a line without a pause, and would take a core
from the other. The first rounds of a turn are not counted: they wake processes and fill caches.
Figures are medians.

Both boards have nothing else to do: the agent's application sleeps until its line has something,
the REPL waits at its prompt. Where the board does something the REPL has to break in with Ctrl-C
and to start the application again, which is measured too, on sim: QEMU's firmware does not look
at its REPL's line meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter

import boardwarden
from boardwarden.transport.fd_stream import PtyProcess
from boardwarden.transport.sim import Qemu, QemuMachine, RawRepl, Sim, find_micropython

from .machine import SHORT_QUERY

Figures = dict[str, float]
Ask = Callable[[], Awaitable[object]]
_TURNS = 30
_ROUNDS = 8  # in a turn: a board that is stopped for longer than 2.5 s would count as gone
_UNCOUNTED = 2  # of them
_BREAK_INS = 60
_LIMIT_S = 120.0
_APPLICATION = "print('runs')\nwhile True:\n    pass\n"


def measure(firmware: Path, qemu: str) -> Figures:
    """Of both kinds of simulated board; `qemu` is the emulator's path."""
    compared = _compare("sim", _sim(), _sim_repl(), breaks_in=True)
    figures = asyncio.run(asyncio.wait_for(compared, _LIMIT_S))
    compared = _compare("qemu", _qemu(firmware), _qemu_repl(firmware, qemu))
    return figures | asyncio.run(asyncio.wait_for(compared, _LIMIT_S))


@asynccontextmanager
async def _sim() -> AsyncIterator[tuple[boardwarden.Board, PtyProcess]]:
    transport = Sim("sim", "")
    async with boardwarden.connect(transport, timeout=20.0) as board:
        assert transport._process is not None
        yield board, transport._process


@asynccontextmanager
async def _qemu(firmware: Path) -> AsyncIterator[tuple[boardwarden.Board, PtyProcess]]:
    transport = Qemu(f"qemu:{firmware}", str(firmware))
    async with boardwarden.connect(transport, timeout=20.0) as board:
        assert transport._machine is not None
        yield board, transport._machine._qemu


@asynccontextmanager
async def _sim_repl() -> AsyncIterator[tuple[RawRepl, PtyProcess]]:
    process = PtyProcess([find_micropython()], os.environ, "sim")
    try:
        repl = RawRepl(process.stream)
        await repl._until(b">>> ")  # until then Ctrl-C would end the program
        await repl.enter()
        yield repl, process
    finally:
        await process.close()


@asynccontextmanager
async def _qemu_repl(firmware: Path, qemu: str) -> AsyncIterator[tuple[RawRepl, PtyProcess]]:
    machine = QemuMachine(qemu, firmware, "qemu")
    try:
        repl = await machine.start()
        await repl.enter()
        yield repl, machine._qemu
    finally:
        await machine.close()


async def _compare(
    name: str,
    with_agent: AbstractAsyncContextManager[tuple[boardwarden.Board, PtyProcess]],
    at_repl: AbstractAsyncContextManager[tuple[RawRepl, PtyProcess]],
    breaks_in: bool = False,
) -> Figures:
    times: dict[str, list[float]] = {"request": [], "pass": [], "query": []}
    async with with_agent as (board, one), at_repl as (repl, other):
        await board.start_monitoring(1.0, budget=1.0)  # else requests wait for a host's share
        asked: dict[str, Ask] = {"request": board.ping}
        typed: dict[str, Ask] = {
            "pass": lambda: repl.run("pass"),
            "query": lambda: repl.run(SHORT_QUERY),
        }
        for _ in range(_TURNS):
            with _stopped(other):
                await _take_turn(asked, times)
            with _stopped(one):
                await _take_turn(typed, times)
        began = perf_counter()
        for _ in range(10_000):
            _ = board.status
        status_s = (perf_counter() - began) / 10_000
        if breaks_in:
            await _start_application(repl)
            times["break in"] = [await _time_of(lambda: _break_in(repl)) for _ in range(_BREAK_INS)]
    middle = {way: statistics.median(taken) for way, taken in times.items()}
    figures = {
        f"{name}_request_ms": round(middle["request"] * 1000, 2),
        f"{name}_shortest_exec_ms": round(middle["pass"] * 1000, 2),
        f"{name}_repl_query_ms": round(middle["query"] * 1000, 2),
        f"{name}_request_over_shortest_exec_ratio": round(middle["request"] / middle["pass"], 3),
        f"{name}_repl_query_over_status_read_ratio": round(middle["query"] / status_s),
    }
    if breaks_in:
        ratio = middle["request"] / middle["break in"]
        figures[f"{name}_exec_breaking_in_ms"] = round(middle["break in"] * 1000, 2)
        figures[f"{name}_request_over_exec_breaking_in_ratio"] = round(ratio, 3)
    return figures


@contextmanager
def _stopped(process: PtyProcess) -> Iterator[None]:
    process._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process._process.send_signal(signal.SIGCONT)


async def _take_turn(ways: dict[str, Ask], times: dict[str, list[float]]) -> None:
    for number in range(_ROUNDS):
        for way, ask in ways.items():
            taken = await _time_of(ask)
            if number >= _UNCOUNTED:
                times[way].append(taken)


async def _time_of(ask: Ask) -> float:
    began = perf_counter()
    await ask()
    return perf_counter() - began


async def _break_in(repl: RawRepl) -> None:
    """Stop the application, run the shortest program, and start the application again."""
    await repl.enter()
    await repl.run("pass")
    await _start_application(repl)


async def _start_application(repl: RawRepl) -> None:
    await repl.start(_APPLICATION)
    await repl._until(b"runs")  # until then Ctrl-C would end the program, see above
