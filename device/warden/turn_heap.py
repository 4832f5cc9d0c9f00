"""The heap during a turn of the agent: locked, so that nothing there can allocate unnoticed.

Locked, it also costs less: a call with many variables takes no block of it.
"""

from micropython import heap_lock, heap_unlock


class HeapUnlocked:
    """`with heap_unlocked:` is around what a turn must do that needs memory, when it is due."""

    def __init__(self):
        self.in_turn = False  # so that it changes nothing elsewhere
        self.is_open = False

    def __enter__(self):
        self.is_open = True
        if self.in_turn:
            heap_unlock()

    def __exit__(self, kind, error, trace):
        self.is_open = False
        if self.in_turn:
            heap_lock()
        return False


heap_unlocked = HeapUnlocked()
