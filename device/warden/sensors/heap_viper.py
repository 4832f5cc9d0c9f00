"""Reads the heap's allocation table, in machine code; there is no twin of it in bytecode.

MicroPython keeps two bits for each block of its heap, four blocks to a byte, lowest bits first:
0 free, 1 the head of an object, 2 its tail, 3 a head that the collector has marked (py/gc.c).
`heap_table` finds the table and proves that it is one. Nothing here checks bounds.
"""

from micropython import const

# Places in the array that a pass goes on in. The answer, in bytes of the heap, stands where the C
# module has it;
_FREE = const(1)
_LARGEST = const(2)  # free run
_LONGEST = const(3)  # object; of what is larger than two words' entries, less one word's at most
# the pass under way counts blocks:
_AT = const(6)  # the byte of the table to be read next, 0: none is under way
_END = const(7)  # the table's length
_SHIFT = const(8)  # from blocks to bytes
_FREE_BLOCKS = const(9)
_LARGEST_RUN = const(10)
_RUN = const(11)  # the free run of which no end was seen yet
_LONGEST_TAILS = const(12)
_TAILS = const(13)  # the same of an object

_MIXED = const(7)  # a word with free and used blocks is more work than others by so much


@micropython.viper
def buffer_address(buffer: ptr8) -> int:
    """Return where a buffer's bytes are; as negative number where that has the highest bit."""
    return int(buffer)


@micropython.viper
def find_object(probe: ptr8, entry: int, limit: int) -> int:
    """Search downwards from `entry` for an object of 65 blocks and more; return its head's entry.

    Entries are counted from the one whose bits are the lowest of probe[0], so those below are
    negative; 1 if there is none down to probe[limit].
    """
    at = entry >> 2
    while at > limit:
        at -= 16  # so many bytes full of tails it has
        if probe[at] == 0xAA:
            while probe[at] == 0xAA:
                at -= 1
            kinds = int(probe[at])
            entry = 3
            while kinds >> (entry << 1) & 3 == 2:
                entry -= 1
            return at << 2 | entry
    return 1


@micropython.viper
def object_length(probe: ptr8, entry: int, limit: int) -> int:
    """Return the length of the object with its head at an entry, at most `limit`; 0: no head."""
    if int(probe[entry >> 2]) >> ((entry & 3) << 1) & 1 == 0:
        return 0
    count = 1
    while count < limit:
        entry += 1
        if int(probe[entry >> 2]) >> ((entry & 3) << 1) & 3 != 2:
            break
        count += 1
    return count


@micropython.viper
def read_table(table: ptr8, state: ptr32, runs: ptr8, room: int) -> int:
    """Go on with a pass, or begin one; return 1 if it is whole now, else 0.

    table: an address, or a buffer, which begins at a whole word; room: for so many words that are all free or all used; runs:
    `heap_table.HEAP_RUNS`.
    """
    ones = 0x5555
    ones |= ones << 16  # one constant of 32 bits could not be compiled on a board
    pairs = 0x3333
    pairs |= pairs << 16
    words = ptr32(table)
    at = state[_AT]
    if at == 0:
        place = _FREE_BLOCKS
        while place <= _TAILS:
            state[place] = 0
            place += 1
    end = state[_END]
    free = state[_FREE_BLOCKS]
    largest = state[_LARGEST_RUN]
    run = state[_RUN]
    longest = state[_LONGEST_TAILS]
    tails = state[_TAILS]
    while at < end:
        if room <= 0:
            state[_AT] = at
            state[_FREE_BLOCKS] = free
            state[_LARGEST_RUN] = largest
            state[_RUN] = run
            state[_LONGEST_TAILS] = longest
            state[_TAILS] = tails
            return 0
        room -= 1
        count = 4
        if end - at >= 4:
            word = int(words[at >> 2])
        else:
            word = int(table[at])
            count = 1
        at += count
        if word == 0:
            run += count << 2
            free += count << 2
        else:
            used = (word | word >> 1) & ones
            if used == ones:
                if run > largest:
                    largest = run
                run = 0
                if word & ones == 0:
                    tails += 16
                    continue
            else:
                room -= _MIXED
                used = (used | used >> 1) & pairs
                used |= used >> 2
                while count > 0:
                    count -= 1
                    if used & 15 == 0:
                        run += 4
                        free += 4
                    else:
                        entry = int(runs[used & 15])
                        run += entry & 3
                        if run > largest:
                            largest = run
                        run = entry >> 2 & 3
                        if run > largest:
                            largest = run
                        run = entry >> 4 & 3
                        free += entry >> 6
                    used >>= 8
        if tails > longest:
            longest = tails
        tails = 0
    if run > largest:
        largest = run
    if tails > longest:
        longest = tails
    shift = state[_SHIFT]
    state[_AT] = 0
    state[_FREE] = free << shift
    state[_LARGEST] = largest << shift
    state[_LONGEST] = longest << shift
    return 1
