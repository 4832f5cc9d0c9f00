"""A tick of the agent at 1 Hz and each of its parts, with a host that listens.

"watching": started, nothing else; "deciding": the policy is made and nothing is granted;
"full": every row of every table is taken. A tick is the step that takes the sample and sends it,
with the rest of a heap that is read in slices. Prints `= NAME TICKS BYTES`.
"""

import gc

from agents import fill_tables, keepalive, started, until_due
from meter import measure, measure_each, nothing, tell
from micropython import heap_lock, heap_unlock

import warden
from warden.costs import PARTS, parts
from warden_schema.loops import seal

agent, line = started()
session, uplink, memory = agent.session, agent.uplink, agent.memory


def due():
    until_due(line, agent)


def quiet():
    """All is told, and the next sample is not due."""
    due()
    while memory.reading or b"\x01" in agent.clock.news:
        agent.step(True)
    for _ in range(3):  # of those that find nothing the first takes longer
        agent.step(True)


def tick():
    agent.turn(True)  # as it is polled: it listens, and nothing has arrived
    while memory.reading:
        memory.read_on()


poll = warden.poll


def locked_tick():
    """Return 0 for a tick that sampled and sent with the heap locked, and met no MemoryError."""
    due()
    faults, s, ms, sent = agent.faults, agent.values[0], agent.values[1], uplink.sent
    heap_lock()
    agent.step()
    heap_unlock()
    sampled = agent.values[0] != s or agent.values[1] != ms
    return 0 if sampled and uplink.sent != sent and agent.faults == faults else 1


def hear():
    keepalive(line, agent)


def hear_between():
    """As `hear`, between two samples: something was sent since the last time."""
    session.sent_at_keepalive = -1
    hear()


measure_each("tick_watching", tick, due)
measure("poll_watching", poll, quiet)

sizes = []
for _ in range(20):  # from one whole sample to the next
    due()
    sent = uplink.sent
    agent.step()
    sizes.append(uplink.sent - sent & 0xFFFF)
sizes.sort()
tell("wire_steady_sample", 0, sizes[10])
tell("wire_whole_sample", 0, sizes[-1])
tell("wire_minute_at_1_hz", 0, 3 * sum(sizes))

agent.decide()
for _ in range(4):
    quiet()
measure_each("tick_deciding", tick, due)
measure("poll_deciding", poll, quiet)

quiet()
measure("poll_keepalive", poll, hear_between)

held = fill_tables()
for _ in range(8):
    quiet()
measure_each("tick_full", tick, due)
tell("failures_under_heap_lock", 0, locked_tick() + locked_tick())
measure("poll_full", poll, quiet)
policy = agent.policy


def next_second():
    agent.clock.s += 1
    agent.values[0] = agent.clock.s


def whole():
    agent.sample.mark()


def framed():
    due()
    global length, end
    length = agent.sample.encode(0, uplink)
    end = seal(uplink.payload, length, uplink.wire, len(uplink.wire))


length = end = 0
framed()
wire, payload = uplink.wire, uplink.payload
agent.clock.s = agent.clock.s // 60 * 60 + 65  # no minute ends in what follows
quiet()
measure("part_gc_mem_free", gc.mem_free)
functions = parts(agent)
for name in PARTS:
    measure("part_" + name, functions[name], next_second if name == "history" else hear)
measure("part_policy_tick", policy.tick)
measure("part_encode", lambda: agent.sample.encode(0, uplink))
measure("part_encode_whole", lambda: agent.sample.encode(0, uplink), whole)
measure("part_frame", lambda: seal(payload, length, wire, len(wire)))
measure("part_write", lambda: line.write(wire, 0, end))
measure("part_clock", agent.clock.advance)
measure("receive_nothing", session.receive, nothing)
measure("receive_keepalive", session.receive, hear_between)
tell("wire_framed_sample", 0, end)
tell("faults", 0, agent.faults)
gc.collect()
tell("heap_used", 0, gc.mem_alloc())
tell("heap_total", 0, memory.total)
