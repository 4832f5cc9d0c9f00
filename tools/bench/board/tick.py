"""A tick of the agent at 1 Hz with a host that listens: the poll that takes a sample and sends it,
with the rest of a heap that is read in slices. In front are put PROTECT, False for an agent that
only watches, and FULL, whether every row of every table is taken.

Prints `= NAME TICKS BYTES`; of reading the heap apart, `heap_walk` is what the table, or
MicroPython itself where it is not known, takes for it.
"""

import gc
import sys

from agents import fill_tables, settle, started, until_due
from meter import EMPTY, measure, tell, ticks_of
from micropython import heap_lock, heap_unlock

import warden

_TICKS = 20  # from one whole sample to the next
_MAX_SLICES = 20  # of the heap
agent, line = started(protect=PROTECT)
held = fill_tables(line, agent) if FULL else None
poll = warden.poll
memory = agent.memory
walk = gc.mem_free if memory.heap is None else memory.free_now


def tick():
    s = agent.deadline_s
    ms = agent.deadline_ms
    poll()
    for _ in range(_MAX_SLICES):
        if agent.deadline_s != s or agent.deadline_ms != ms:
            return
        agent.clock.poll_now = True
        poll()


def due():
    until_due(line, agent)
    gc.collect()


def quiet():
    due()
    tick()
    settle(agent)
    gc.collect()


def fails_under_heap_lock():
    """Tell whether a tick with the heap locked met MemoryError, or was none."""
    due()
    faults, seq = agent.faults, agent.session.uplink.seq
    heap_lock()
    tick()
    heap_unlock()
    return agent.session.uplink.seq == seq or agent.faults != faults


for _ in range(3):
    quiet()
total = walks = walked = ticks = greatest = taken = before = sent = 0
sizes = []
for _ in range(_TICKS):
    due()
    sent = agent.session.uplink.sent
    before = gc.mem_alloc()
    walked = ticks_of(walk) - EMPTY
    ticks = ticks_of(tick) - EMPTY
    taken = max(taken, gc.mem_alloc() - before)
    sizes.append(agent.session.uplink.sent - sent & 0xFFFF)
    total += ticks
    walks += walked
    greatest = max(greatest, ticks - walked)
sizes.sort()
tell("tick", total // _TICKS, taken)
tell("heap_walk", walks // _TICKS)
tell("tick_beyond", (total - walks) // _TICKS)
tell("tick_greatest_beyond", greatest)
tell("failures_under_heap_lock", 0, fails_under_heap_lock() + fails_under_heap_lock())
tell("wire_steady_sample", 0, sizes[_TICKS // 2])
tell("wire_whole_sample", 0, sizes[-1])
measure("poll", poll, quiet)
tell("faults", 0, agent.faults)
for name in sys.modules:
    if name.split(".")[0] == "warden":
        print("= module:" + name, 0, 0)
