"""What the tests of the C module share: its array, and heaps that are filled by chance."""

from array import array

# Places in the array that _warden.heap() fills; docs/native.md.
TOTAL, FREE, LARGEST, SLICES, ALLOCATED = range(5)
COLLECTIONS, LAST_US, LONGEST_US, ALL_US, LIVE, LEFT = range(5, 11)
PARTS, AREA, AT = 11, 12, 13
STATE_BYTES = 76


def new_state():
    return array("i", bytes(STATE_BYTES))


class Chance:
    """A linear congruential generator (Numerical Recipes' constants): the same on every board."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        return (self._state >> 16) % limit


def churn(chance, kept, largest, rounds):
    """Put blocks of up to so many bytes into the list `kept`, by chance, over those before."""
    for _ in range(rounds):
        place = chance.below(len(kept))
        kept[place] = bytearray(chance.below(largest)) if chance.below(3) else None
