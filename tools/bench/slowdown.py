"""How much slower a fixed workload gets beside the agent: in the board's virtual time, exactly."""

from __future__ import annotations

from pathlib import Path

from . import machine

Figures = dict[str, float]
_RATES_HZ = (1, 10)


def beside_agent(firmware: Path) -> Figures:
    """Permille that the workload gets slower, and the interval that the governor kept to."""
    figures: Figures = {}
    alone = _run(firmware, 0).ticks["workload"]
    for rate in _RATES_HZ:
        found = _run(firmware, rate)
        slower = (found.ticks["workload"] / alone - 1) * 1000
        figures[f"slow_down_{rate}_hz_permille"] = round(slower, 2)
        figures[f"interval_{rate}_hz_ms"] = found.heap_bytes["interval"]
    return figures


def _run(firmware: Path, rate_hz: int) -> machine.Rows:
    return machine.run(firmware, "workload", f"RATE_HZ = {rate_hz}\n")
