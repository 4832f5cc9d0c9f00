"""A cache that gives memory back when it is short, in a plain loop: no asyncio, no host.

The board watches how much of its heap is live. At `warn` it asks the cache for memory, until the
figure is back at `clear`; at `critical` the cache gives back everything. No host is needed for it:

    boardwarden console --board sim:examples/cache.py
"""

import time

import warden

TILE_BYTES = 16_384
tiles = {}  # of a map, by place: each can be drawn again
drawn = 0


def tile_at(place):
    """Return a tile from the cache, or draw it."""
    global drawn
    if place not in tiles:
        tiles[place] = bytearray(TILE_BYTES)  # your drawing
        drawn += 1
    return tiles[place]


def drop_tiles(level):
    """Give back half of the tiles at warn, all of them at critical."""
    count = len(tiles) if level > 1 else len(tiles) // 2
    for place in list(tiles)[:count]:
        del tiles[place]
    print(f"{count} tiles dropped, {len(tiles)} kept")
    return count * TILE_BYTES


def tell(event):
    """Print that the figure crossed a level; see docs/board.md for what is in an event."""
    print(f"memory: {event[5]}, {event[6] / 10:.0f} % live")


warden.start(interval_ms=250, budget_permille=50)  # the cache fills fast: look often
warden.threshold("memory", 400, 600, 350, action=warden.PROTECT)  # permille of the heap
warden.on_trim(drop_tiles)
warden.on("threshold", tell)
place = 0
while True:
    tile_at(place)  # somebody scrolls over the map
    place += 1
    if place % 200 == 0:
        print(f"{drawn} drawn, {len(tiles)} in the cache")
    time.sleep_ms(min(warden.poll(), 20))
