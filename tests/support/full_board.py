"""A fake board that can tell everything: what a WLAN, the C module and an ESP32 bring, too."""

from boardwarden import testing
from warden_schema import ids

FIGURES = {
    "largest_free_block_bytes": 64_000,
    "low_water_bytes": 170_000,
    "threads": 2,
    "connected": 1,
    "rssi_dbm": -61,
    "sent_bytes": 1_000,
    "received_bytes": 2_000,
}


def full_board():
    """Return it, with a lease of each resource, an operation, a session and a threshold."""
    board = testing.FakeBoard()
    board.values.update(FIGURES)
    board.identity[4] = "power_on"
    board.identity += [12, 86_000]  # boots, and how long without a crash
    board.rows[0] = [*board.rows[0], [7, 1, 0, 0]]
    board.system_heap = [62_480, 31_744, 41_012]
    policy = board.policy
    policy.crash_lists[ids.RESTART] = [[1, "wdt", 0, 1, 11, 4000, "sync", 51_200, None, 4, 0, None]]
    text = b"main.py:9 main\nOSError: [Errno 5] EIO\n"
    policy.crash_lists[ids.EXCEPTION] = [[1, 3, None, 2, None, text]]
    policy.put(ids.LEASE, 0, [1, 0, 8192, "ota", 2, None, 5, None, True, None])
    policy.put(ids.LEASE, 1, [2, 1, 4096, "log", 1, None, 5, None, True, "/"])
    policy.put(ids.LEASE, 2, [3, 2, 250, "spin", 1, None, 5, None, True, None])
    policy.put(ids.LEASE, 3, [4, 3, 1000, "sync", 0, None, 5, None, True, None])
    policy.put(ids.OPERATION, 0, [5, "flash", 2, 1, 420, "", None, 5, 5000, None, None])
    policy.put(ids.SESSION, 0, [6, "application", None, None, None, None])
    policy.put(ids.THRESHOLD, 0, [0, 750, 850, 650, 0, 1, 1, 800])
    policy.happen("threshold", 0, "warn", 800)
    return board
