"""What a tick takes on MicroPython's unix port, whatever the heap's size; prints microseconds.

The rest of the heap is half filled with blocks of 256 bytes. The middle of 40 ticks, which begin
once garbage was collected.
"""

import gc
import time

import warden
from warden import api


class Line:
    """Takes everything, and has nothing to say but what it was made with."""

    window = 0
    waitable = None

    def __init__(self, said):
        self._said = said

    def read(self, buf):
        count = len(self._said)
        buf[:count] = self._said
        self._said = b""
        return count

    def write(self, buf, start, end):
        return end - start

    def close(self):
        pass


def subscribe():
    from warden_schema import codec
    from warden_schema.loops import seal

    payload = bytearray(40)
    wire = bytearray(80)
    length = codec.put(payload, 0, [64, 1, 0, 77])
    return bytes(wire[: seal(payload, length, wire, 80)])


warden.start(interval_ms=20, budget_permille=1000, link=Line(subscribe()))
agent = api._agent_runner().agent
agent.step(True)
gc.collect()
kept = []
for _ in range(gc.mem_free() // 2 // 320):
    kept.append(bytearray(256))
gc.collect()
agent.step()
times = []
for _ in range(40):
    time.sleep_ms(21)
    began = time.ticks_us()
    agent.step()
    while agent.memory.reading:
        agent.memory.read_on()
    times.append(time.ticks_diff(time.ticks_us(), began))
times.sort()
walks = []
for _ in range(20):
    began = time.ticks_us()
    gc.mem_free()
    walks.append(time.ticks_diff(time.ticks_us(), began))
walks.sort()
print("=", times[20], walks[10], gc.mem_alloc(), agent.faults)
