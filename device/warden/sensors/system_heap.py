"""Measures the system's own heap on ESP32, from which Wi-Fi and TLS take their memory.

MicroPython's heap grows out of it, and a board may die of it while its own heap is nearly empty.
"""

import esp32
from micropython import const

from warden.checks import check_int

_SYSTEM_HEAP = const(17)
_CHANGED = const(1)  # of a row, see `warden.tables`
_SUBSCRIBED = const(2)
_PERIOD_S = const(10)  # to read it allocates a list, and walks over all of its blocks
_MAX_HEAP_BYTES = const(0x3FFFFFFF)  # of all regions; beyond, they are considered wrong
_CAN_SYSTEM_HEAP = const(14)  # a place in ids.CAPABILITIES
_IMPOSSIBLE = const(18)  # a reason, from ids
_NONE_KNOWN = const((None, None, None))


class SystemHeap:
    """`values`: free bytes, the largest free block, and the least that was free since the reset.

    Bytes, None until it was read, and while the system gives figures that cannot be: then the
    agent's reasons say so. Free and least are the sums of all regions; these may have had
    their least at different times, so the heap as a whole never had less. A host mirrors it as the
    one row of a `tables.Table`.
    """

    on_sent = bool  # of a row whose frame has left: there is nothing to note

    def __init__(self, agent):
        self.agent = agent
        self.clock = agent.clock
        self.dirty = bytearray(1)
        self.deadline_s = 0
        self.values = _NONE_KNOWN

    def read(self):
        """Read it, every ten seconds at most; where there is no memory for that, it stands."""
        if self.clock.s >= self.deadline_s:
            self.deadline_s = self.clock.s + _PERIOD_S
            self.scan()

    def scan(self):
        """Add up the regions, unless there is no memory for their list."""
        reason = 0  # it is available
        try:
            values = measure()
        except MemoryError:
            return
        except Exception:  # not what is documented
            values = _NONE_KNOWN
            reason = _IMPOSSIBLE
        reasons = self.agent.reasons
        if values != self.values or reason != reasons[_CAN_SYSTEM_HEAP]:
            self.values = values
            self.dirty[0] = self.dirty[0] or _CHANGED
            self.clock.poll_now = self.clock.rows_dirty = True
            if reason != reasons[_CAN_SYSTEM_HEAP]:
                reasons[_CAN_SYSTEM_HEAP] = reason
                if self.agent.session is not None:
                    self.agent.session.hello_dirty = True

    def fill(self, status):
        """Put the figures into a dict."""
        values = self.values
        status["free_bytes"] = values[0]
        status["largest_free_block_bytes"] = values[1]
        status["low_water_bytes"] = values[2]

    def subscribe(self):
        """Mark it for sending, whatever it is."""
        self.dirty[0] = _SUBSCRIBED

    def encode(self, row, uplink):
        """Put its message into the uplink; return False if it was never read."""
        if self.values[0] is None and not self.agent.reasons[_CAN_SYSTEM_HEAP]:
            return False
        uplink.begin(_SYSTEM_HEAP, 3)
        for value in self.values:
            uplink.put(value)
        return True


def measure():
    """Return (free, largest, least) of all regions; ValueError or TypeError for absurd ones."""
    total = free = largest = low_water = 0
    for region in esp32.idf_heap_info(esp32.HEAP_DATA):
        size, region_free, region_largest, region_low = region
        check_int("size", size, 0, _MAX_HEAP_BYTES)
        check_int("free", region_free, 0, size)
        check_int("largest", region_largest, 0, region_free)
        check_int("least", region_low, 0, region_free)
        total += size
        free += region_free
        largest = max(largest, region_largest)
        low_water += region_low
    check_int("total", total, 1, _MAX_HEAP_BYTES)
    return free, largest, low_water
