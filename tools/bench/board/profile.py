"""What something that the agent does consists of, by function; for `tools/tick_profile.py`.

In front are put: WHAT, one of the names below, and FULL, whether all tables are. First each
function of the agent is replaced by one that notes that it is called: `> NAME`, `<` at its end.
Then, one after the other, each by one that times it: `= NAME TICKS …`, for each call.
"""

import gc
import sys

import machine
from agents import fill_tables, keepalive, settle, started, until_due
from meter import EMPTY, nothing, ticks_of

import warden

RUNS = 6

_mem = machine.mem32
_VALUE = 0x40000004
agent, line = started(protect=WHAT != "watch")
agent.memory.room = 0  # a large heap is read in slices: here at once, so that a poll has the sample
held = fill_tables(line, agent) if FULL and WHAT != "watch" else None
settle(agent)
number = 0


def due():
    gc.collect()
    until_due(line, agent)
    agent.session.sample.deltas_left = 9  # one like the others: the next is sent whole
    gc.collect()


def quiet():
    due()
    warden.poll()
    settle(agent)


def pinged():
    global number
    quiet()
    number += 1
    line.say(67, 77, number, 0, [])


def kept():
    quiet()
    keepalive(line, agent)


def begin():
    global op
    op = warden.begin("flash")


def begun():
    quiet()
    begin()


def begin_complete():
    warden.begin("flash").complete()


def allocate_release():
    warden.allocate(3, 1024, owner="upload").release()


BEFORE = {"watch": due, "tick": due, "request": pinged, "keepalive": kept}
CALLS = {"decision": begin_complete, "lease": allocate_release}
before = BEFORE.get(WHAT, quiet)
call = CALLS.get(WHAT, warden.poll)


def holders():
    """Return what has the agent's functions: (its name with a dot, the module or class)."""
    listed = []
    seen = []
    for module_name in sorted(sys.modules):
        if module_name.split(".")[0] == "warden":
            module = sys.modules[module_name]
            listed.append(("", module))
            for name in sorted(module.__dict__):
                value = module.__dict__[name]
                if type(value).__name__ == "type" and value not in seen:
                    seen.append(value)
                    listed.append((name + ".", value))
    return listed


def names_of(holder):
    """Return the names of a holder's functions that can be replaced."""
    try:
        members = holder.__dict__
        names = [name for name in members if type(members[name]).__name__ == "function"]
        if names:
            setattr(holder, names[0], members[names[0]])
        return names
    except (AttributeError, TypeError):  # of C
        return []


def rebind():
    """Bind anew what is bound once, when it is made."""
    agent.gate.function = agent.run
    if agent.policy is not None:
        agent.policy.gate.function = agent.policy.deliver


def noting(function, label):
    def noted(*args, **kw):
        calls.append(label)
        try:
            return function(*args, **kw)
        finally:
            calls.append(None)

    return noted


def timing(function, _label):
    def timed(*args, **kw):
        place = len(times)
        times.append(0)
        began = _mem[_VALUE]
        try:
            return function(*args, **kw)
        finally:
            times[place] = began - _mem[_VALUE]

    return timed


def call_with(make, replaced, kept, runs=RUNS, count=None):
    """Call with functions replaced by what make(function, label) returns, and keep what these put
    into the list `kept` in the shortest run of those with `count` calls; others do what is seldom.
    """
    originals = [holder.__dict__[name] for _, holder, name in replaced]
    for place in range(len(replaced)):
        prefix, holder, name = replaced[place]
        setattr(holder, name, make(originals[place], prefix + name))
    rebind()
    shortest = ()
    for _ in range(runs):
        before()
        del kept[:]
        gc.collect()
        call()
        if count is None:
            if not shortest or len(kept) < len(shortest):
                shortest = tuple(kept)
        elif len(kept) == count:
            if not shortest or sum(kept) < sum(shortest):
                shortest = tuple(kept)
    for place in range(len(replaced)):
        setattr(replaced[place][1], replaced[place][2], originals[place])
    rebind()
    kept[:] = shortest


calls = []
times = []
for _ in range(3):
    before()
    call()
whole = []
for _ in range(RUNS):
    before()
    held_bytes = gc.mem_alloc()
    call()
    whole.append(gc.mem_alloc() - held_bytes)
print("= heap", min(whole))
whole = []
for _ in range(RUNS):
    before()
    whole.append(ticks_of(call) - EMPTY)
print("= call", min(whole))

called = []  # of all functions, those that are
for prefix, holder in holders():
    replaced = [(prefix, holder, name) for name in names_of(holder)]
    call_with(noting, replaced, calls, 1)
    called += [one for one in replaced if one[0] + one[2] in calls]
call_with(noting, called, calls)
for label in calls:
    print("<" if label is None else "> " + label)
base = timing(nothing, None)
for _ in range(3):
    base()
empty = times[-1]
while called:
    label = called[0][0] + called[0][2]
    same = [one for one in called if one[0] + one[2] == label]  # imported from another module
    called = [one for one in called if one not in same]
    call_with(timing, same, times, RUNS, calls.count(label))
    print("=", label, " ".join([str(ticks - empty) for ticks in times]))
print("faults", agent.faults)
