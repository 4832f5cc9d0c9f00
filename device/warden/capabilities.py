"""What the board can tell, and why it cannot tell the rest."""

from micropython import const

# Places, in the order of ids.CAPABILITIES.
_MEMORY = const(0)
_LIVE_MEMORY = const(1)
_LARGEST_FREE_BLOCK = const(2)
_CPU = const(3)
_LOOP_LAG = const(4)
_TASKS = const(5)
_THREADS = const(6)
_STORAGE = const(7)
_WLAN = const(8)
_RSSI = const(9)
_NETWORK_BYTES = const(10)
_RESET_CAUSE = const(11)
_UNIQUE_ID = const(12)
_TIMER = const(13)
_PLACES = const(14)
_UNKNOWN = const(-0x40000000)

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


class Capabilities:
    """`reasons`: a byte for each capability, 0 for available, else the reason why not."""

    def __init__(self, agent):
        self._agent = agent
        self.reasons = bytearray(_PLACES)
        self.reasons[_LARGEST_FREE_BLOCK] = (
            _NO_NATIVE if agent.memory.largest is None else _AVAILABLE
        )
        self.reasons[_UNIQUE_ID] = _AVAILABLE if agent.identity[3] else _NOT_REPORTED
        self.reasons[_RESET_CAUSE] = _AVAILABLE if agent.identity[4] else _NOT_REPORTED
        self.reasons[_TIMER] = _NO_MODULE
        self.update()

    def update(self):
        """Bring the reasons up to now; return whether one changed. Allocates nothing."""
        agent = self._agent
        load = agent.load
        changed = self._note(
            _LIVE_MEMORY, _AVAILABLE if agent.memory.live is not None else _NO_COLLECTION
        )
        changed |= self._note(_CPU, _AVAILABLE if load.attached else _NO_ASYNCIO)
        changed |= self._note(_LOOP_LAG, _AVAILABLE if load.attached else _NO_ASYNCIO)
        tasks = _NO_ASYNCIO
        if load.attached:
            tasks = _AVAILABLE if load.tasks_known else _IMPORTED_EARLY
        changed |= self._note(_TASKS, tasks)
        changed |= self._note(_THREADS, _IMPORTED_EARLY if agent.threads.early else _AVAILABLE)
        changed |= self._note(_STORAGE, _AVAILABLE if agent.storage.rows else _NOTHING_MOUNTED)
        return self._update_network(agent.network) or changed

    def timer(self, available):
        """Note whether a machine.Timer runs the agent."""
        self._note(_TIMER, _AVAILABLE if available else _NO_MODULE)

    def _update_network(self, network):
        wlan = _AVAILABLE
        if not network.available:
            wlan = _NO_MODULE
        elif network.wlan is None:
            wlan = _IMPORTED_EARLY if network.early else _NOT_CONNECTED
        rssi = wlan
        if wlan == _AVAILABLE and network.words[1] == _UNKNOWN:
            rssi = _NOT_REPORTED if network.words[0] == 1 else _NOT_CONNECTED
        changed = self._note(_WLAN, wlan)
        changed |= self._note(_RSSI, rssi)
        counted = _NOT_COUNTED if network.words[2] == _UNKNOWN else _AVAILABLE
        return self._note(_NETWORK_BYTES, counted) or changed

    def _note(self, place, reason):
        if self.reasons[place] == reason:
            return False
        self.reasons[place] = reason
        return True
