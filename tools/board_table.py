#!/usr/bin/env python3
"""Write README.md's table of boards: their heap, and what the agent takes of it: `board_table.py`.

What the agent takes is from bench/footprint.json. The heap of a board is what others have published
of its stock firmware, and each figure has its source. `--check` only says whether the table is up
to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boardwarden.deploy.choosing import FILES, FROZEN, LEFT, ROMFS, STATES, Figures, figures_of
from boardwarden.render.text import size

REPO = Path(__file__).resolve().parent.parent
README = REPO / "README.md"
ACCEPTED = REPO / "bench" / "footprint.json"
BEGIN = "<!-- from bench/footprint.json: python tools/board_table.py -->\n"
END = "<!-- end of what tools/board_table.py writes -->\n"
_PROJECT = "https://github.com/micropython/micropython"


@dataclass(frozen=True)
class Stock:
    """A board with its stock firmware.

    heap_bytes: what is free after the start, or what `note` says; source: where it is published;
    romfs: whether the stock firmware has a partition.
    """

    name: str
    heap_bytes: int
    note: str
    source: str
    romfs: bool = False


# Of boards whose heap grows (ESP32), what it may grow by is in it, as in `gc.mem_free()`.
BOARDS = (
    Stock("Raspberry Pi Pico", 215_904, "1.20.0-489", f"{_PROJECT}/issues/12557"),
    Stock("Raspberry Pi Pico W", 192_448, "1.20, the whole heap", f"{_PROJECT}/commit/c80e7c14e6"),
    Stock("ESP32", 58_992 + 110_592, "1.22.0-preview", f"{_PROJECT}/pull/12952"),
    Stock("ESP32-S3, 8 MB PSRAM", 61_824 + 8_257_536, "1.20.0-363", f"{_PROJECT}/issues/12237"),
    Stock("ESP32-C3", 52_608 + 139_264, "1.22.2", f"{_PROJECT}/issues/14293"),
    Stock("STM32F405 (pyboard)", 93_632, "1.6", f"{_PROJECT}/issues/1877"),
    Stock(
        "nRF52840",
        128 * 1024,
        "at least; ROMFS from 1.28",
        f"{_PROJECT}/blob/master/ports/nrf/boards/nrf52840_1M_256k.ld",
        romfs=True,
    ),
    Stock(
        "ESP8266",
        38 * 1024,
        "the whole heap",
        f"{_PROJECT}/blob/master/ports/esp8266/main.c",
    ),
)


def table(figures: Figures, boards: Sequence[Stock] = BOARDS) -> str:
    """Return the table: in each cell what watching and deciding take, as shares of the heap."""
    lines = [
        "| board, stock firmware | heap | as files | in ROMFS | frozen |",
        "| --- | --- | --- | --- | --- |",
    ]
    for board in boards:
        cells = [
            _cell(figures, way, board.heap_bytes) if way != ROMFS or board.romfs else "no partition"
            for way in (FILES, ROMFS, FROZEN)
        ]
        heap = f"[{size(board.heap_bytes)}]({board.source}) ({board.note})"
        lines.append(f"| {board.name} | {heap} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(figures: Figures, way: str, heap: int) -> str:
    taken = [figures[way, state].bytes for state in STATES]
    if all(_is_too_much(each, heap) for each in taken):
        return "too much"
    shares = ["too much" if _is_too_much(each, heap) else _share(each, heap) for each in taken]
    return " / ".join(shares)


def _is_too_much(taken: int, heap: int) -> bool:
    return (heap - taken) * LEFT < heap


def _share(taken: int, heap: int) -> str:
    share = 100 * taken / heap
    return "< 1 %" if share < 1 else f"{share:.0f} %"


def written(readme: str, figures: Figures) -> str:
    """Return README.md with the table between its markers made anew; as it is where it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}{table(figures)}{END}{after}" if begin and end else readme


def write() -> None:
    README.write_text(written(README.read_text(encoding="utf-8"), _counted()), encoding="utf-8")


def _counted() -> Figures:
    return figures_of(json.loads(ACCEPTED.read_text(encoding="utf-8")))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say whether it is up to date")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    readme = README.read_text(encoding="utf-8")
    if written(readme, _counted()) != readme:
        print("README.md's table of boards is not up to date: python tools/board_table.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
