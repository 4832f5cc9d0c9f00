"""A request's way to a board and back, beside what people do today on the same board.

Each kind of board is there twice in one run: one with the agent, asked by `board.ping()`, and one
at its raw REPL, given the shortest program there is (`pass`) and the specification's query. They
take turns, so that what else the machine does hits both. Figures are medians.

Both boards have nothing else to do: the agent's application sleeps until its line has something,
the REPL waits at its prompt. Where the board does something the REPL has to break in with Ctrl-C
and to start the application again, which is measured too, on sim: QEMU's firmware does not look
at its REPL's line meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import perf_counter

import boardwarden
from boardwarden.transport.pty_process import PtyProcess
from boardwarden.transport.qemu_machine import QemuMachine
from boardwarden.transport.rawrepl import RawRepl
from boardwarden.transport.sim import find_micropython

from .machine import SHORT_QUERY

Figures = dict[str, float]
_ROUNDS = 60
_LIMIT_S = 60.0
_APPLICATION = "while True:\n    pass\n"


def measure(firmware: Path, qemu: str) -> Figures:
    """Of both kinds of simulated board; `qemu` is the emulator's path."""
    compared = _compare("sim", "sim", _sim_repl(), breaks_in=True)
    figures = asyncio.run(asyncio.wait_for(compared, _LIMIT_S))
    compared = _compare("qemu", f"qemu:{firmware}", _qemu_repl(firmware, qemu))
    return figures | asyncio.run(asyncio.wait_for(compared, _LIMIT_S))


@asynccontextmanager
async def _sim_repl() -> AsyncIterator[RawRepl]:
    process = PtyProcess([find_micropython()], os.environ, "sim")
    try:
        repl = RawRepl(process._stream)
        await repl.enter()
        yield repl
    finally:
        await process.close()


@asynccontextmanager
async def _qemu_repl(firmware: Path, qemu: str) -> AsyncIterator[RawRepl]:
    machine = QemuMachine(qemu, firmware, "qemu")
    try:
        repl = await machine.start()
        await repl.enter()
        yield repl
    finally:
        await machine.close()


async def _compare(
    name: str,
    address: str,
    repl_of: AbstractAsyncContextManager[RawRepl],
    breaks_in: bool = False,
) -> Figures:
    times: dict[str, list[float]] = {"request": [], "pass": [], "query": []}
    async with boardwarden.connect(address, timeout=20.0) as board, repl_of as repl:
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "request": board.ping,
            "pass": lambda: repl.run("pass"),
            "query": lambda: repl.run(SHORT_QUERY),
        }
        for _ in range(_ROUNDS):
            for way, ask in ways.items():
                times[way].append(await _time_of(ask))
        began = perf_counter()
        for _ in range(10_000):
            _ = board.status
        status_s = (perf_counter() - began) / 10_000
        if breaks_in:
            await repl.start(_APPLICATION)
            times["break in"] = [await _time_of(lambda: _break_in(repl)) for _ in range(_ROUNDS)]
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


async def _time_of(ask: Callable[[], Awaitable[object]]) -> float:
    began = perf_counter()
    await ask()
    return perf_counter() - began


async def _break_in(repl: RawRepl) -> None:
    """Stop the application, run the shortest program, and start the application again."""
    await repl.enter()
    await repl.run("pass")
    await repl.start(_APPLICATION)
