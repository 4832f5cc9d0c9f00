"""A heap without a free block, as an application leaves it that holds on to small objects."""

import gc
import sys

from harness import skip

_chain = None
_singles = [None] * 100  # for objects of one block


def leak():
    """Take every block of the heap that is free. Raises MemoryError."""
    global _chain
    if sys.implementation.name != "micropython":
        skip("this heap has no end")
    number = 0.5
    try:
        while True:  # of two blocks each
            _chain = [_chain]
    except MemoryError:
        pass
    place = 0
    while True:
        _singles[place] = number = number + 1.0
        place += 1


def fill():
    """Take every block of the heap that is free."""
    gc.collect()
    for _ in (1, 2, 3):  # what failed may have left garbage
        try:
            leak()
        except MemoryError:
            pass


def empty():
    """Give it all back."""
    global _chain
    link, _chain = _chain, None
    while link:  # each by itself: what is left on the C stack would keep all that follow it
        rest, link[0] = link[0], None
        link = rest
    for place in range(len(_singles)):
        _singles[place] = None
    gc.collect()
