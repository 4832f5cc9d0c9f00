"""The heap that each module keeps once it is imported; runs on a board that was just booted.

Frozen bytecode stays in flash: what a module takes is its names, functions, classes and tables.
A row is `= module.NAME 0 BYTES`, without what the module itself imports; "import", "start" and
"decide" are all that is held after each of these, modules and objects together. A module that is
not there takes something as well: the note that it was looked for.
"""

import builtins
import gc

_import = builtins.__import__
_names = [None] * 80
_bytes = [0] * 80
_count = [0]
_depth = [0]
_inner = [0] * 20  # bytes of those imported from within, for each level


def _used():
    gc.collect()
    return gc.mem_alloc()


def _counting(name, globals=None, locals=None, fromlist=None, level=0):
    """Import, and note what it took; allocates nothing itself."""
    if level and name:  # seen from here it would be relative to this program
        name = _ABSOLUTE[name]
    elif level:
        name = "warden"
    depth = _depth[0] = _depth[0] + 1
    _inner[depth] = 0
    before = _used()
    try:
        return _import(name, globals, locals, fromlist, 0)
    finally:
        took = _used() - before
        depth = _depth[0] = _depth[0] - 1
        _inner[depth] += took
        if took - _inner[depth + 1]:
            _names[_count[0]] = name
            _bytes[_count[0]] = took - _inner[depth + 1]
            _count[0] += 1


_ABSOLUTE = {name: "warden." + name for name in NAMES}  # noqa: F821  # put in front by the bench
builtins.__import__ = _counting
_counting("gc")
_counting("gc")
_count[0] = _inner[0] = 0
_begun = _used()
import warden  # noqa: E402

_imported = _used()
warden.start()
_started = _used()
warden.begin("first").complete()
_decided = _used()
for _row in range(_count[0]):
    print("= module." + _names[_row], 0, _bytes[_row])
print("= import", 0, _imported - _begun)
print("= start", 0, _started - _begun)
print("= decide", 0, _decided - _begun)
