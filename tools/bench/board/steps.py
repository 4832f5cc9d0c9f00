"""What a tick and a poll consist of, one level deeper than `tick`: for whoever makes them cheaper.

With FULL (put in front) the policy is made and every row of every table is taken. Prints
`= NAME TICKS BYTES`; a step holds those that follow it indented in `tick_profile.py`.
"""

from agents import fill_tables, started, until_due
from meter import measure

from warden_schema import frame, loops

agent, line = started()
session, uplink, memory, clock = agent.session, agent.uplink, agent.memory, agent.clock
sampler, sample, governor = agent.sampler, agent.sample, agent.governor
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
measure("tick", agent.step, due)
measure("clock.advance", clock.advance)
measure("take", sampler.take, due)
measure("begin", sampler._begin, due)
for name, part in zip(
    ("load", "memory", "network", "storage", "fill", "file", "policy", "capabilities"),
    sampler._parts,
):
    measure(name, part, due)
if FULL:  # noqa: F821
    policy = agent.policy
    measure("policy_thresholds", lambda: policy.thresholds.look(1000), due)
    measure("policy_meters", lambda: policy.meters.look(1000), due)
    measure("policy_needs", policy.needs.look, due)
    measure("policy_ladder", lambda: policy.ladder.look(1000), due)
measure("governor", lambda: governor.sampled(1000, 2000, 1000))
measure("renew", lambda: sample.renew(True), due)
measure("plan", lambda: agent._plan(3), due)
measure("pump", session.pump, renewed)
measure("encode", lambda: sample.encode(0, uplink), renewed)
measure("send", lambda: uplink.send(length), encoded)
measure("frame", lambda: frame.encode(uplink.payload, length, uplink._wire), encoded)
measure("write", lambda: line.write(uplink._wire, 0, length + 4), encoded)
measure("poll", lambda: agent.step(True), quiet)
measure("receive", session.receive, quiet)
measure("viper_of_4_figures", lambda: loops.put(agent.values, 0, 1, 2, 3, 4))
