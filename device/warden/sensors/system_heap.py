"""Measures the system's own heap on ESP32, from which Wi-Fi and TLS take their memory.

MicroPython's heap grows out of it, and a board may die of it while its own heap is nearly empty.
"""

import esp32
from micropython import const

_SYSTEM_HEAP = const(17)
_CHANGED = const(1)  # of a row, see `warden.tables`
_SUBSCRIBED = const(2)
_PERIOD_S = const(10)  # to read it allocates a list, and walks over all of its blocks


class SystemHeap:
    """`values`: free bytes, the largest free block, and the least that was free since the reset.

    Bytes, None until it was read. Free and least are the sums of all regions; these may have had
    their least at different times, so the heap as a whole never had less. A host mirrors it as the
    one row of a `tables.Table`.
    """

    def __init__(self, clock):
        self.clock = clock
        self.dirty = bytearray(1)
        self.deadline_s = 0
        self.values = (None, None, None)

    def read(self):
        """Read it, every ten seconds at most; where that fails, what is known stands."""
        if self.clock.s >= self.deadline_s:
            self.deadline_s = self.clock.s + _PERIOD_S
            self.scan()

    def scan(self):
        """Add up the regions."""
        free = largest = low_water = 0
        try:
            for _, region_free, region_largest, region_low in esp32.idf_heap_info(esp32.HEAP_DATA):
                free += region_free
                largest = max(largest, region_largest)
                low_water += region_low
            values = (free, largest, low_water)
        except Exception:  # there is no memory for the list, say
            return
        if values != self.values:
            self.values = values
            self.dirty[0] = self.dirty[0] or _CHANGED
            self.clock.poll_now = self.clock.rows_dirty = True

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
        if self.values[0] is None:
            return False
        uplink.begin(_SYSTEM_HEAP, 3)
        for value in self.values:
            uplink.put(value)
        return True

    def on_sent(self, row):
        """Note that the frame of a row has left."""
