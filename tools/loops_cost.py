#!/usr/bin/env python3
"""What the loops over bytes cost the Cortex-M3, in bytecode and in viper: `loops_cost.py`.

Runs the frozen firmware in QEMU with `-icount shift=5`, where an instruction takes 32 ns of the
board's own clock, so that the figures repeat exactly. Times are those of the board's 25 MHz timer
around one call, less those around an empty one; the heap is locked meanwhile.
"""

from __future__ import annotations

import re
import subprocess
import sys

from bare_source import bare
from bench.machine import AS_MODULE, ProgramFailed, execute
from build_firmware import REPO, build
from firmware_errors import BuildError, need, say
from rawrepl import RawRepl, ReplError

_OPTIONS = (
    *("-M", "mps2-an385", "-nographic", "-monitor", "null", "-semihosting"),
    *("-icount", "shift=5", "-serial", "pty", "-serial", "pty"),
)
_NS_AN_INSTRUCTION = 32
# What is not frozen.
_PLAIN = REPO / "shared_schema" / "warden_schema" / "plain.py"
_FRAME = REPO / "shared_schema" / "warden_schema" / "frame.py"
_PROGRAM = """
import machine, micropython
from array import array
from warden import hal
from warden.sample_table import Sample
from warden.uplink import Uplink
import plain
from warden_schema import codec, fast
import frame, warden
inside_frame = _names  # what its functions see
hal.detect()
_mem = machine.mem32

data = bytes((i * 37 + 11) & 0xFF for i in range(33))
wire = bytearray(100)
buf = bytearray(100)
ints = (1, 3, 12345, 200, 90000, 70000, 12, 0, None, 35, 1000, 143360)
payload = bytearray(80)
at = codec.put_array(payload, 3, 12)
for each in ints:
    at = codec.put_int(payload, at, each)
payload[0], payload[1], payload[2] = 0x93, 3, 7
while at < 40:
    payload[at] = at * 5
    at += 1
request = bytearray(100)
message = bytearray(codec.decode(b'\\xc4\\x1e' + bytes(30), 32) + b'  ')
message[: codec.put(message, 0, [67, 123456, 9, 5, [1, 8192, 'upload', 2]])]
end = frame.encode(message, 30, request)
reader = frame.Reader(128)
feed = reader.feed

marks = array('i', [0, 0, 42] + [0] * 17)

class Link:
    window = 0
    def write(self, buf, start, end):
        return end - start

# A sample of which eight figures, besides the uptime, changed since the one before.
unknown = [-0x40000000]
figures = [100, 5, 1000, 143360, 90000, 50000] + unknown + [300, 12, 30, 2, 1] + 4 * unknown
figures = array('i', figures + [12, 90, 0, 0, 0, 0, 1000, 10])
uplink = Uplink(Link())
length = 0
table = Sample(figures)
table.renew(True)
uplink.send(table.encode(0, uplink), 48)
table.sent()
figures[1] += 3
for place in (4, 5, 7, 8, 9, 10, 16, 17):
    figures[place] += 1

def nothing(): pass
def crc(): frame._crc16(data, 0, 33, 0xFFFF)
def seal(): frame._seal(data, 33, wire, 100)
def encode(): frame.encode(payload, 40, wire)
def read():
    marks[0] = 0
    frame._take(request, 0, end, payload, marks)
def take(): reader.take(request, 0, end)
def take_text(): reader.take(data, 5, 33)
def delta():
    global length
    length = table.encode(0, uplink)
def send(): kind.send(uplink, length, 48)
def sent(): table.sent()
def feeds():
    at = 0
    while at < end:
        feed(request[at])
        at += 1

def ticks(fn):
    micropython.heap_lock()
    began = _mem[0x40000004]
    fn()
    ended = _mem[0x40000004]
    micropython.heap_unlock()
    return began - ended

def cost(name, fn):
    print(name, (ticks(fn) - ticks(nothing)) * 40)

for kind in (plain, fast):
    frame._crc16, frame._seal, frame._take = kind.crc16, kind.seal, kind.take
    inside_frame.update({'_seal': kind.seal, '_take': kind.take})
    warden.uplink._seal, warden.sample_table._tell = kind.seal, kind.tell
    cost('CRC of 33 bytes', crc)
    cost('CRC and escapes of 33 bytes', seal)
    cost('frame.encode() of a payload of 40 bytes', encode)
    cost('Sample.encode(), 8 of 24 figures changed', delta)
    assert payload is not uplink.payload and uplink.payload[1] == 16
    cost('Uplink.send() of that', send)
    cost('Sample.sent()', sent)
    sent()
    table.told[1] = 5
    cost('reading a request of 30 bytes', read)
    cost('Reader.take() of a request of 30 bytes', take)
    assert reader.length == 30
    cost('Reader.feed() of each of its bytes', feeds)
    cost('Reader.take() of 28 bytes of text', take_text)
"""


def frozen_bytes(target: str) -> int:
    """Code and constants of a firmware."""
    size = need("arm-none-eabi-size", "binutils-arm-none-eabi")
    out = subprocess.run([size, str(build(target))], capture_output=True, text=True, check=True)
    return int(out.stdout.splitlines()[1].split()[0])


def run() -> str:
    qemu = need("qemu-system-arm", "qemu-system-arm")
    process = subprocess.Popen(
        [qemu, *_OPTIONS, "-kernel", str(build("qemu"))], stdin=subprocess.DEVNULL,
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
            execute(repl, AS_MODULE.format(name="plain", source=bare(_PLAIN.read_text())))
            execute(repl, AS_MODULE.format(name="frame", source=_FRAME.read_text()))
            output, error = repl.execute(_PROGRAM, timeout=60)
        except (ReplError, ProgramFailed) as why:
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
        lines = [line.rpartition(" ") for line in run().splitlines()]
        more = frozen_bytes("qemu") - frozen_bytes("qemu-bytecode")
    except BuildError as error:
        say(f"loops_cost: {error}")
        return 2
    figures: dict[str, list[int]] = {}
    for name, _, ns in lines:
        figures.setdefault(name, []).append(int(ns) // _NS_AN_INSTRUCTION)
    print(f"{'instructions, Cortex-M3':44} {'bytecode':>9} {'viper':>9}")
    for name, (bytecode, viper) in figures.items():
        print(f"{name:44} {bytecode:9} {viper:9}   1/{bytecode / viper:.1f}")
    print(f"viper adds {more} bytes to the frozen firmware")
    return 0


if __name__ == "__main__":
    sys.exit(main())
