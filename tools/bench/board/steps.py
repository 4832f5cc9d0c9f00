"""What a tick and a poll consist of, one level deeper than `tick`: for whoever makes them cheaper.

With FULL (put in front) the policy is made and every row of every table is taken. Prints
`= NAME TICKS BYTES`; a step holds those that follow it indented in `tick_profile.py`.
"""

from agents import fill_tables, started, until_due
from meter import measure

from warden.costs import PARTS, parts
from warden_schema import loops

agent, line = started()
session, uplink, memory, clock = agent.session, agent.uplink, agent.memory, agent.clock
sampler, sample = agent.sampler, agent.sample
if FULL:  # noqa: F821
    agent.decide()
    held = fill_tables()
for _ in range(8):
    agent.step(True)


def due():
    until_due(line, agent)


def quiet():
    due()
    for _ in range(8):
        agent.step(True)


def renewed():
    quiet()
    sample.renew(True)


def encoded():
    renewed()
    global length
    length = sample.encode(0, uplink)


length = 0
measure("tick", lambda: agent.turn(True), due)
measure("clock.advance", clock.advance)
measure("take", sampler.take, due)
functions = parts(agent)
for name in PARTS:
    measure(name, functions[name], due)
if FULL:  # noqa: F821
    policy = agent.policy
    measure("policy_thresholds", lambda: policy.thresholds.look(1000), due)
    measure("policy_meters", lambda: policy.meters.look(1000), due)
    measure("policy_needs", policy.needs.look, due)
    measure("policy_ladder", lambda: policy.ladder.look(1000), due)
measure("renew", lambda: sample.renew(True), due)
measure("pump", session.pump, renewed)
measure("encode", lambda: sample.encode(0, uplink), renewed)
measure("send", lambda: uplink.send(length, 48), encoded)
measure("frame", lambda: loops.seal(uplink.payload, length, uplink.wire, 406), encoded)
measure("write", lambda: line.write(uplink.wire, 0, length + 4), encoded)
measure("poll", lambda: agent.turn(True), quiet)
measure("receive", session.receive, quiet)
measure("viper_call", lambda: loops.crc16(uplink.payload, 0, 0, 0))
