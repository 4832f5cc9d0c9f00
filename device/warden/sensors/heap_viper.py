"""Reads the heap's allocation table, in machine code; there is no twin of it in bytecode.

MicroPython keeps two bits for each block of its heap, four blocks to a byte, lowest bits first:
0 free, 1 the head of an object, 2 its tail, 3 a head that the collector has marked (py/gc.c).
`find_table` finds the table, proves that it is one and makes the array. Nothing here checks bounds.
"""

from micropython import const

SLICE = 128  # groups of 64 blocks

# Places in the array that a pass goes on in. The answer, in bytes of the heap, stands where the C
# module has it;
_FREE = const(1)
_LARGEST = const(2)  # free run
_LONGEST = const(3)  # object, less two groups' length at most
# the pass under way counts blocks:
_AT = const(6)  # so many bytes of the table are left, 0: none is under way
_END = const(7)  # the table's length,
_SHIFT = const(8)  # from blocks to bytes
_FREE_BLOCKS = const(9)
_LARGEST_RUN = const(10)
_RUN = const(11)  # the free run of which no end was seen yet
_LONGEST_TAILS = const(12)
_TAILS = const(13)  # the same of an object
_BELOW = const(14)  # the table begins so many bytes below the array

_BLOCK_BY_BLOCK = const(96)  # bytes: to go through a group so is as much work as six others

# Of a byte's four blocks, by bits 0, 2, 4 and 6, which are used: two bits each for how many are
# free before the first used one, for the longest free run between two, for how many are free after
# the last one, and for how many are free.
_RUNS = (
    b"\x00\xf0\x00\x00\xe1\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xd2\x94\x00\x00\x91\x50"
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc3\x88"
    b"\x00\x00\x85\x44\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x82\x44\x00\x00\x41\x00"
)


@micropython.viper
def read_table(state: ptr32, room: int) -> int:
    """Go on with a pass, or begin one; return 1 if it is whole now, else 0.

    It goes from the table's end down, in groups of 64 blocks: the longest free run mostly is up
    there, and no shorter one needs a look then. state: the array; room: for so many groups, 0: for
    all.
    """
    table = ptr8(int(state) - state[_BELOW])
    runs = ptr8(_RUNS)
    ones = 0x5555  # a bit for each block
    ones |= ones << 16  # one constant of 32 bits could not be compiled on a board
    twos = 0x3333
    twos |= twos << 16
    fours = 0x0F0F
    fours |= fours << 16
    at = state[_AT]
    if at == 0:
        while at <= _TAILS - _FREE_BLOCKS:
            state[_FREE_BLOCKS + at] = 0
            at += 1
        at = state[_END]
    left = at - (room << 4) if room > 0 else -0x10000000
    stop = left if left > 0 else 0
    free = state[_FREE_BLOCKS]
    largest = state[_LARGEST_RUN]
    run = state[_RUN]
    tails = state[_TAILS]
    while at > stop:
        begin = at - 1 & -16
        if at & 15 == 0:
            words = ptr32(int(table) + begin)
            kinds = words[0] | words[1] | words[2] | words[3]
            if kinds == 0:
                count = at
                at = begin
                while at > stop:
                    words = ptr32(int(table) + at - 16)
                    if words[0] | words[1] | words[2] | words[3] != 0:
                        break
                    at -= 16
                count -= at
                free += count << 2
                run += count << 2
                left -= count >> 1  # it was half the work
                stop = left if left > 0 else 0
                continue
            used0 = (words[0] | words[0] >> 1) & ones
            used1 = (words[1] | words[1] >> 1) & ones
            used2 = (words[2] | words[2] >> 1) & ones
            used3 = (words[3] | words[3] >> 1) & ones
            if used0 & used1 & used2 & used3 == ones:
                at = begin
                if run > largest:
                    largest = run
                run = 0
                if kinds & ones == 0:
                    tails += 64
                    if tails > state[_LONGEST_TAILS]:
                        state[_LONGEST_TAILS] = tails
                else:
                    tails = 0
                continue
            tails = 0
            if run + 63 <= largest:  # no longer one ends or lies in here
                at = begin
                count = used0 + used1 + used2
                count = (count & twos) + (count >> 2 & twos) + (used3 & twos) + (used3 >> 2 & twos)
                count = (count & fours) + (count >> 4 & fours)
                count += count >> 16
                count += count >> 8
                free += 64 - (count & 127)
                run = 0
                while used0 == 0:
                    run += 16
                    used0 = used1
                    used1 = used2
                    used2 = used3
                while used0 & 1 == 0:
                    run += 1
                    used0 >>= 2
                continue
        left += _BLOCK_BY_BLOCK
        if left > stop:
            stop = left
        while at > begin:
            at -= 1
            entry = int(table[at])
            entry = int(runs[(entry | entry >> 1) & 0x55])
            if table[at] == 0:
                free += 4
                run += 4
            else:
                free += entry >> 6
                run += entry >> 4 & 3
                if run > largest:
                    largest = run
                run = entry >> 2 & 3
                if run > largest:
                    largest = run
                run = entry & 3
    state[_AT] = at
    state[_FREE_BLOCKS] = free
    state[_LARGEST_RUN] = largest
    state[_RUN] = run
    state[_TAILS] = tails
    if at > 0:
        return 0
    shift = state[_SHIFT]
    state[_FREE] = free << shift
    state[_LARGEST] = (run if run > largest else largest) << shift
    state[_LONGEST] = state[_LONGEST_TAILS] << shift
    return 1
