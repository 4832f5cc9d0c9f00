"""The loops over bytes in bytecode, which runs everywhere. `fast` has the same ones in viper.

`loops` chooses; a test holds the two equal. They check no bounds, because viper cannot: who calls
them has compared places and lengths with the buffers.
"""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value: int) -> int:
        """Stand for MicroPython's compile-time constant."""
        return value


# As in `frame`.
_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x140A243F)
_IN_TEXT = const(0)
_OPENED = const(1)
_IN_FRAME = const(2)
_IN_ESCAPE = const(3)

# A Reader's marks: see `frame`.
_STATE = const(0)
_TO = const(1)
_ROOM = const(2)
_BAD = const(3)
_LENGTH = const(4)
_FOUND = const(5)
_ITEMS = const(6)
_FIRST = const(7)
_MARKS = const(20)


def crc16(data, start: int, end: int, crc: int) -> int:
    """Take data[start:end] into a CRC-16/CCITT-FALSE.

    Without a table: in bytecode too three shifts are quicker than two look-ups.
    """
    while start < end:
        high = (crc >> 8 ^ data[start]) & 0xFF
        high ^= high >> 4
        crc = (crc << 8 ^ high << 12 ^ high << 5 ^ high) & 0xFFFF
        start += 1
    return crc & 0xFFFF


def seal(payload, length: int, wire, room: int) -> int:
    """Frame payload[:length] and its CRC into wire[:room]; return where the frame ends, or 0.

    0: it does not fit, counting an escaped byte's two also where there is one left to put.
    """
    last = room - 2
    crc = 0xFFFF
    wire[0] = _DELIMITER
    to = 1
    at = 0
    end = length + 2
    while at < end:
        if to >= last:
            return 0
        if at < length:
            byte = payload[at]
            high = crc >> 8 ^ byte
            high ^= high >> 4
            crc = (crc << 8 ^ high << 12 ^ high << 5 ^ high) & 0xFFFF
        else:
            byte = crc >> 8
            crc = crc << 8 & 0xFFFF
        if byte == _DELIMITER or byte == _ESCAPE or (byte < 32 and _CONTROLS >> byte & 1):
            wire[to] = _ESCAPE
            to += 1
            byte ^= 0x20
        wire[to] = byte
        to += 1
        at += 1
    wire[to] = _DELIMITER
    return to + 1


# Figures are words of 32 bits, array("i"): from -2**30 + 1 to 2**30 - 1, so that no board has to
# make an object of one, and this for one that the board cannot tell.
_NONE = const(0xFFFF)
_UNKNOWN = const(-0x40000000)
_MOST = const(0x3FFFFFFF)
_MAX_FIELDS = const(13)  # of a DELTA: since, mask, ms and the changes
_BIAS = const(48)
_MAX_S = const(200_000)  # more than that between two samples, and the next one is told whole


# What a host was told: see `device/warden/sample_table.py`.
_SENT = const(0)
_LEFT = const(1)
_BASE_SEQ = const(2)
_SEQ = const(3)
_WHOLE = const(4)
_BASE = const(5)
_HALVES = const(36)
_TOLD = const(54)
_SAMPLE = const(3)
_DELTA = const(16)
_WHOLE_EVERY = const(20)
_LASTING = const(4)
_PLACES = const(22)
_SIZE = const(24)


def tell(values, told, places, seq: int, payload) -> int:
    """Put a sample's message into the payload, a DELTA if that can tell it; return its length.

    told: array("i") of what `sample_table` says; places[:4]: where a DELTA needs the values to be
    equal; places[4:22]: where they may differ, in the order of the mask. A DELTA cannot tell it
    where there are too many changes, or one too great, or where a figure began or ceased to be
    known. The payload must have 128 bytes of room.
    """
    base = told[_BASE]
    if told[_SENT]:
        told[_SENT] = 0
        told[_BASE] = base = _HALVES - base
        told[_BASE_SEQ] = told[_SEQ]
        told[_LEFT] = _WHOLE_EVERY - 1 if told[_WHOLE] else told[_LEFT] - 1
    now = _HALVES - base
    count = 0
    passed = values[0] - told[base]
    told[now] = values[0]
    told[now + 1] = values[1]
    if told[_LEFT] and 0 <= passed <= _MAX_S:
        passed = passed * 1000 + values[1] - told[base + 1]
        if passed >= 0:
            count = 3
    mask = 0
    index = 0
    while index < _PLACES:
        place = places[index]
        value = values[place]
        old = told[base + place]
        told[now + place] = value
        if value != old and count:
            change = value - old + _BIAS
            if (
                index < _LASTING
                or value == _UNKNOWN
                or old == _UNKNOWN
                or count >= _MAX_FIELDS
                or not -_MOST <= change <= _MOST
            ):
                count = 0
            else:
                told[_TOLD + count] = change
                count += 1
                mask |= 1 << (index - _LASTING)
        index += 1
    told[_SEQ] = seq
    told[_WHOLE] = 0 if count else 1
    payload[1] = _DELTA if count else _SAMPLE
    at = 2
    if seq >= 0x100:  # as nearly always; an integer as msgpack has it
        payload[2] = 0xCD
        payload[3] = seq >> 8
        at = 4
    elif seq >= 0x80:
        payload[2] = 0xCC
        at = 3
    payload[at] = seq & 0xFF
    at += 1
    if count:
        payload[0] = 0x92 + count
        index = _TOLD
        told[index] = (seq - told[_BASE_SEQ] & 0xFFFF) + _BIAS
        told[index + 1] = mask
        told[index + 2] = passed - told[now + 2] + _BIAS
    else:
        payload[0] = 0x93
        payload[at] = 0xDC
        payload[at + 1] = 0
        payload[at + 2] = count = _SIZE
        at += 3
        index = now
    end = index + count
    while index < end:
        number = told[index]
        index += 1
        if number == _UNKNOWN:
            payload[at] = 0xC0
        elif -0x20 <= number < 0x80:
            payload[at] = number & 0xFF
        else:
            head = 0xCC if number >= 0 else 0xD0
            size = 1
            if not (-0x80 <= number < 0x100):
                head += 1
                size = 2
            if not (-0x8000 <= number < 0x10000):
                head += 1
                size = 4
            payload[at] = head
            shift = size * 8
            while shift:
                shift -= 8
                at += 1
                payload[at] = number >> shift & 0xFF
        at += 1
    return at


# Places in a sample's words, behind its figures too: see `device/warden/sampler.py`.
_TOTAL_BYTES = const(3)
_FREE_BYTES = const(4)
_LIVE_BYTES = const(5)
_LARGEST_FREE_BLOCK_BYTES = const(6)
_CPU_PERMILLE = const(7)
_LOOP_LAG_MS = const(8)
_LOOP_LAG_WORST_MS = const(9)
_TASKS = const(10)
_FIRST_TOLD = const(5)
_LAST_TOLD = const(15)
_MEMORY = const(24)
_AVAILABLE_BYTES = const(28)
_PERIOD_MS = const(29)
_COST_US = const(30)
_BUDGET = const(31)
_WANTED = const(32)
_INTERVAL = const(33)
_MEAN_US = const(34)
_REST = const(35)
_LAST_SENT = const(36)
_USED_BYTES = const(37)
_STORED = const(38)
_SHIFT = const(39)
_DUE_S = const(40)
_DUE_MS = const(41)
_LEFT_MS = const(42)


_TEXTS_END = const(198)  # of a payload: what is behind has room for the head of a long text


def pack_row(buf, at: int, row, count: int, texts: int) -> int:
    """Put row[:count], figures, bools and None, into buf, from `at` on; return where they end.

    As msgpack has them, at most 5 bytes each; nil for what a figure cannot be. texts: a bit for
    each that is a str or None. With one of them buf is an uplink's payload, and IndexError is
    raised where it would be full.
    """
    index = 0
    while index < count:
        item = row[index]
        if item is True or item is False:
            buf[at] = 0xC3 if item else 0xC2
            at += 1
        elif texts >> index & 1 and item is not None:
            at = _pack_text(buf, at, item.encode(), 5 * (count - index - 1))
        else:
            at = _pack_one(buf, at, _word(item))
        index += 1
    return at


def _pack_text(buf, at: int, data, behind: int) -> int:
    size = len(data)
    if at + size + behind > _TEXTS_END:
        raise IndexError
    if size < 0x20:
        buf[at] = 0xA0 | size
    else:
        buf[at] = 0xD9
        at += 1
        buf[at] = size
    for byte in data:
        at += 1
        buf[at] = byte
    return at + 1


def pack_message(uplink, kind: int, fields, texts: int) -> int:
    """Put a message of these fields, a list, into an uplink; return its length.

    At most 13 of them, after the kind and the frame's number; texts: see `pack_row`.
    """
    buf = uplink.payload
    count = len(fields)
    seq = uplink.seq
    buf[0] = 0x92 + count
    buf[1] = kind
    at = 2
    if seq >= 0x100:
        buf[2] = 0xCD
        buf[3] = seq >> 8
        at = 4
    elif seq >= 0x80:
        buf[2] = 0xCC
        at = 3
    buf[at] = seq & 0xFF
    return pack_row(buf, at + 1, fields, count, texts)


def mark(table, row: int) -> None:
    """Have a row of a table told: see `device/warden/tables.py`."""
    table.due[row] = 1
    table.news[table.place] = 1
    table.news[0] = 1


def _pack_one(buf, at: int, number: int) -> int:
    if number == _UNKNOWN:
        buf[at] = 0xC0
    elif -0x20 <= number < 0x80:
        buf[at] = number & 0xFF
    else:
        head = 0xCC if number >= 0 else 0xD0
        size = 1
        if not (-0x80 <= number < 0x100):
            head += 1
            size = 2
        if not (-0x8000 <= number < 0x10000):
            head += 1
            size = 4
        buf[at] = head
        shift = size * 8
        while shift:
            shift -= 8
            at += 1
            buf[at] = number >> shift & 0xFF
    return at + 1


def _word(value) -> int:
    return _UNKNOWN if value is None or not -_MOST <= value <= _MOST else value


def crossed(values, rows, row: int, count: int) -> int:
    """Return the first of rows[row:count] that has to be looked at, or -1.

    A row is four words: the place of its figure, negative if the row is free; its edge, which a
    good figure does not reach; whether that is so from above; and whether it is to be looked at
    whatever its figure is. From row 0 on, what is made of memory's figures is made first.
    """
    if row == 0:
        live = values[_LIVE_BYTES]
        total = values[_TOTAL_BYTES]
        values[_MEMORY] = _UNKNOWN
        values[_AVAILABLE_BYTES] = _UNKNOWN
        if live >= 0 and total >= 1000:
            values[_MEMORY] = live // (total // 1000)  # nothing here exceeds 30 bits
            values[_AVAILABLE_BYTES] = total - live
    while row < count:
        at = row << 2
        place = rows[at]
        if place >= 0:
            if rows[at + 3] != 0:
                return row
            value = values[place]
            edge = rows[at + 1]
            if value != _UNKNOWN and (value <= edge if rows[at + 2] else value >= edge):
                return row
        row += 1
    return -1


# An agent's words, `resting` (see `look`), and what else of it a step works on.
_STEPPING = const(0)
_BEGAN = const(1)
_ARRIVED = const(2)
_RESTED = const(3)
_REST_US = const(4)
_MASK = const(5)
_IDLE_STEPS = const(6)
_READING = const(7)
_BUSY_US = const(8)
_IDLE_US = const(9)
_LOW_BITS = const(0x3FFFFFFF)
_BUSY_MS = const(10)
_NEVER_MS = const(0x3FFFFFFF)
# Who waits for that long must not be late for what comes meanwhile: an end in time, a request of
# the application. And the ticks of microseconds wrap.
_MAX_REST_MS = const(1000)
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_NEXT_US = const(1999)
_HEAP_PARTS = const(11)  # of a pass over the heap: slices that there were, 0: none is under way
# Of the allocation table, in bytes; 96 KB of a 32-bit board's heap. On a Cortex-M3 12 100
# instructions where it is full of holes (tools/native_cost.py), a third of a sample.
_SLICE = const(1536)
_SPENT_US = const(43)
_SELDOM_S = const(44)
_NOT_KNOWN = const(45)
_MEMORY_FORECAST_S = const(46)
_STORAGE_FORECAST_S = const(47)
_BAD_FRAMES = const(20)
_SURE_S = const(1)  # since a sign of life: the host is there
_MAX_WIRE = const(406)
_RESERVE = const(48)
_FRAMES = const(16)
_CHUNK = const(32)
_ROUNDS = const(8)  # a host that never stops gets a turn, not the board
_KEEPALIVE = const(66)
_DUE_ALIVE = const(1)
_MAX_THRESHOLDS = const(8)
_TURN = const(2)  # frames of rows; then the application gets its turn

_SMOOTH_SHIFT = const(2)  # a sample counts a quarter in the means,
_STEP = const(64)  # and at most as twice the mean and so much, so that one of 0 can rise
_REST_SHIFT = const(6)
_MAX_STRETCHED_MS = const(60_000)
_LONGEST_S = const(536_000)
_SEEN_MS = const(60_000)  # in which 2**16 bytes cannot have gone unseen, at 1 kB/s
_MAX_COST_US = const(8_000_000)  # so that nothing exceeds 30 bits
_MAX_BUSY_US = const(16_000_000)


def _govern(values, busy: int, period: int) -> None:
    cost = values[_COST_US]
    if cost < 0:
        return
    values[_COST_US] = -1
    if cost > _MAX_COST_US:
        cost = _MAX_COST_US
    if busy > _MAX_BUSY_US:
        busy = _MAX_BUSY_US
    mean = values[_MEAN_US]
    if mean > 0:
        most = 2 * mean + _STEP
        if cost > most:
            cost = most
        mean += (cost - mean) >> _SMOOTH_SHIFT
    else:
        mean = cost
    values[_MEAN_US] = mean
    interval = values[_INTERVAL]
    if interval == 0:
        return
    if period > 0:
        rest = 0
        if busy > mean:
            rest = (busy - mean << _REST_SHIFT) // period  # µs / ms: permille
        others = values[_REST]
        most = 2 * others + _STEP
        if rest > most:
            rest = most
        values[_REST] = others + ((rest - others) >> _SMOOTH_SHIFT)
    budget = values[_BUDGET]
    left = (budget << _REST_SHIFT) - 4 * budget - values[_REST]
    least = budget << (_REST_SHIFT - 2)
    if left < least:
        left = least
    needed = (mean << _REST_SHIFT) // left + 1
    if needed > interval or needed < interval - (interval >> 2):
        interval = needed + (needed >> 3)
        if interval > _MAX_STRETCHED_MS:
            interval = _MAX_STRETCHED_MS
        # What was asked for may be longer than any stretched one.
        if interval < values[_WANTED]:
            interval = values[_WANTED]
        values[_INTERVAL] = interval


def renew(agent) -> None:
    """Begin a sample: what is known without looking, and what the last one cost.

    With that cost, -1 for none, the interval is set so that it keeps to the budget, a share of the
    core: what a sample costs, divided by the interval, must fit into what the rest of the agent
    (reading the link, answering it) leaves of it, a quarter of it at least: that rest does not get
    smaller when samples are taken more seldom. A 16th of the budget is kept for what the agent
    cannot time, because it is before its first look at the clock or after its last: the call of a
    poll, and its return. The next sample is due an interval after this one was.
    """
    values = agent.values
    resting = agent.resting
    threads = agent.thread_words
    network = agent.network_words
    s = agent.clock.s
    ms = agent.clock.ms
    busy = resting[_BUSY_US]  # µs of the agent's own, since the last one
    resting[_BUSY_US] = 0
    sent = -1 if agent.uplink is None else agent.uplink.sent  # bytes on the wire, modulo 2**16
    period = s - values[0]
    period = 1 << 29 if period > _LONGEST_S else period * 1000 + ms - values[1]
    values[_PERIOD_MS] = period
    values[0] = s
    values[1] = ms
    values[2] = values[_INTERVAL]
    values[11] = threads[0]
    values[12] = network[0]
    values[13] = network[1]
    values[14] = network[2]
    values[15] = network[3]
    values[22] = values[_WANTED]
    values[23] = values[_BUDGET]
    if period > 0:
        values[16] = (busy + (period >> 1)) // period
        values[17] = _UNKNOWN
        if sent >= 0 and period < _SEEN_MS:
            values[17] = (sent - values[_LAST_SENT] & 0xFFFF) * 1000 // period
    values[_LAST_SENT] = sent
    _govern(values, busy, period)
    interval = values[_INTERVAL]
    if interval:
        late = (s - values[_DUE_S]) * 1000 + ms - values[_DUE_MS]
        left = interval - late % interval if late > 0 else interval  # those that are past: skipped
        values[_LEFT_MS] = left
        ms += left
        values[_DUE_S] = s + ms // 1000
        values[_DUE_MS] = ms % 1000


# What the waits of asyncio are counted in: see `device/warden/load.py`.
_IDLE = const(0)
_WORST = const(1)
_SQUARES = const(2)
_COUNTED = const(3)
_ALL_COUNTED = const(4)
_SQUARES_MAX = const(0x20000000)
_LONGEST_MS = const(900_000)  # µs ticks wrap after 17.9 minutes


def load(values, cells, step: int) -> None:
    """Put what the cells counted in the sample's period into it, and forget it.

    step: µs of the step that is running now, -1 if not all of the period was watched.
    """
    period = values[_PERIOD_MS]
    cpu = lag = worst = _UNKNOWN
    if step >= 0 and 0 < period < _LONGEST_MS:
        worst = (max(step, cells[_WORST]) + 500) // 1000
        cpu = 1000 - cells[_IDLE] // period  # µs / ms: permille
        if cpu < 0:
            cpu = 0
        squares = cells[_SQUARES]
        if squares < _SQUARES_MAX:
            # squares * 64 µs / (2 * period); 64 / 2000 = 4 / 125
            lag = (squares // period * 4 // 125 * 64 + 500) // 1000
    values[_CPU_PERMILLE] = cpu
    values[_LOOP_LAG_MS] = lag
    values[_LOOP_LAG_WORST_MS] = worst
    values[_TASKS] = cells[_COUNTED] if cells[_ALL_COUNTED] else _UNKNOWN
    cells[_IDLE] = cells[_WORST] = cells[_SQUARES] = 0


# What a walk over the heap found: see `device/warden/memory.py`.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_HEAP_LARGEST = const(2)
_HEAP_COLLECTIONS = const(5)
_HEAP_LIVE = const(9)
_LINE_SHIFT = const(3)  # collect when used exceeds live by an eighth of the heap
_LAST_SHIFT = const(3)  # the last eighth of the heap: there it is
_LAST_LINE_SHIFT = const(5)  # a 32nd
_DROP_SHIFT = const(5)  # used fell by a 32nd of the heap: there was a collection


def heap(values, state) -> int:
    """Put what a walk over the heap found into the sample, and what of it is live.

    Return 1 if that should be looked at by collecting, 2 in the last eighth of the heap, else 0.
    """
    total = state[_HEAP_TOTAL]
    free = state[_HEAP_FREE]
    used = total - free
    live = values[_LIVE_BYTES]
    dropped = 0
    if state[_HEAP_COLLECTIONS] != 0:
        live = state[_HEAP_LIVE]
    elif values[_USED_BYTES] - used > total >> _DROP_SHIFT:
        dropped = 1
    if dropped or used < live:
        live = used  # at most so much
    values[_TOTAL_BYTES] = total
    values[_FREE_BYTES] = free
    values[_LIVE_BYTES] = live
    values[_LARGEST_FREE_BLOCK_BYTES] = state[_HEAP_LARGEST]
    values[_USED_BYTES] = used
    if live < 0:
        return 1
    if free > total >> _LAST_SHIFT:
        return 1 if used - live > total >> _LINE_SHIFT else 0
    return 2 if used - live > total >> _LAST_LINE_SHIFT else 0


def take(data, at: int, end: int, payload, marks) -> int:
    """Take data[at:end] up to the end of a whole frame; return the place after what was taken.

    `marks` is array("i"), see `frame`: the state, bytes put into `payload` so far (one more than
    its room once the frame was too long), that room, damaged frames, and the length of the whole
    payload that is there now, or 0. If that is an array of small integers (not negative, below
    2**30) and nils, of which the last may be an array of such, they are there as well: how many
    there are (or 0), how many that last one has (or -1), and all of them, those of the last
    instead of it, as far as there are marks.
    """
    state = marks[_STATE]
    to = marks[_TO]
    room = marks[_ROOM]
    length = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte == _DELIMITER:
            if state == _IN_FRAME:
                # The CRC of what ends with its own CRC is 0.
                if 2 < to <= room and crc16(payload, 0, to, 0xFFFF) == 0:
                    length = to - 2
                    state = _IN_TEXT
                    break
                marks[_BAD] += 1
            elif state == _IN_ESCAPE:
                marks[_BAD] += 1
            # That of a damaged frame may be the next one's first: what follows it decides.
            state = _OPENED
        elif state != _IN_TEXT:
            if state == _OPENED:
                if byte < 0x91 or byte > 0x9F:
                    state = _IN_TEXT
                    continue
                state = _IN_FRAME
                to = 0
            elif byte < 32 and _CONTROLS >> byte & 1:
                # Never inside a frame: its end was lost, and this is text again.
                marks[_BAD] += 1
                state = _IN_TEXT
                continue
            elif byte == _ESCAPE and state == _IN_FRAME:
                state = _IN_ESCAPE
                continue
            elif state == _IN_ESCAPE:
                byte ^= 0x20
                state = _IN_FRAME
            if to < room:
                payload[to] = byte
                to += 1
            else:
                to = room + 1  # too long, whatever follows
    marks[_STATE] = state
    marks[_TO] = to
    marks[_LENGTH] = length
    marks[_FOUND] = 0
    if length:
        _flat(payload, length, marks)
    return at


def _flat(payload, length: int, marks) -> None:
    """Take the integers of a payload into the marks, if they are as `take` says."""
    count = left = payload[0] - 0x90
    items = -1
    place = 1
    index = _FIRST
    while left > 0:
        if place >= length or index >= _MARKS:
            return
        head = payload[place]
        place += 1
        left -= 1
        if head >= 0x80:
            if head == 0xC0:
                head = _UNKNOWN
            elif head & 0xF0 == 0x90:
                if left > 0 or items >= 0:
                    return
                left = items = head - 0x90
                continue
            else:
                size = 1 << (head & 3)
                if head < 0xCC or head > 0xCE or place + size > length:
                    return
                last = place + size
                head = 0
                while place < last:
                    if head > 0x3FFFFF:
                        return
                    head = head << 8 | payload[place]
                    place += 1
        marks[index] = head
        index += 1
    marks[_FOUND] = count
    marks[_ITEMS] = items


def taken(entries, due, count: int) -> int:
    """Note in due[:count] which of entries[:count], a list, are there; return a bit for each."""
    mask = 0
    row = 0
    while row < count:
        if entries[row] is None:
            due[row] = 0
        else:
            due[row] = 1
            mask |= 1 << row
        row += 1
    return mask


def find_taken(granted, watched, masks, others) -> None:
    """Put a bit for each row that is taken into masks and others, lists of three: for each table.

    granted: three tables with flags of their rows, `free`; watched: three with a list, `table`.
    """
    place = 0
    while place < 3:
        free = granted[place].free
        mask = 0
        row = 0
        while row < len(free):
            if not free[row]:
                mask |= 1 << row
            row += 1
        masks[place] = mask
        entries = watched[place].table
        mask = 0
        row = 0
        while row < len(entries):
            if entries[row] is not None:
                mask |= 1 << row
            row += 1
        others[place] = mask
        place += 1


# A history's figures: see `device/warden/history.py`.
_MIN = const(0)
_MAX = const(1)
_SUM = const(2)
_COUNT = const(3)
_METRICS = const(4)
_CELLS = const(16)  # of a tier
_SLOT = const(12)  # figures: least, mean, greatest of each metric
_TIERS = const(3)
_SLOTS = const(60)
_POINTS = const(12)
_LEAST_POINTS = const(6)
_SLOTS_A_POINT = const(5)  # of a forecast: see `device/warden/forecast.py`


def keep(values, open_slots, ring, s: int) -> int:
    """File a sample's figures under uptime s; return which of those from live bytes to received
    bytes are not known, a bit for each, the lowest for the last.

    open_slots: array("i"), each tier's open slot, and behind these the least, greatest, sum and
    count of its metrics; ring: array("H"), the slots that are closed, tier after tier.
    """
    tier = 0
    begins = 0
    cells = _TIERS
    slot = s
    while tier < _TIERS and slot != open_slots[tier]:  # the open one ends
        opened = open_slots[tier]
        slots = 24 if tier == 2 else 60
        to = begins + opened % slots * _SLOT
        end = cells + _CELLS
        while cells < end:
            count = open_slots[cells + _COUNT]
            if count == 0:
                ring[to] = ring[to + 1] = ring[to + 2] = _NONE
            else:
                open_slots[cells + _COUNT] = 0
                least = open_slots[cells + _MIN]
                greatest = open_slots[cells + _MAX]
                mean = open_slots[cells + _SUM]
                if count > 1:
                    mean = mean // count
                ring[to] = least
                ring[to + 1] = mean
                ring[to + 2] = greatest
                if tier < _TIERS - 1:
                    at = cells + _CELLS  # of the longer one that it is a part of
                    if open_slots[at + _COUNT] == 0:
                        open_slots[at + _MIN] = least
                        open_slots[at + _MAX] = greatest
                        open_slots[at + _SUM] = mean
                    else:
                        if least < open_slots[at + _MIN]:
                            open_slots[at + _MIN] = least
                        if greatest > open_slots[at + _MAX]:
                            open_slots[at + _MAX] = greatest
                        open_slots[at + _SUM] += mean
                    open_slots[at + _COUNT] += 1
            to += 3
            cells += 4
        open_slots[tier] = slot
        if slot - opened > slots:
            opened = slot - slots - 1
        opened += 1
        while opened < slot:  # those between have no value
            to = begins + opened % slots * _SLOT
            end = to + _SLOT
            while to < end:
                ring[to] = _NONE
                to += 1
            opened += 1
        begins += slots * _SLOT
        slot = slot // 60
        tier += 1
    cells = _TIERS
    metric = 0
    while metric < _METRICS:
        if metric == 0:
            value = values[_LIVE_BYTES]
        elif metric < 3:
            value = values[_CPU_PERMILLE - 1 + metric]
        else:
            value = values[_STORED]
        if value >= 0:
            if metric == 0:
                value >>= values[_SHIFT]
            if value >= _NONE:
                value = _NONE - 1
            if open_slots[cells + _COUNT] == 0:
                open_slots[cells + _MIN] = value
                open_slots[cells + _MAX] = value
                open_slots[cells + _SUM] = value
            else:
                if value < open_slots[cells + _MIN]:
                    open_slots[cells + _MIN] = value
                if value > open_slots[cells + _MAX]:
                    open_slots[cells + _MAX] = value
                open_slots[cells + _SUM] += value
            open_slots[cells + _COUNT] += 1
        cells += 4
        metric += 1
    mask = 0
    index = _FIRST_TOLD
    while index <= _LAST_TOLD:
        mask <<= 1
        if values[index] == _UNKNOWN:
            mask |= 1
        index += 1
    return mask


def note(events, kind, subject, detail, value):
    """Put an event into events.ring, a list of sixteen times six, and have it told."""
    number = int(events.seq)
    ring = events.ring
    clock = events.clock
    at = (number & 15) * 6
    ring[at] = kind
    ring[at + 1] = clock.s
    ring[at + 2] = clock.ms
    ring[at + 3] = subject
    ring[at + 4] = detail
    ring[at + 5] = value
    events.seq = number + 1
    clock.news[0] = 1
    events.changed(0)


def read_event(events, number: int, fields) -> int:
    """Put an event of the ring into fields, a list of seven, its number first; return that.

    It is the oldest that is remembered, if the one of that number is forgotten.
    """
    events.acquire(1)
    try:
        number = max(number, events.seq - 16)
        at = (number & 15) * 6
        fields[0] = number
        place = 0
        while place < 6:
            fields[place + 1] = events.ring[at + place]
            place += 1
    finally:
        events.release()
    return number


def over(timed) -> int:
    """Return a bit for each row of a table whose end has come.

    timed.due: array("i"), the seconds of all rows and then the milliseconds of all; 2**30 - 1 s is
    never. timed.clock: says what time it is, and hears of the soonest end still to come.
    """
    due = timed.due
    rows = int(timed.rows)
    clock = timed.clock
    s = int(clock.s)
    ms = int(clock.ms)
    mask = 0
    soonest_s = _MOST
    soonest_ms = 0
    row = 0
    while row < rows:
        due_s = due[row]
        due_ms = due[rows + row]
        if due_s < s or (due_s == s and due_ms <= ms):
            mask |= 1 << row
        elif due_s < soonest_s or (due_s == soonest_s and due_ms < soonest_ms):
            soonest_s = due_s
            soonest_ms = due_ms
        row += 1
    if soonest_s <= int(clock.next_s):
        clock.sooner(soonest_s, soonest_ms)
    return mask


def put_off(timed, row: int, ms: int):
    """Have a row of a table (see `over`) end so many milliseconds from now, at most 2**30 - 1."""
    due = timed.due
    clock = timed.clock
    ms += int(clock.ms)
    s = int(clock.s) + ms // 1000
    ms %= 1000
    due[row] = s
    due[int(timed.rows) + row] = ms
    if s <= int(clock.next_s):
        clock.sooner(s, ms)


def left_ms(timed, row: int) -> int:
    """Return the milliseconds until a row of a table ends, 0 if it should have, -1 for never.

    At most 2**29: see `Clock.since`.
    """
    s = timed.due[row]
    if s == _MOST:
        return -1
    clock = timed.clock
    s -= clock.s
    if s > _LONGEST_S:
        return 1 << 29
    if s < 0:
        return 0
    return max(0, s * 1000 + timed.due[timed.rows + row] - clock.ms)


# What a decision does with the tables, all with their lock held but `start`, `complete` and
# `release`, which take it: see `device/warden/timed.py`, `slots.py` and `leases.py`.


def enter(timed, entry) -> None:
    """Put a new entry into its row of a table."""
    row = entry.row
    timed.next_id = entry.id % _MOST + 1
    timed.free[row] = 0
    timed.table[row] = entry


def begin_row(timed, row: int, ms: int) -> None:
    """Let a row's time begin, of so many milliseconds (see `put_off`), and have it told."""
    timed.began_s[row] = timed.clock.s
    put_off(timed, row, ms)
    timed.changed(row)


def free_row(timed, row: int) -> None:
    """Make a row of a table free, and have that told."""
    timed.table[row] = None
    timed.due[row] = _MOST
    timed.free[row] = 1
    timed.freed(0)


# States of an operation: see `device/warden/slots.py`.
_WAITING = const(0)
_ACTIVE = const(1)
_OVERDUE = const(3)
_ADMITTING = const(4)
_ENDED = const(5)

_OF_STORAGE = const(1)  # of what a lease may be


def begin_operation(desk, op, ms: int) -> None:
    """Let an operation that has its place begin."""
    begin_row(desk, op.row, ms)
    desk.learn_began(op)
    desk.put("operation", op.id, "began", None)


def start(desk, name):
    """Begin an operation that asks for a place only, if there is one, and return it, else None.

    Operations.begin() does all else; this is what most need.
    """
    op = None
    if name is desk.last_name and not desk.waiting and desk.word_ms:
        desk.clock.advance()
        desk.acquire(1)
        try:
            row = desk.free.find(b"\x01")
            if row >= 0 and desk.places < desk.max_operations:
                op = desk.operation(desk, row, desk.next_id, name, _ACTIVE)
                enter(desk, op)
                desk.places += 1
                begin_operation(desk, op, desk.word_ms)
        finally:
            desk.release()
    return op


def take_out(desk, op):
    """Take an operation out of the table; return its lease, or itself if it has ended before."""
    state = op.state
    if state == _ENDED:
        return op
    row = op.row
    op.state = _ENDED
    desk.told[row] = desk.untold
    if state == _WAITING:
        desk.count_waiting(-1)
    else:
        if state != _OVERDUE:
            desk.places -= 1
        if state != _ADMITTING:
            desk.learn_ended(op)
    free_row(desk, row)
    desk.put("operation", op.id, "ended", None)
    lease = None
    if desk.more[row]:
        desk.more[row] = 0
        op.task = None
        lease = op.lease
        op.lease = None
    return lease


def complete(op) -> None:
    """End an operation, and give its place to who waits for one; harmless if it has ended."""
    desk = op.desk
    lease = op
    desk.clock.advance()
    desk.acquire(1)
    try:
        lease = take_out(desk, op)
    finally:
        desk.release()
    if lease is not op:
        if lease is not None:
            lease.release()
        if desk.waiting:
            desk.pass_on()


def take_back(ledger, lease, why) -> int:
    """End a lease; return whether this did."""
    if not lease.active:
        return 0
    kind = lease.kind
    if not lease.committed:
        if kind != _OF_STORAGE:
            ledger.sums[kind] -= lease.amount
        lease.committed = True
    lease.active = False
    if ledger.agreed and lease.on_preempt is not None:
        ledger.agreed -= 1
    if kind == 0 and lease.buffer is not None:
        lease.buffer = None
    ledger.ended = ledger.ended + 1 & 0xFFFF
    if ledger.awaited:
        ledger.clock.now()
    free_row(ledger, lease.row)
    ledger.put("lease", lease.id, why, lease.amount)
    return 1


def release(lease) -> None:
    """End a lease that its holder gives back; harmless if it has ended."""
    ledger = lease.ledger
    ledger.clock.advance()
    ledger.acquire(1)
    try:
        take_back(ledger, lease, "released")
    finally:
        ledger.release()


def forecast(ring, newest: int, at: int, points, least, limit: int, step_s: int) -> int:
    """Return in how many seconds a metric reaches its limit, -1 if it does not clearly rise.

    ring: array("H"), from `at` on 60 slots of step_s, of which `newest` is the one closed last;
    each point is the mean of five, the newest first; they end with five that have no value.
    points: array("i"), room for twelve; least: the least S of Kendall's, the pairs that rise less
    those that fall, that six, seven … twelve of them must have. See `device/warden/forecast.py`.
    """
    count = 0
    slot = newest
    while count < _POINTS:
        total = 0
        filled = 0
        left = _SLOTS_A_POINT
        while left > 0:
            figure = ring[at + slot * _SLOT]
            if figure != _NONE:
                total += figure
                filled += 1
            slot -= 1
            if slot < 0:
                slot = _SLOTS - 1
            left -= 1
        if filled == 0:
            break
        points[count] = total // filled
        count += 1
    if count < _LEAST_POINTS:
        return -1
    s = 0
    newer = 0
    while newer < count:
        figure = points[newer]
        older = newer + 1
        while older < count:
            other = points[older]
            if figure > other:
                s += 1
            elif figure < other:
                s -= 1
            older += 1
        newer += 1
    if s < least[count - _LEAST_POINTS]:
        return -1
    third = count // 3
    rise = 0
    newer = 0
    while newer < third:
        rise += points[newer] - points[count - 1 - newer]
        newer += 1
    if rise <= 0:
        return -1
    left = limit - points[0]
    if left <= 0:
        return 0
    return left * third * (count - third) * (_SLOTS_A_POINT * step_s) // rise


# What is known of a forecast's two tiers: see `plain.foresee`.
_FORECAST_TIERS = const(2)
_NEXT_SLOT = const(0)
_FOUND_S = const(2)
_BEGINS = const(4)
_FORECAST_DUE_S = const(6)


def foresee(of, limit: int) -> int:
    """Return in how many seconds a metric reaches its limit, _UNKNOWN if it is never.

    of.words: array("i") of the slot with which each tier is looked at again, the seconds that were
    found for each, and one more (0: none), where their figures begin in of.ring, and, last, the
    uptime when there is a tier to be looked at again. `forecast` has the rest.
    """
    words = of.words
    soonest = due_s = tier = 0
    step_s = 1
    while tier < _FORECAST_TIERS:
        slot = of.open_slots[tier]
        if slot >= words[_NEXT_SLOT + tier]:
            words[_NEXT_SLOT + tier] = slot + _SLOTS_A_POINT
            newest = (slot + _SLOTS - 1) % _SLOTS
            at = words[_BEGINS + tier]
            found = forecast(of.ring, newest, at, of.points, of.least, limit, step_s)
            words[_FOUND_S + tier] = found + 1
        found = words[_FOUND_S + tier]
        if found and (soonest == 0 or found < soonest):
            soonest = found
        slot = words[_NEXT_SLOT + tier] * step_s
        if tier == 0 or slot < due_s:
            due_s = slot
        tier += 1
        step_s = 60
    words[_FORECAST_DUE_S] = due_s
    return soonest - 1 if soonest else _UNKNOWN


# --- a step of the agent --------------------------------------------------------------------------

# What these work on is the device's: `agent`, `session` … have the attributes that are read here.
# They are machine code where there is viper, because a look-up in bytecode takes 100 instructions
# and a call 600.


def turn(agent, listen) -> int:
    """Do what is due; return the ms until there is more. Raises nothing but Ctrl-C.

    agent.resting is array("i") of: whether a turn is under way already (then it is 10 ms); the
    ticks_us as it began, its lowest bits; how many bytes agent.read(agent.chunk) gave, if it is to
    `listen`; when the rest began, and how long it is, if there is no news, in µs; the mask of
    ticks; how often nothing was found since it began; whether more is to be read of a heap; µs that
    the agent took since the last sample, and takes, in the mean, to find nothing.
    """
    resting = agent.resting
    if resting[_STEPPING]:
        return _BUSY_MS
    resting[_STEPPING] = 1
    stopped = True
    try:
        try:
            now = agent.ticks_us() & _LOW_BITS
            resting[_BEGAN] = now
            count = agent.read(agent.chunk) if listen else 0
            resting[_ARRIVED] = count
            wait = 0
            if count == 0 and resting[_READING] == 0 and agent.news[0] == 0:
                wait = resting[_REST_US] - (now - resting[_RESTED] & resting[_MASK])
            if wait > 0:  # as nearly always
                wait = wait // 1000 + 1
                idle = resting[_IDLE_STEPS]
                resting[_IDLE_STEPS] = idle + 1
                if idle == 0:  # what the first takes counts for all of them; a moving mean
                    mean = resting[_IDLE_US]
                    took = agent.ticks_us() - now & resting[_MASK]
                    if mean == 0:
                        mean = took
                    elif took > 2 * mean + 4:  # much more says little
                        took = 2 * mean + 4
                    resting[_IDLE_US] = mean + (took - mean + 3 >> 2)
                resting[_STEPPING] = 0
            else:
                wait = wake(agent)
        except Exception:
            wait = agent.failed()
        stopped = False
    finally:
        if stopped:  # by Ctrl-C
            resting[_STEPPING] = 0
    if wait < 0:  # something was done that the application may hear of
        wait = -wait
        agent.deliver()
    return wait


def wake(agent) -> int:
    """Hear what has arrived, and do what is due; return the ms until there is more.

    They are negative where something was done that the application may hear of.
    """
    resting = agent.resting
    memory = agent.memory
    sign = 1
    left = 0
    session = agent.session
    count = resting[_ARRIVED]
    if count:
        hear(session, count)
    if agent.news[0]:
        if count and session.subscribed:  # it is told from the next turn on
            session.subscribed = False
            left = _NEXT_US
    elif count or resting[_READING]:
        left = resting[_REST_US] - (resting[_BEGAN] - resting[_RESTED] & resting[_MASK])
        if count and left > 0 and session.due:
            left = agent.answer(left)
    if left > 0:
        left = left // 1000 + 1
        if memory.state[_HEAP_PARTS]:
            read_on(memory)
    else:
        resting[_REST_US] = 0  # as long as it is not done
        resting[_RESTED] = resting[_BEGAN]
        stirred = agent.news[0]
        agent.news[0] = 0
        idle_us = resting[_IDLE_STEPS] * resting[_IDLE_US]
        # And what collections before a refusal took.
        resting[_BUSY_US] += idle_us + agent.values[_SPENT_US]
        resting[_IDLE_STEPS] = 0
        left = _do_what_is_due(agent)
        if left > _MAX_REST_MS:
            left = _MAX_REST_MS
        resting[_REST_US] = left * 1000
        agent.values[_SPENT_US] = 0
        policy = agent.policy
        if policy is not None and (stirred or agent.news[0] or policy.ladder.level):
            if policy.events.told != policy.events.seq or policy.ladder.due:
                sign = -1
    if memory.state[_HEAP_PARTS]:
        resting[_READING] = 1
        if left > _SLICE_PAUSE_MS:
            left = _SLICE_PAUSE_MS
    else:
        resting[_READING] = 0
    resting[_BUSY_US] += agent.ticks_us() - resting[_BEGAN] & resting[_MASK]
    resting[_STEPPING] = 0
    return left * sign


def _do_what_is_due(agent) -> int:
    clock = agent.clock
    clock.advance()
    until = _NEVER_MS
    if agent.policy is not None:
        if clock.next_s - clock.s < 2:  # no rest is longer
            until = clock.left_ms()
            if until <= 0:
                until = agent.enforce()
    left = 1000
    again = -1
    values = agent.values
    if values[_INTERVAL]:
        left = (values[_DUE_S] - clock.s) * 1000 + values[_DUE_MS] - clock.ms
        if left <= 0:
            sample(agent, values, agent.memory, agent.policy)
            again = 1000  # there is nothing else to tell
            if agent.session is None or not tell_sample(agent.session, clock.s):
                again = agent.tell_later()
            left = values[_LEFT_MS]
            if agent.policy is not None and agent.policy.ladder.level:
                left = agent.hurry()
        elif agent.memory.state[_HEAP_PARTS]:
            read_on(agent.memory)
    if until < left:
        left = until if until > 0 else 1
    if again < 0:
        again = agent.pump()
    return again if again and again < left else left


def advance(clock) -> None:
    """Bring a clock, `s` and `ms`, up to now: see `device/warden/clock.py`."""
    now = clock.ticks_ms() & _LOW_BITS
    half = clock.half  # a period
    passed = (now - clock.last + half & 2 * half - 1) - half
    clock.last = now
    ms = clock.ms + passed
    clock.ms = ms
    if ms >= 1000:  # where a timer's poll may come in, which does the same
        ms = clock.ms
        clock.ms = ms % 1000
        clock.s += ms // 1000


def sample(agent, values, memory, policy) -> None:
    """Take a sample; allocates nothing. What it costs is looked at with the next one."""
    began = agent.ticks_us()
    spent = values[_SPENT_US]
    renew(agent)
    if agent.load.core is not None or "asyncio" in agent.load.modules:
        agent.load.read()
    read_memory(memory)
    scanned = agent.sampler.read_seldom() if values[0] >= values[_SELDOM_S] else 0
    found = keep(values, agent.history.open_slots, agent.history.ring, values[0])
    if policy is not None:
        judge(policy, values[_PERIOD_MS])
    if found != values[_NOT_KNOWN]:
        agent.sampler.see_capabilities(found)
    began = agent.ticks_us() - began & agent.resting[_MASK]
    # Collections and scans have budgets of their own.
    values[_COST_US] = began - (values[_SPENT_US] - spent) - scanned


def judge(policy, passed_ms: int) -> None:
    """See what a new sample says, passed_ms after the last; allocates nothing if it is calm."""
    if policy.needs.op is not None:
        policy.needs.look()
    if policy.meters.count:
        policy.meters.look(passed_ms)
    thresholds = policy.thresholds
    values = thresholds.values
    if values[0] >= values[_MEMORY_FORECAST_S]:  # one with a sample: it takes as long as the rest
        thresholds.figures.renew_memory()
    elif values[0] >= values[_STORAGE_FORECAST_S]:
        thresholds.figures.renew_storage()
    if crossed(thresholds.values, thresholds.words, 0, _MAX_THRESHOLDS) >= 0:  # seldom
        thresholds.look(passed_ms)
    if thresholds.moved or policy.ladder.level:
        policy.ladder.look(passed_ms)
    if policy.telling:
        policy.tell_of_meters()


def read_memory(memory) -> None:
    """Bring the figures of the heap up to now; allocates nothing.

    After a collection made here `free` is still what it was before: used shows the garbage that the
    application lives with, live what is not garbage.
    """
    if memory.heap is None:
        memory.walk()
    else:
        memory.heap(memory.state, _SLICE)
    wanted = heap(memory.values, memory.state)
    if wanted:
        memory.collect_wanted(wanted)


def read_on(memory) -> None:
    """Read one slice more, with the C module; figures change with the last one.

    A heap that takes more than one is so read between two samples, and a sample tells of the pass
    before. A collection ends a pass: what it left is newer.
    """
    memory.heap(memory.state, _SLICE)
    heap(memory.values, memory.state)


def tell_sample(session, s: int) -> int:
    """Send a sample that was just taken, at uptime s, as pump() would; return whether that was all.

    If not, because there is something else, or the link is full, it has to be told by pump().
    """
    if (
        not session.host_id
        or session.due
        or session.news.find(b"\x01") >= 0
        or s - session.heard_s > _SURE_S
        or session.uplink.end
    ):
        return 0
    newest = session.sample
    uplink = session.uplink
    length = tell(newest.values, newest.told, newest.places, uplink.seq, uplink.payload)
    if not send(uplink, length, _RESERVE):
        return 0
    newest.told[_SENT] = 1
    return 1


def send(uplink, length: int, reserve: int) -> int:
    """Send payload[:length]; return 0, with nothing sent, if the link does not take it.

    What is not acknowledged leaves `reserve` bytes of the window free, so that an ALIVE still goes
    when the rest was lost: its acknowledgement opens the window again.
    """
    sent = uplink.sent
    length = seal(uplink.payload, length, uplink.wire, _MAX_WIRE)  # of the frame, from here on
    if uplink.unacked_frames:
        window = uplink.link.window
        if window and (sent - uplink.acked & 0xFFFF) + length + reserve > window:
            return 0
    seq = uplink.seq
    uplink.seq = seq + 1 & 0xFFFF  # first: Ctrl-C must not make two of one number
    written = uplink.link.write(uplink.wire, 0, length)
    if written < length:
        if not written:
            uplink.seq = seq
            return 0
        uplink.at = written
        uplink.end = length
    uplink.sent = sent = sent + length & 0xFFFF
    uplink.sent_at[seq & (_FRAMES - 1)] = sent
    if uplink.unacked_frames < _FRAMES:
        uplink.unacked_frames += 1
    return 1


def pump_rows(session, table) -> int:
    """Send the rows of a table that are due; return whether all could go.

    At most _TURN frames in a session's turn. A row is noted as under way before its flag is
    cleared, so that one that is broken off is told again: see `Session` of the board.
    """
    news = session.news
    due = table.due
    rows = len(due)
    news[table.place] = 0
    uplink = session.uplink
    row = 0
    while row < rows:
        if due[row]:
            if session.frames >= _TURN or (uplink.end and not uplink.ready()):
                news[table.place] = 1
                return 0
            session.row_under_way = row
            session.under_way = table
            due[row] = 0
            length = table.encode(row, uplink)
            sent = not length or send(uplink, length, _RESERVE)
            if not sent:
                due[row] = 1
                news[table.place] = 1
            elif length:
                session.frames += 1
                if table.sent is not None:
                    table.sent()
                row = -1  # those before it may be due again
            session.under_way = None
            if not sent:
                return 0
        row += 1
    return 1


def acknowledge(uplink, seq: int) -> None:
    """Take the host's word that it has seen the frame `seq` and those before it."""
    if 0 <= seq <= 0xFFFF:
        behind = uplink.seq - 1 - seq & 0xFFFF
        if behind < uplink.unacked_frames:
            uplink.acked = uplink.sent_at[seq & (_FRAMES - 1)]
            uplink.unacked_frames = behind


def hear(session, count: int) -> None:
    """Act on what was read into session.chunk[:count], and on what has arrived besides.

    What is to be done about it shows in the clock's news.
    """
    marks = session.marks
    rounds = _ROUNDS
    bad = marks[_BAD]
    while count > 0:
        size = count if count <= _CHUNK else _CHUNK  # more: a link that lies
        at = 0
        while at < size:
            at = take(session.chunk, at, size, session.payload, marks)
            if marks[_LENGTH]:
                if marks[_FIRST] == _KEEPALIVE and marks[_FOUND] >= 3:  # as nearly always
                    if marks[_FIRST + 1] == session.host_id:
                        alive(session, marks[_FIRST + 2])
                else:
                    session.take_message(marks)
        rounds -= 1
        if count < _CHUNK or rounds == 0:
            break
        count = session.link.read(session.chunk)
    if marks[_BAD] != bad:
        session.bad = session.sample.values[_BAD_FRAMES] = marks[_BAD]


def alive(session, seq: int) -> None:
    """Take a host's sign of life, which has seen the frame `seq` and those before it.

    _UNKNOWN: it does not say which.
    """
    if not session.host_id:
        return
    clock = session.clock
    clock.advance()
    session.heard_s = clock.s
    session.heard_ms = clock.ms
    if session.hosts:
        session.tell_alive()
    uplink = session.uplink
    acknowledge(uplink, seq)
    if uplink.sent == session.sent_at_keepalive:
        session.due |= _DUE_ALIVE
    else:
        session.sent_at_keepalive = uplink.sent
