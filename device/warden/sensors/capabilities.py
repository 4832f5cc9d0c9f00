"""The board's capabilities: which metrics it can measure, and why not the others."""

from micropython import const

# Reasons, from ids.
_NO_MODULE = const(1)
_NO_ASYNCIO = const(3)
_IMPORTED_EARLY = const(4)
_NOT_REPORTED = const(6)
_NOT_CONNECTED = const(7)
_NOT_COUNTED = const(8)
_NO_COLLECTION = const(9)
_TURNED_OFF = const(19)

# Places among the reasons, in the order of ids.CAPABILITIES; the first is memory, always there.
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
_CAN_TIMER = const(13)

_RSSI_FIGURE = const(10)  # places among a sample's figures
_CONNECTED_FIGURE = const(15)


def update_reasons(agent):
    """Bring `agent.reasons` up to now; return whether one changed. Allocates nothing.

    Those that do not change `warden.setup` has set.

    They are a byte for each of ids.CAPABILITIES: 0 for available, else the reason why not.
    """
    changed = _note(agent, _CAN_LIVE, agent.memory.live, _NO_COLLECTION)
    changed |= _note(agent, _CAN_LARGEST, agent.memory.largest, agent.memory.reason)
    reason = _NO_ASYNCIO if agent.load.core is None else _TURNED_OFF
    changed |= _note(agent, _CAN_CPU, agent.load.wait_hook, reason)
    changed |= _note(agent, _CAN_LOOP_LAG, agent.load.wait_hook, reason)
    if agent.load.wait_hook is not None:
        reason = _IMPORTED_EARLY
    changed |= _note(agent, _CAN_TASKS, None if agent.load.tasks < 0 else 0, reason)
    changed |= _note(agent, _CAN_THREADS, None if agent.threads.early else 0, _IMPORTED_EARLY)
    changed |= _note(agent, _CAN_STORAGE, agent.storage.permille, agent.storage.reason)
    reason = _NOT_REPORTED
    if not agent.network.available:
        reason = _NO_MODULE
    elif agent.network.wlan is None:
        reason = _IMPORTED_EARLY if agent.network.early else _NOT_CONNECTED
    changed |= _note(agent, _CAN_NETWORK_BYTES, agent.network.sent, _NOT_COUNTED)
    connected = agent.sample.get(_CONNECTED_FIGURE)
    changed |= _note(agent, _CAN_WLAN, connected, reason)
    if connected is not None:
        reason = _NOT_REPORTED if connected else _NOT_CONNECTED
    rssi_dbm = agent.sample.get(_RSSI_FIGURE)
    changed |= _note(agent, _CAN_RSSI, rssi_dbm, reason)
    changed |= _note(agent, _CAN_TIMER, agent.board.has_timer or None, _NO_MODULE)
    return changed


def _note(agent, place, value, reason):
    """Store 0 for a known value, else the reason why not; return whether that is a change."""
    if value is not None:
        reason = 0
    changed = agent.reasons[place] != reason
    agent.reasons[place] = reason
    return changed
