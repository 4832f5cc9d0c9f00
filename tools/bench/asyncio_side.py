"""What an asyncio application pays for the agent: instructions of a step, a task, a request."""

from __future__ import annotations

from pathlib import Path

from . import machine, peers

Figures = dict[str, float]
_WAYS = {"alone": None, "watched": True, "untimed": False}  # what start(steps=…) is given


def measure(firmware: Path, requests: int = 1000, with_peers: bool = True) -> Figures:
    """Of each kind of work: alone, beside the agent, and beside one with start(steps=False).

    requests: to the server under load, 0 for none; with_peers: microdot as a server, too.
    """
    files = peers.microdot() if with_peers else {}
    figures: Figures = {}
    for way, steps in _WAYS.items():
        before = f"STEPS = {steps}\nREQUESTS = {requests}\n"
        found = machine.run(firmware, "asyncio_cost", before, ["meter"], files)
        if found.heap_bytes.pop("faults", 0):
            raise machine.ProgramFailed("the agent counted exceptions of its own")
        for row, count in found.heap_bytes.items():
            name = f"asyncio_{row}_{way}"
            figures[f"{name}_instructions"] = machine.instructions(found.ticks[row])
            if count > 0:
                figures[f"{name}_heap_bytes"] = count
    return figures
