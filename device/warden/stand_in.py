"""Stands in for a module in `sys.modules`, so that its use by the application can be seen."""

import sys


class StandIn:
    """Stands for a module: hands on what it has, save what is given to replace it."""

    def __init__(self, module, owner, **replaced):
        self._module = module
        self.owner = owner
        for name, value in replaced.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        return getattr(self._module, name)


def owner_of(name):
    """Return who stands in for the module of that name, or None where nobody does."""
    module = sys.modules.get(name)
    return module.owner if isinstance(module, StandIn) else None
