"""Becomes a module that stands for another one in `sys.modules`.

What stands there has to be a module: `from … import *` takes it for one without looking, and with
anything else the board crashes (py/runtime.c, mp_import_all). MicroPython makes no module but by
importing a file, so each stand-in is this one, imported anew.
"""


def copy(module, owner):
    """Return a new module with all that another one has; owner: of what it has instead."""
    names = globals()
    names.clear()
    for name in dir(module):
        if name[:2] != "__" or name == "__name__":
            names[name] = getattr(module, name)
    names["_warden"] = owner
    return __import__("sys").modules.pop("warden.stand_in")
