"""The longest single step of the agent in ten seconds at 10 Hz beside an application that makes
garbage: 64 bytes every millisecond, of which it keeps the last 600 pieces.

A step in which garbage is collected, by the agent or because there was no room, counts apart, and
so does the one that tells a new host of all tables, full. Prints `= NAME TICKS COUNT`.
"""

import gc

from agents import fill_tables, keepalive, started
from meter import now, passed, tell, wait_ms

import warden

agent, line = started(interval_ms=100)
warden.begin("upload").complete()
kept = [None] * 600
at = 0


def work(ms):
    global at
    for _ in range(ms):
        kept[at] = bytearray(48)
        at = (at + 1) % 600
        wait_ms(1)


for _ in range(10):
    keepalive(line, agent)
    agent.step(True)
    gc.collect()
gc.enable()
work(600)
longest = collecting = 0
total = 0
steps = 0
collections = agent.memory.collections
left = 0
for turn in range(100):
    if turn % 10 == 0:
        keepalive(line, agent)
    ms = 100
    while ms > 0:
        pause = max(1, min(left, ms))
        work(pause)
        ms -= pause
        used = gc.mem_alloc()
        began = now()
        left = agent.step(True)
        ticks = passed(began)
        if gc.mem_alloc() < used:
            collecting = max(collecting, ticks)
        else:
            longest = max(longest, ticks)
        total += ticks
        steps += 1
tell("longest_pause", longest)
tell("longest_pause_collecting", collecting)
tell("mean_step", total // steps)
kept = None
gc.collect()
held = fill_tables()
for _ in range(8):
    keepalive(line, agent)
    agent.step(True)
gc.collect()
line.hear(64, 1, 0, 78)  # another host
longest = polls = 0
while polls == 0 or b"\x01" in agent.clock.news:
    began = now()
    agent.step(True)
    longest = max(longest, passed(began))
    polls += 1
    gc.collect()
tell("longest_pause_at_subscription", longest)
tell("polls_at_subscription", 0, polls)
tell("collections_by_the_agent", 0, agent.memory.collections - collections)
tell("faults", 0, agent.faults)
