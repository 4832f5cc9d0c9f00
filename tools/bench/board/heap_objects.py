"""The heap that each object of the composition keeps; runs on a board that was just booted.

The classes that the composition names are replaced by functions that make one and look what that
took, without what it makes itself. Attributes that the caller keeps (a dict's growth) are the
caller's. A row is `= object.CLASS 0 BYTES`.
"""

import gc

import warden.agent
import warden.api
import warden.hal_mps2
import warden.policy
import warden.policy_tables
import warden.run
import warden.watch_tables

_names = [None] * 80
_bytes = [0] * 80
_count = [0]
_depth = [0]
_inner = [0] * 20  # bytes of what was made within, for each level


def _used():
    gc.collect()
    return gc.mem_alloc()


def _counting(name, make):
    def made(*args, **kwargs):
        depth = _depth[0] = _depth[0] + 1
        _inner[depth] = 0
        before = _used()
        try:
            return make(*args, **kwargs)
        finally:
            took = _used() - before
            depth = _depth[0] = _depth[0] - 1
            _inner[depth] += took
            _names[_count[0]] = name
            _bytes[_count[0]] = took - _inner[depth + 1]
            _count[0] += 1

    return made


def _count_in(module):
    names = module.__dict__
    for name in list(names):
        value = names[name]
        if type(value) is type and not issubclass(value, Exception) and name[0] != "_":
            names[name] = _counting(name, value)


_count_in(warden.agent)
_count_in(warden.policy)
_count_in(warden.run)
warden.api.Agent = _counting("Agent", warden.api.Agent)
warden.api.Runner = _counting("Runner", warden.api.Runner)
warden.api.detect = _counting("hal", warden.api.detect)
warden.hal_mps2.Uart1 = _counting("Uart1", warden.hal_mps2.Uart1)
for _module in (warden.policy_tables, warden.watch_tables):
    for _name in list(_module.__dict__):
        if _name.endswith("Rows") and _name != "Rows" or _name == "Taken":
            _module.__dict__[_name] = _counting(_name, _module.__dict__[_name])
_counting("gc", _used)()
_count[0] = _inner[0] = 0
warden.start()
_counting("tables", warden.api._agent_runner().agent.decide)()
for _row in range(_count[0]):
    print("= object." + _names[_row], 0, _bytes[_row])
