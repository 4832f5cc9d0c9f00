"""What decisions and a host's messages take, with tables that are empty but for it.

Prints `= NAME TICKS BYTES`. Of leases, bandwidth: nothing is measured for it.
"""

import gc

from agents import keepalive, settle, started, until_due
from meter import EMPTY, measure, tell, ticks_of

import warden

agent, line = started()
number = 0


def settled():
    until_due(line, agent)
    warden.poll()
    settle(agent)


def begin_complete():
    warden.begin("flash").complete()


def allocate_release():
    warden.allocate(warden.NETWORK_BANDWIDTH, 1024, owner="upload").release()


def refused():
    try:
        warden.allocate(warden.MEMORY, 100_000, owner="upload")
    except warden.Denied:
        return
    raise AssertionError("granted")


def requested():
    """The host requests a PING, as nothing else is due."""
    global number
    settled()
    number += 1
    line.say(67, 77, number, 0, [])


def heard():
    settled()
    keepalive(line, agent)


settled()
gc.collect()
tell("first_begin_complete", ticks_of(begin_complete) - EMPTY)
measure("begin_complete", begin_complete, settled)
measure("allocate_release", allocate_release, settled)
measure("can_execute", warden.can_execute, settled)
measure("refused", refused, settled)
measure("keepalive", warden.poll, heard)
measure("request", warden.poll, requested)
tell("faults", 0, agent.faults)
