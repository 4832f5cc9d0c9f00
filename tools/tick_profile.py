#!/usr/bin/env python3
"""What a tick of the agent consists of, in instructions: `tick_profile.py [TARGET] [--decisions]`.

TARGET: qemu-native (as it is), qemu or qemu-bytecode. Counted on the Cortex-M3 in QEMU, so that it
repeats exactly; each step is called by itself, and holds those that are indented below it.
--decisions: what a begin, a complete, an allocate, a release and a refusal consist of instead.
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
_DECISIONS = {
    **dict.fromkeys(("begin", "complete", "allocate", "release", "refused", "expire"), 0),
    **dict.fromkeys(("policy_begin", "policy_allocate", "over"), 1),
    **dict.fromkeys(("operations_begin", "operations_start", "ledger_allocate"), 2),
    **dict.fromkeys(("events_changed", "note"), 4),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", choices=_TARGETS, default=_TARGETS[0])
    parser.add_argument("--decisions", action="store_true")
    options = parser.parse_args()
    try:
        firmware = build(options.target)
        if options.decisions:
            _print_decisions(machine.run(firmware, "decide_steps"))
            return 0
        empty, full = (machine.run(firmware, "steps", f"FULL = {full}\n") for full in (False, True))
    except (BuildError, machine.ProgramFailed) as error:
        say(f"tick_profile: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{options.target:32} {'watching':>9} {'full':>9}")
    for name in full.ticks:
        indented = "  " * _DEPTH.get(name, 2) + name
        watching = empty.instructions(name)
        print(
            f"{indented:32} {'' if watching is None else watching:>9} {full.instructions(name):>9}"
        )
    return 0


def _print_decisions(rows: machine.Rows) -> None:
    for name in rows.ticks:
        indented = "  " * _DECISIONS.get(name, 3) + name
        print(f"{indented:32} {rows.instructions(name):>9}")


if __name__ == "__main__":
    sys.exit(main())
