#!/usr/bin/env python3
"""What a look at the heap costs the Cortex-M3: `native_cost.py [stock|native]`.

Runs the frozen firmware in QEMU with `-icount shift=5`, where an instruction takes 32 ns of the
board's own clock, so that the figures repeat exactly. Times are those of the board's 25 MHz timer
around one call, less those around an empty one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from build_firmware import build
from firmware_errors import BuildError, say
from rawrepl import RawRepl

_OPTIONS = (
    *("-M", "mps2-an385", "-nographic", "-monitor", "null", "-semihosting"),
    *("-icount", "shift=5", "-serial", "pty", "-serial", "pty"),
)
_NS_AN_INSTRUCTION = 32
_PROGRAM = """
import gc, machine, micropython
from array import array
from warden import hal
hal.detect()
_mem = machine.mem32
_state = array('i', bytes(80))
try:
    from _warden import heap
except ImportError:
    heap = None

def nothing(): pass
def whole(): heap(_state, 0)

def in_slices(room):
    worst = count = 0
    more = True
    while more:
        began = _mem[0x40000004]
        more = not heap(_state, room)
        worst = max(worst, began - _mem[0x40000004])
        count += 1
    began = _mem[0x40000004]
    not None
    return worst - (began - _mem[0x40000004]), count

def ticks(fn):
    micropython.heap_lock()
    began = _mem[0x40000004]
    fn()
    ended = _mem[0x40000004]
    micropython.heap_unlock()
    return began - ended

def cost(name, fn):
    print(name, (ticks(fn) - ticks(nothing)) * 40)

def looks(state):
    cost('gc.mem_free(), ' + state, gc.mem_free)
    if heap:
        cost('heap(state, 0), ' + state, whole)
        for room in (64, 256, 512, 1024, 1536):
            worst, count = in_slices(room)
            print('longest of %d slices of %d bytes, %s' % (count, room, state), worst * 40)

def collect(state):
    began = _mem[0x40000004]
    gc.collect()
    print('gc.collect(), ' + state, (began - _mem[0x40000004]) * 40)

gc.collect()
collect('nearly empty heap')
looks('nearly empty heap')
gc.disable()
keep = []
for size in range(600):
    keep.append(bytearray(size % 37 * 4))
collect('600 small objects')
looks('600 small objects')
filled = [None] * 1500
try:
    for i in range(1500):
        filled[i] = bytearray(40)
except MemoryError:
    pass
last = i
for i in range(0, last, 2):
    filled[i] = None
collect('full of holes')
looks('full of holes')
"""


def run(target: str) -> str:
    qemu = shutil.which("qemu-system-arm")
    if qemu is None:
        raise BuildError("qemu-system-arm is missing: apt-get install qemu-system-arm")
    firmware = build("qemu" if target == "stock" else "qemu-native")
    process = subprocess.Popen(
        [qemu, *_OPTIONS, "-kernel", str(firmware)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        ports: list[str] = []
        while len(ports) < 2:
            match = re.search(rb"redirected to (\S+) ", process.stdout.readline())
            if match is None:
                raise BuildError("QEMU ended before it opened its serial ports")
            ports.append(match[1].decode())
        repl = RawRepl(ports[0])
        repl.enter()
        output, error = repl.execute(_PROGRAM, timeout=120)
        repl.close()
        if error:
            raise BuildError(error)
        return output
    finally:
        process.kill()
        process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="?", choices=("stock", "native"), default="native")
    try:
        output = run(parser.parse_args(arguments).target)
    except BuildError as error:
        say(f"native_cost: {error}")
        return 2
    for line in output.splitlines():
        name, _, ns = line.rpartition(" ")
        print(f"{name:60} {int(ns) // _NS_AN_INSTRUCTION:9} instructions {int(ns) / 1000:9.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
