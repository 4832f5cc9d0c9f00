#!/usr/bin/env python3
"""What a tick of the agent consists of, in instructions: `tick_profile.py [TARGET]`.

TARGET: qemu-native (as it is), qemu or qemu-bytecode. Counted on the Cortex-M3 in QEMU, so that it
repeats exactly; each step is called by itself, and holds those that are indented below it.
"""

from __future__ import annotations

import argparse
import sys

from bench import machine
from build_firmware import build
from firmware_errors import BuildError, say

_TARGETS = ("qemu-native", "qemu", "qemu-bytecode")
_DEPTH = {
    **dict.fromkeys(("tick", "poll", "viper_call"), 0),
    **dict.fromkeys(("clock.advance", "take", "renew", "pump", "receive"), 1),
    **dict.fromkeys(("frame", "write"), 3),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", choices=_TARGETS, default=_TARGETS[0])
    target = parser.parse_args().target
    try:
        firmware = build(target)
        empty, full = (machine.run(firmware, "steps", f"FULL = {full}\n") for full in (False, True))
    except (BuildError, machine.ProgramFailed) as error:
        say(f"tick_profile: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{target:32} {'watching':>9} {'full':>9}")
    for name in full.ticks:
        indented = "  " * _DEPTH.get(name, 2) + name
        watching = empty.instructions(name)
        print(
            f"{indented:32} {'' if watching is None else watching:>9} {full.instructions(name):>9}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
