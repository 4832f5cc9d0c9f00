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
# Places among them, in the order of ids.CAPABILITIES; the first is memory, which is always there.
_CAN_LIVE = const(1)
_CAN_LARGEST = const(2)
_CAN_CPU = const(3)
_CAN_LOOP_LAG = const(4)
_CAN_TASKS = const(5)
_CAN_THREADS = const(6)
_CAN_STORAGE = const(7)
_CAN_WLAN = const(8)
_CAN_RSSI = const(9)
_CAN_NETWORK_BYTES = const(10)
_CAN_RESET_CAUSE = const(11)
_CAN_UNIQUE_ID = const(12)
_CAN_TIMER = const(13)


class Capabilities:
    """`reasons`: a byte for each of ids.CAPABILITIES, 0 for available, else the reason why not.

    has_timer: whether a machine.Timer runs the agent; each `update()` looks at it.
    """

    def __init__(self, agent):
        self.agent = agent  # whose sensors are looked at
        self.has_timer = False
        self.reasons = bytearray(_CAPABILITIES)
        self.changed = False
        self.update()

    def update(self):
        """Bring the reasons up to now; return whether one changed. Allocates nothing."""
        agent = self.agent
        network = agent.network
        self.changed = False
        self.note(_CAN_LIVE, agent.memory.live, _NO_COLLECTION)
        self.note(_CAN_LARGEST, agent.memory.largest, _NO_NATIVE)
        reason = _NO_ASYNCIO
        self.note(_CAN_CPU, agent.load.core, reason)
        self.note(_CAN_LOOP_LAG, agent.load.core, reason)
        if agent.load.core is not None:
            reason = _IMPORTED_EARLY
        self.note(_CAN_TASKS, agent.load.tasks, reason)
        self.note(_CAN_THREADS, None if agent.threads.early else 0, _IMPORTED_EARLY)
        reason = _NOTHING_MOUNTED if agent.storage.due_s else _NO_SCAN
        self.note(_CAN_STORAGE, agent.storage.permille, reason)
        reason = _NOT_REPORTED
        if not network.available:
            reason = _NO_MODULE
        elif network.wlan is None:
            reason = _IMPORTED_EARLY if network.early else _NOT_CONNECTED
        self.note(_CAN_WLAN, network.connected, reason)
        if network.connected is not None:
            reason = _NOT_REPORTED if network.connected else _NOT_CONNECTED
        self.note(_CAN_RSSI, network.rssi_dbm, reason)
        self.note(_CAN_NETWORK_BYTES, network.sent, _NOT_COUNTED)
        self.note(_CAN_RESET_CAUSE, agent.identity[4], _NOT_REPORTED)
        self.note(_CAN_UNIQUE_ID, agent.identity[3] or None, _NOT_REPORTED)
        self.note(_CAN_TIMER, self.has_timer or None, _NO_MODULE)
        return self.changed

    def note(self, place, value, reason):
        """Note for a capability that its value is known, or the reason why it is None."""
        if value is not None:
            reason = 0
        if self.reasons[place] != reason:
            self.reasons[place] = reason
            self.changed = True
