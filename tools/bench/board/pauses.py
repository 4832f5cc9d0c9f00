"""The longest single poll of the agent in ten seconds at 10 Hz beside an application that makes
garbage: 64 bytes every millisecond, of which it keeps the last 600 pieces.

A poll in which garbage is collected, by the agent or because there was no room, counts apart, and
so do those that send everything to a new host, with all tables full. Prints `= NAME TICKS COUNT`.
"""

import gc

from agents import fill_tables, keepalive, poll_now, started
from meter import now, passed, tell, wait_ms

import warden

_KEPT = 600
agent, line = started(interval_ms=100)
warden.begin("upload").complete()
kept = [None] * _KEPT
at = 0


def work(ms):
    global at
    for _ in range(ms):
        kept[at] = bytearray(48)
        at = (at + 1) % _KEPT
        wait_ms(1)


for _ in range(10):
    keepalive(line, agent)
    poll_now(agent)
    gc.collect()
gc.enable()
work(_KEPT)
longest = collecting = total = polls = 0
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
        left = agent.poll()
        ticks = passed(began)
        if gc.mem_alloc() < used:
            collecting = max(collecting, ticks)
        else:
            longest = max(longest, ticks)
        total += ticks
        polls += 1
tell("longest_pause", longest)
tell("longest_pause_collecting", collecting)
gc.disable()
kept = None
gc.collect()
held = fill_tables(line, agent)
agent.stop_monitoring()  # so that no sample is among them
for _ in range(9):
    poll_now(agent)
line.say(64, 1, 0, 78)  # another host
longest = total = polls = quiet = 0
while quiet < 3:
    gc.collect()
    seq = agent.session.uplink.seq
    agent.clock.poll_now = True
    began = now()
    agent.poll()
    ticks = passed(began)
    if agent.session.uplink.seq == seq:
        quiet += 1
    else:
        quiet = 0
        polls += 1
        total += ticks
        longest = max(longest, ticks)
tell("longest_pause_at_subscription", longest)
tell("subscription", total)
tell("polls_at_subscription", 0, polls)
tell("faults", 0, agent.faults)
