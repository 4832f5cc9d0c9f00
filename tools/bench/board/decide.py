"""What a decision takes, with tables that are empty but for it; prints `= NAME TICKS BYTES`.

Allocations of memory look at the heap, which is one walk on stock firmware; those of bandwidth
do not. A refusal collects garbage first, if that was not done lately.
"""

import gc

from agents import keepalive, skip_ms, started
from meter import measure, tell

import warden

agent, line = started()
KIND = warden.NETWORK_BANDWIDTH


def settled():
    """All that was decided so far has been told; a refusal may collect again."""
    for _ in range(3):
        keepalive(line, agent)
        for _ in range(6):
            agent.step(True)
        skip_ms(agent, 800)


def told():
    keepalive(line, agent)
    for _ in range(6):
        agent.step(True)


def begin_complete():
    warden.begin("flash").complete()


def begin():
    global op
    told()
    op = warden.begin("flash")


def allocate_memory():
    warden.allocate(warden.MEMORY, 1024, owner="upload").release()


def allocate_bandwidth():
    warden.allocate(KIND, 1024, owner="upload").release()


def refused(kind, amount):
    try:
        warden.allocate(kind, amount, owner="upload")
    except warden.Denied:
        return
    raise AssertionError("granted")


def refused_memory():
    refused(warden.MEMORY, 100_000)


def collected():
    settled()
    refused_memory()
    told()


begin_complete()
settled()
measure("begin_complete", begin_complete, told)
measure("complete", lambda: op.complete(), begin)  # noqa: PLW0108  # another each time
measure("can_execute", warden.can_execute, told)
measure("allocate_release_memory", allocate_memory, told)
measure("allocate_release_bandwidth", allocate_bandwidth, told)
measure("refused_memory", refused_memory, collected)
gc.enable()  # else the agent does not collect either
measure("refused_memory_after_collecting", refused_memory, settled)
gc.disable()
for _ in range(15):
    warden.allocate(KIND, 1024)
warden.allocate(KIND, 1024)
measure("refused_table_full", lambda: refused(KIND, 1024), told)

number = 0


def asked():
    """The host asks for PING."""
    global number
    told()
    number += 1
    line.hear(67, 77, number & 0xFFFF, 0, [])


def answer():
    agent.session.receive()
    agent.session.pump()


measure("request_ping", answer, asked)
measure("poll_ping", warden.poll, asked)
tell("faults", 0, agent.faults)
