#!/usr/bin/env python3
"""What a tick and the like consist of, by function, in instructions: `tick_profile.py [WHAT …]`.

WHAT: poll, with nothing due; watch, a tick of an agent that only watches; tick, one of an agent
that decides; keepalive and request of a host; decision, begin and complete; lease, allocate and
release. --full: with all tables full, where there is something to decide. Counted on the Cortex-M3
in QEMU; each function is timed in a run of its own, so that the figures are those of an agent that
nobody looks at.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field

from bench import machine
from build_firmware import build
from firmware_errors import BuildError, say

WHATS = ("poll", "watch", "tick", "keepalive", "request", "decision", "lease")
_LEAST = 400  # instructions that a line is worth


@dataclass
class Call:
    name: str
    instructions: int = 0
    calls: list[Call] = field(default_factory=list)

    @property
    def own(self) -> int:
        return self.instructions - sum(call.instructions for call in self.calls)


def read(output: str) -> tuple[Call, int]:
    """Return the tree of calls, and the bytes of heap that they left."""
    figures: dict[str, list[int]] = {}
    for line in re.findall(r"^= (.+?)\r?$", output, re.MULTILINE):
        name, *ticks = line.split()
        figures[name] = [int(number) for number in ticks]
    root = Call("all", machine.instructions(figures.pop("call")[0]))
    heap = figures.pop("heap")[0]
    stack = [root]
    for line in output.splitlines():
        if line.startswith("> "):
            call = Call(line[2:].strip())
            ticks = figures[call.name]
            call.instructions = machine.instructions(ticks.pop(0)) if ticks else 0
            stack[-1].calls.append(call)
            stack.append(call)
        elif line.strip() == "<":
            stack.pop()
    return root, heap


def tree(call: Call, depth: int = 0) -> list[str]:
    """A line for each call, those of one name below the same caller as one."""
    lines = [_line("  " * depth + call.name, call.instructions, call.own, 1)]
    merged: dict[str, list[Call]] = {}
    for inner in call.calls:
        merged.setdefault(inner.name, []).append(inner)
    for name, calls in sorted(
        merged.items(), key=lambda item: -sum(c.instructions for c in item[1])
    ):
        total = sum(one.instructions for one in calls)
        if total < _LEAST:
            continue
        if len(calls) == 1:
            lines += tree(calls[0], depth + 1)
        else:
            both = Call(name, total, [inner for one in calls for inner in one.calls])
            inner_lines = tree(both, depth + 1)
            label = "  " * (depth + 1) + name
            lines += [_line(label, total, both.own, len(calls)), *inner_lines[1:]]
    return lines


def by_function(root: Call) -> list[str]:
    """A line for each function, that with the most instructions of its own first."""
    own: dict[str, int] = {}
    count: dict[str, int] = {}

    def visit(call: Call) -> None:
        own[call.name] = own.get(call.name, 0) + call.own
        count[call.name] = count.get(call.name, 0) + 1
        for inner in call.calls:
            visit(inner)

    for call in root.calls:
        visit(call)
    ordered = sorted(own, key=lambda name: -own[name])
    return [f"{name:44}{own[name]:9}{count[name]:7}" for name in ordered if own[name] >= _LEAST]


def _line(label: str, whole: int, own: int, count: int) -> str:
    times = f"{count:7}" if count > 1 else ""
    return f"{label:58}{whole:9}{own:9}{times}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[*WHATS, []], metavar="WHAT")
    parser.add_argument("--full", action="store_true", help="with all tables full")
    parser.add_argument("--flat", action="store_true", help="by function, not by call")
    parser.add_argument("--target", choices=("qemu", "qemu-native"), default="qemu")
    options = parser.parse_args()
    try:
        firmware = build(options.target)
        for what in options.what or WHATS:
            before = f"WHAT = {what!r}\nFULL = {options.full}\n"
            root, heap = read(machine.output_of(firmware, "profile", before))
            print(f"{what}{', all tables full' * options.full}: {heap} bytes of heap")
            if options.flat:
                print(f"{'function':44}{'its own':>9}{'calls':>7}")
                print("\n".join(by_function(root)))
            else:
                print(f"{'call':58}{'all':>9}{'its own':>9}{'calls':>7}")
                print("\n".join(tree(root)))
            print()
    except (BuildError, machine.ProgramFailed) as error:
        say(f"tick_profile: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
