"""What a decision consists of, deeper than `decide`: for whoever makes one cheaper.

Each step is called by itself, with nothing else granted and a host that listens. Prints
`= NAME TICKS BYTES`; a step holds those that follow it indented in `tick_profile.py`.
"""

import gc

from agents import keepalive, skip_ms, started
from meter import measure

import warden
from warden.slots import Operation
from warden.timed import end_in
from warden_schema import loops

agent, line = started()
policy = agent.decide()
operations, ledger, events = policy.operations, policy.ledger, policy.events
needs, clock, load = policy.needs, agent.clock, agent.load
op = lease = None


def told():
    """All that happened has been told."""
    keepalive(line, agent)
    for _ in range(6):
        agent.step(True)


def ended():
    if op is not None:
        op.complete()
    if lease is not None:
        lease.release()
    told()


def begun():
    global op
    ended()
    op = warden.begin("flash")
    told()


def granted():
    global lease
    ended()
    lease = warden.allocate(3, 1024, owner="upload")
    told()


def begin(begins):
    def call():
        global op
        op = begins("flash")

    return call


def allocate(kind, allocates):
    def call():
        global lease
        lease = allocates(kind, 1024, owner="upload")

    return call


def refused():
    try:
        ledger.allocate(0, 100_000, owner="upload")
    except warden.Denied:
        pass


def refusal():
    try:
        raise warden.Denied("memory", 0, 0, ())
    except warden.Denied:
        pass


begin(warden.begin)()
ended()
for _ in range(3):
    ended()
    skip_ms(agent, 800)
needs._again_s = 1 << 29  # else one of them would measure how much memory it needs
measure("begin", begin(warden.begin), ended)
measure("operations_start", begin(operations.start), ended)
measure("policy_begin", begin(policy.begin), ended)
measure("operations_begin", begin(operations.begin), ended)
measure("advance", clock.advance)
measure("new_operation", lambda: Operation(operations, 0, 1, "flash", 1))
measure("end_in", lambda: end_in(operations, 11, 300_000))
measure("needs_began", lambda: needs.began(op), ended)
needs._running = 0
measure("changed", lambda: operations.changed(0), told)
measure("put_event", lambda: events.put("operation", 1, "began", None), told)
measure("note", lambda: loops.note(events, "lease", 1, "began", None), told)
measure("events_changed", lambda: events.changed(0), told)
measure("current_task", load.current_task)
measure("complete", lambda: op.complete(), begun)  # noqa: PLW0108  # another each time

measure("allocate", allocate(3, warden.allocate), ended)
measure("policy_allocate", allocate(3, policy.allocate), ended)
measure("ledger_allocate", allocate(3, ledger.allocate), ended)
measure("available", lambda: policy._supply.available(3, None))
measure("of_memory", lambda: policy._supply.available(0, None))
measure("outstanding", lambda: ledger.outstanding(3))
measure("release", lambda: lease.release(), granted)  # noqa: PLW0108  # another each time
measure("refused", refused, ended)
measure("collect_too_soon", policy._supply.collect)
measure("refusal", refusal)
measure("expire", ledger.expire)
measure("over", ledger.over)
gc.collect()
