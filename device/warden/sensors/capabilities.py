"""What the board can tell, and why it cannot tell the rest."""

from micropython import const

# Reasons, from ids.
_NO_MODULE = const(1)
_NO_NATIVE = const(2)
_NO_ASYNCIO = const(3)
_IMPORTED_EARLY = const(4)
_NOTHING_MOUNTED = const(5)
_NOT_REPORTED = const(6)
_NOT_CONNECTED = const(7)
_NOT_COUNTED = const(8)
_NO_COLLECTION = const(9)
_NO_SCAN = const(10)

_CAPABILITIES = const(14)


class Capabilities:
    """`reasons`: a byte for each of ids.CAPABILITIES, 0 for available, else the reason why not.

    has_timer: whether a machine.Timer runs the agent; who changes it calls `update()`.
    """

    def __init__(self, agent):
        self._agent = agent  # whose sensors are looked at
        self.has_timer = False
        self.reasons = bytearray(_CAPABILITIES)
        self._place = 0
        self._changed = False
        self.update()

    def update(self):
        """Bring the reasons up to now; return whether one changed. Allocates nothing."""
        agent = self._agent
        load = agent.load
        no_asyncio = _NO_ASYNCIO if load.core is None else 0
        self._place = 0
        self._changed = False
        self._note(True, 0)  # memory; the rest in the order of ids.CAPABILITIES, too
        self._note(agent.memory.live is not None, _NO_COLLECTION)
        self._note(agent.memory.largest is not None, _NO_NATIVE)
        self._note(not no_asyncio, no_asyncio)  # cpu
        self._note(not no_asyncio, no_asyncio)  # loop_lag
        self._note(load.tasks is not None, no_asyncio or _IMPORTED_EARLY)
        self._note(not agent.threads.early, _IMPORTED_EARLY)
        self._note(agent.storage.rows, _NOTHING_MOUNTED if agent.storage.due_s else _NO_SCAN)
        self._note_network(agent.network)
        self._note(agent.identity[4], _NOT_REPORTED)  # reset_cause
        self._note(agent.identity[3], _NOT_REPORTED)  # unique_id
        self._note(self.has_timer, _NO_MODULE)
        return self._changed

    def _note_network(self, network):
        reason = _NOT_REPORTED
        if not network.available:
            reason = _NO_MODULE
        elif network.wlan is None:
            reason = _IMPORTED_EARLY if network.early else _NOT_CONNECTED
        self._note(network.connected is not None, reason)  # wlan
        if network.connected is not None:
            reason = _NOT_REPORTED if network.connected else _NOT_CONNECTED
        self._note(network.rssi_dbm is not None, reason)
        self._note(network.sent is not None, _NOT_COUNTED)

    def _note(self, available, reason):
        """Note the reason of the next one."""
        if available:
            reason = 0
        if self.reasons[self._place] != reason:
            self.reasons[self._place] = reason
            self._changed = True
        self._place += 1
