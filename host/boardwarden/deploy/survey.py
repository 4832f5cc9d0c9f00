"""What a board has for the agent: its heap, its pool of names, its ROMFS partition."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from . import programs
from .repl import Repl
from .romfs import HEADER, UnknownImage, image_size

# Of py/qstr.c: the first pool that is made has 20 places, each further one twice as many; a pool is
# six words, and a place takes a pointer, a hash of two bytes and a length. On 32 bits.
_FIRST_PLACES = 20
_POOL_BYTES = 24
PLACE_BYTES = 7
_BLOCK_BYTES = 16
_BLANK = (0x00, 0xFF)
_POOLS = re.compile(r"n_pool=(\d+), n_qstr=(\d+)")


@dataclass(frozen=True)
class Names:
    """MicroPython's pools of names: how many there are, and how many names are in them."""

    pools: int
    used: int

    def growth(self, more: int) -> tuple[int, int]:
        """Return the bytes that the pools grow by for so many names more, and the largest block."""
        left = _FIRST_PLACES * (2**self.pools - 1) - self.used
        pool, total, largest = self.pools, 0, 0
        while more > left:
            places = _FIRST_PLACES * 2**pool
            largest = -(-(_POOL_BYTES + places * PLACE_BYTES) // _BLOCK_BYTES) * _BLOCK_BYTES
            total, left, pool = total + largest, left + places, pool + 1
        return total, largest


@dataclass(frozen=True)
class Heap:
    """A board's heap in bytes, after a collection and without its application.

    names: None where the firmware does not tell; word_bits: 32, or 64 on a desktop.
    """

    total_bytes: int
    free_bytes: int
    largest_free_block_bytes: int
    word_bits: int
    names: Names | None


@dataclass(frozen=True)
class Partition:
    """The first ROMFS partition, in bytes.

    image_bytes: of the image that is in it; 0 for a blank one, None for something else.
    """

    size_bytes: int
    block_bytes: int
    is_device: bool  # a block device, else memory that vfs.rom_ioctl() writes to
    image_bytes: int | None


def heap(repl: Repl) -> Heap:
    """Ask a board for its heap."""
    (total, free, largest, wide), printed = repl.call_printing(programs.HEAP)
    found = _POOLS.search(printed)
    names = Names(int(found[1]), int(found[2])) if found else None
    return Heap(total, free, largest, 64 if wide else 32, names)


def partition(repl: Repl) -> Partition | None:
    """Ask a board for its ROMFS partition; None where its firmware has none."""
    found = repl.call(programs.PARTITION)
    if found is None:
        return None
    size, block, is_device, begin = found
    image: int | None = None
    if begin.startswith(HEADER):
        with contextlib.suppress(UnknownImage):
            image = image_size(begin)
    elif any(begin == bytes([blank]) * len(begin) for blank in _BLANK):
        image = 0
    return Partition(size, block, bool(is_device), image)
