#!/usr/bin/env python3
"""What a look at the heap costs the Cortex-M3: `native_cost.py [stock|native]`.

Counted in QEMU, with 140 KB of heap: nearly empty, with many small objects, full of holes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench import machine
from build_firmware import build
from firmware_errors import BuildError, say


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", choices=("stock", "native"), default="native")
    target = parser.parse_args(arguments).target
    try:
        firmware = build("qemu" if target == "stock" else "qemu-native")
        found = machine.run(firmware, "heap")
    except (BuildError, machine.ProgramFailed) as error:
        say(f"native_cost: {error}")
        return 2
    for name, ticks in found.ticks.items():
        us = ticks * machine.TICK_NS / 1000
        what = name.replace("_", " ")
        print(f"{what:60} {machine.instructions(ticks):9} instructions {us:9.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
