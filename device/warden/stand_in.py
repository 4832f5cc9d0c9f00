"""Stands in for a module in `sys.modules`, so that its use by the application can be seen.

Imported where there is such a module.
"""


class StandIn:
    """Stands for a module: hands on what it has, save what is given to replace it."""

    def __init__(self, module, owner, **replaced):
        self._module = module
        self.warden_owner = owner  # the one on this board, for all agents to come
        for name, value in replaced.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        return getattr(self._module, name)
