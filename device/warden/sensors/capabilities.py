"""What the board can tell, and why it cannot tell the rest."""

from micropython import const

# Places, in the order of ids.CAPABILITIES; the first, memory, is always available.
_PLACE_LIVE_MEMORY = const(1)
_PLACE_LARGEST_FREE_BLOCK = const(2)
_PLACE_CPU = const(3)
_PLACE_LOOP_LAG = const(4)
_PLACE_TASKS = const(5)
_PLACE_THREADS = const(6)
_PLACE_STORAGE = const(7)
_PLACE_WLAN = const(8)
_PLACE_RSSI = const(9)
_PLACE_NETWORK_BYTES = const(10)
_PLACE_RESET_CAUSE = const(11)
_PLACE_UNIQUE_ID = const(12)
_PLACE_TIMER = const(13)
_CAPABILITIES = const(14)

# Reasons, from ids.
_AVAILABLE = const(0)
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


class Capabilities:
    """`reasons`: a byte for each capability, 0 for available, else the reason why not.

    has_timer: whether a machine.Timer runs the agent; who changes it calls `update()`.
    """

    def __init__(self, agent):
        self._agent = agent  # whose sensors are looked at
        self.has_timer = False
        self._changed = False
        self.reasons = bytearray(_CAPABILITIES)
        self._set(_PLACE_UNIQUE_ID, agent.identity[3], _NOT_REPORTED)
        self._set(_PLACE_RESET_CAUSE, agent.identity[4], _NOT_REPORTED)
        self.update()

    def update(self):
        """Bring the reasons up to now; return whether one changed. Allocates nothing."""
        self._changed = False
        agent = self._agent
        self._set(_PLACE_LIVE_MEMORY, agent.memory.live is not None, _NO_COLLECTION)
        self._set(_PLACE_LARGEST_FREE_BLOCK, agent.memory.largest is not None, _NO_NATIVE)
        load = agent.load
        watched = load.core is not None
        self._set(_PLACE_CPU, watched, _NO_ASYNCIO)
        self._set(_PLACE_LOOP_LAG, watched, _NO_ASYNCIO)
        self._set(_PLACE_TASKS, load.tasks is not None, _IMPORTED_EARLY if watched else _NO_ASYNCIO)
        self._set(_PLACE_THREADS, not agent.threads.early, _IMPORTED_EARLY)
        storage = agent.storage
        reason = _NOTHING_MOUNTED if storage.due_s else _NO_SCAN
        self._set(_PLACE_STORAGE, storage.rows, reason)
        self._set_network(agent.network)
        self._set(_PLACE_TIMER, self.has_timer, _NO_MODULE)
        return self._changed

    def _set_network(self, network):
        reason = _NOT_REPORTED
        if not network.available:
            reason = _NO_MODULE
        elif network.wlan is None:
            reason = _IMPORTED_EARLY if network.early else _NOT_CONNECTED
        self._set(_PLACE_WLAN, network.connected is not None, reason)
        if network.connected is not None:
            reason = _NOT_REPORTED if network.connected else _NOT_CONNECTED
        self._set(_PLACE_RSSI, network.rssi_dbm is not None, reason)
        self._set(_PLACE_NETWORK_BYTES, network.sent is not None, _NOT_COUNTED)

    def _set(self, place, available, reason):
        if available:
            reason = _AVAILABLE
        if self.reasons[place] != reason:
            self.reasons[place] = reason
            self._changed = True
