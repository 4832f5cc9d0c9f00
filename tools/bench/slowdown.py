"""How much slower a fixed workload gets: beside the agent, and polled through the raw REPL.

All in the board's virtual time. Beside the agent nothing waits for the host, and the figures repeat
exactly. Through the REPL the board stands still while the host reads and writes: those are timed.
"""

from __future__ import annotations

from pathlib import Path

from . import machine

Figures = dict[str, float]
_RATES_HZ = (1, 10)
_GARBAGE_BYTES = 512  # a step of 10 ms, in the runs that make any: 50 KB a second
_UNLIMITED = 1000
_SHIPPED = 10

_RESUMABLE = """
import gc
gc.enable()
GARBAGE = 0
from warden import hal
hal.detect()
import machine
def run(steps):
    for _ in range(steps):
        work()
def now():
    return machine.mem32[0x40002004]
"""


def beside_agent(firmware: Path) -> Figures:
    """Permille that the workload gets slower, by rate, budget and whether it makes garbage."""
    figures: Figures = {}
    for garbage in (0, _GARBAGE_BYTES):
        alone = _ticks(firmware, 0, _UNLIMITED, garbage)[0]
        for budget in (_SHIPPED, _UNLIMITED):
            if garbage and budget == _UNLIMITED:
                continue
            for rate in _RATES_HZ:
                ticks, interval_ms = _ticks(firmware, rate, budget, garbage)
                name = f"{rate}_hz" + ("" if budget == _SHIPPED else "_unlimited")
                name += "_with_garbage" if garbage else ""
                figures[f"slow_down_{name}_permille"] = round((ticks / alone - 1) * 1000, 2)
                figures[f"interval_{name}_ms"] = interval_ms
    return figures


def _ticks(firmware: Path, rate: int, budget: int, garbage: int) -> tuple[int, int]:
    before = f"RATE_HZ = {rate}\nBUDGET_PERMILLE = {budget}\nGARBAGE = {garbage}\n"
    found = machine.run(firmware, "workload", before)
    return found.ticks["workload"], found.heap_bytes.get("interval_kept", 0)


def through_repl(firmware: Path) -> Figures:
    """The same work in pieces, the query between them, as a host does that has only the REPL.

    Kindly: the work stops by itself at the right moment and goes on where it was. A real host
    interrupts it with Ctrl-C, and has to start it again.
    """
    source = (machine.PROGRAMS / "workload.py").read_text()
    work = source[source.index("def work") : source.index("class Nobody")]
    figures: Figures = {}
    for rate in _RATES_HZ:
        with machine.board(firmware) as repl:
            machine.execute(repl, _RESUMABLE + work)
            alone = _passed(machine.execute(repl, "t = now()\nrun(1000)\nprint(t, now())"))
            machine.execute(repl, "t = now()")
            for _ in range(10 * rate):
                machine.execute(repl, f"run({100 // rate})")
                machine.execute(repl, machine.SHORT_QUERY)
            polled = _passed(machine.execute(repl, "print(t, now())"))
        figures[f"repl_{rate}_hz_slow_down_ratio"] = round(polled / alone - 1, 4)
    return figures


def _passed(printed: str) -> int:
    began, ended = map(int, printed.split())
    return began - ended & (1 << 30) - 1
