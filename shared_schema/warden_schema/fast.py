"""The loops of `plain` as machine code. Only MicroPython can import this, through `loops`.

Viper checks no bounds of buffers: nothing here reads or writes past what the caller gave as
lengths, and the callers compare those with the buffers first.
"""

from micropython import const

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


@micropython.viper
def crc16(data: ptr8, start: int, end: int, crc: int) -> int:
    """Take data[start:end] into a CRC-16/CCITT-FALSE; what is above 16 bits meanwhile is let be."""
    while start < end:
        high = (crc >> 8 ^ data[start]) & 0xFF
        high ^= high >> 4
        crc = crc << 8 ^ high << 12 ^ high << 5 ^ high
        start += 1
    return crc & 0xFFFF


@micropython.viper
def seal(payload: ptr8, length: int, wire: ptr8, room: int) -> int:
    """Frame payload[:length] and its CRC into wire[:room]; return where the frame ends, or 0."""
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
            high = (crc >> 8 ^ byte) & 0xFF
            high ^= high >> 4
            crc = crc << 8 ^ high << 12 ^ high << 5 ^ high
        else:
            byte = crc >> 8 & 0xFF
            crc <<= 8
        if byte == _DELIMITER or byte == _ESCAPE or (byte < 32 and _CONTROLS >> byte & 1):
            wire[to] = _ESCAPE
            to += 1
            byte ^= 0x20
        wire[to] = byte
        to += 1
        at += 1
    wire[to] = _DELIMITER
    return to + 1


# Words of 32 bits hold figures of 31 and a sign: see `plain`. Viper on a 64-bit machine reads them
# without their sign, which _NEGATIVE gives back.
_NONE = const(0xFFFF)
_UNKNOWN = const(-0x40000000)
_NEGATIVE = const(-0x40000000)
_MOST = const(0x3FFFFFFF)
_MAX_FIELDS = const(13)
_BIAS = const(48)
_MAX_S = const(200_000)


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


@micropython.viper
def tell(values: ptr32, told: ptr32, places: ptr8, seq: int, payload: ptr8) -> int:
    """Put a sample's message into the payload, a DELTA if that can tell it; return its length."""
    base = told[_BASE]
    if told[_SENT] != 0:
        told[_SENT] = 0
        base = _HALVES - base
        told[_BASE] = base
        told[_BASE_SEQ] = told[_SEQ]
        left = told[_LEFT]
        if told[_WHOLE] != 0:
            left = _WHOLE_EVERY
        told[_LEFT] = left - 1
    now = _HALVES - base
    count = 0
    passed = values[0] - told[base]
    told[now] = values[0]
    told[now + 1] = values[1]
    if told[_LEFT] != 0 and passed >= 0 and passed <= _MAX_S:
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
        if value != old and count != 0:
            if value >> 31:
                value |= _NEGATIVE
            if old >> 31:
                old |= _NEGATIVE
            change = value - old + _BIAS
            if index < _LASTING or count >= _MAX_FIELDS or change > _MOST or change < -_MOST:
                count = 0
            elif value == _UNKNOWN or old == _UNKNOWN:
                count = 0
            else:
                told[_TOLD + count] = change
                count += 1
                mask |= 1 << (index - _LASTING)
        index += 1
    told[_SEQ] = seq
    payload[1] = _DELTA
    at = 2
    if seq >= 0x100:
        payload[2] = 0xCD
        payload[3] = seq >> 8
        at = 4
    elif seq >= 0x80:
        payload[2] = 0xCC
        at = 3
    payload[at] = seq
    at += 1
    if count != 0:
        told[_WHOLE] = 0
        payload[0] = 0x92 + count
        index = _TOLD
        told[index] = (seq - told[_BASE_SEQ] & 0xFFFF) + _BIAS
        told[index + 1] = mask
        told[index + 2] = passed - told[now + 2] + _BIAS
    else:
        told[_WHOLE] = 1
        count = _SIZE
        payload[0] = 0x93
        payload[1] = _SAMPLE
        payload[at] = 0xDC
        payload[at + 1] = 0
        payload[at + 2] = count
        at += 3
        index = now
    end = index + count
    while index < end:
        number = told[index]
        index += 1
        if number >> 7 == 0:  # as most
            payload[at] = number
            at += 1
            continue
        if number >> 31:
            number |= _NEGATIVE
        if number >= 0:
            if number >= 0x10000:
                payload[at] = 0xCE
                payload[at + 1] = number >> 24
                payload[at + 2] = number >> 16
                payload[at + 3] = number >> 8
                at += 4
            elif number >= 0x100:
                payload[at] = 0xCD
                payload[at + 1] = number >> 8
                at += 2
            else:
                payload[at] = 0xCC
                at += 1
        elif number == _UNKNOWN:
            number = 0xC0
        elif number < -0x8000:
            payload[at] = 0xD2
            payload[at + 1] = number >> 24
            payload[at + 2] = number >> 16
            payload[at + 3] = number >> 8
            at += 4
        elif number < -0x80:
            payload[at] = 0xD1
            payload[at + 1] = number >> 8
            at += 2
        elif number < -0x20:
            payload[at] = 0xD0
            at += 1
        payload[at] = number
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


@micropython.viper
def crossed(values: ptr32, rows: ptr32, row: int, count: int) -> int:
    """Return the first of rows[row:count] that has to be looked at, or -1."""
    if row == 0:
        live = values[_LIVE_BYTES]
        total = values[_TOTAL_BYTES]
        if live >> 31 or total < 1000:
            values[_MEMORY] = _UNKNOWN
            values[_AVAILABLE_BYTES] = _UNKNOWN
        else:
            values[_MEMORY] = live // (total // 1000)
            values[_AVAILABLE_BYTES] = total - live
    while row < count:
        at = row << 2
        place = rows[at]
        if place >> 31 == 0:
            if rows[at + 3] != 0:
                return row
            value = values[place]
            edge = rows[at + 1]
            if value >> 31:
                value |= _NEGATIVE
            if edge >> 31:
                edge |= _NEGATIVE
            if value != _UNKNOWN:
                if rows[at + 2] != 0:
                    if value <= edge:
                        return row
                elif value >= edge:
                    return row
        row += 1
    return -1


_TEXTS_END = const(198)
_letter_size = len("ä")  # 2 where a port counts bytes
_none = None  # viper can compare with a name only
_true = True
_false = False


@micropython.viper
def pack_row(buf: ptr8, at: int, row, count: int, texts: int) -> int:
    """Put row[:count] into buf, from `at` on; return where they end: see plain.pack_row."""
    none = _none
    true = _true
    false = _false
    index = 0
    while index < count:
        item = row[index]
        index += 1
        if item is none:
            buf[at] = 0xC0
        elif item is true:
            buf[at] = 0xC3
        elif item is false:
            buf[at] = 0xC2
        elif texts >> (index - 1) & 1:
            text = ptr8(item)  # behind it there is a NUL
            left = int(len(item))
            size = left
            if int(_letter_size) == 1:  # they were characters
                size = 0
                while left > 0 or text[size] & 0xC0 == 0x80:
                    if text[size] & 0xC0 != 0x80:
                        left -= 1
                    size += 1
            if at + size + 5 * (count - index) > _TEXTS_END:
                raise IndexError
            if size < 0x20:
                buf[at] = 0xA0 | size
            else:
                buf[at] = 0xD9
                at += 1
                buf[at] = size
            left = 0
            while left < size:
                at += 1
                buf[at] = text[left]
                left += 1
        else:
            number = int(item)
            if number >= 0:
                if number < 0x80:
                    buf[at] = number
                elif number < 0x100:
                    buf[at] = 0xCC
                    at += 1
                    buf[at] = number
                elif number < 0x10000:
                    buf[at] = 0xCD
                    buf[at + 1] = number >> 8
                    at += 2
                    buf[at] = number
                elif number <= _MOST:
                    buf[at] = 0xCE
                    buf[at + 1] = number >> 24
                    buf[at + 2] = number >> 16
                    buf[at + 3] = number >> 8
                    at += 4
                    buf[at] = number
                else:
                    buf[at] = 0xC0
            elif number >= -0x20:
                buf[at] = number
            elif number >= -0x80:
                buf[at] = 0xD0
                at += 1
                buf[at] = number
            elif number >= -0x8000:
                buf[at] = 0xD1
                buf[at + 1] = number >> 8
                at += 2
                buf[at] = number
            elif number >= -_MOST:
                buf[at] = 0xD2
                buf[at + 1] = number >> 24
                buf[at + 2] = number >> 16
                buf[at + 3] = number >> 8
                at += 4
                buf[at] = number
            else:
                buf[at] = 0xC0
        at += 1
    return at


@micropython.viper
def pack_message(uplink, kind: int, fields, texts: int) -> int:
    """Put a message of these fields, a list, into an uplink; return its length."""
    payload = uplink.payload
    buf = ptr8(payload)
    count = int(len(fields))
    seq = int(uplink.seq)
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
    buf[at] = seq
    return int(pack_row(payload, at + 1, fields, count, texts))


@micropython.viper
def mark(table, row: int):
    """Have a row of a table told."""
    due = ptr8(table.due)
    news = ptr8(table.news)
    due[row] = 1
    news[int(table.place)] = 1
    news[0] = 1


# An agent's words: see `plain`.
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
_MAX_REST_MS = const(1000)
_SLICE_PAUSE_MS = const(2)
_NEXT_US = const(1999)
_HEAP_PARTS = const(11)
_SLICE = const(1536)
_SPENT_US = const(43)
_SELDOM_S = const(44)
_NOT_KNOWN = const(45)
_MEMORY_FORECAST_S = const(46)
_STORAGE_FORECAST_S = const(47)
_BAD_FRAMES = const(20)
_NEWS = const(24)
_SURE_S = const(1)
_MAX_WIRE = const(406)
_RESERVE = const(48)
_FRAMES = const(16)
_CHUNK = const(32)
_ROUNDS = const(8)
_KEEPALIVE = const(66)
_DUE_ALIVE = const(1)
_MAX_THRESHOLDS = const(8)
_TURN = const(2)

_SMOOTH_SHIFT = const(2)
_STEP = const(64)
_REST_SHIFT = const(6)
_MAX_STRETCHED_MS = const(60_000)
_LONGEST_S = const(536_000)
_SEEN_MS = const(60_000)
_MAX_COST_US = const(8_000_000)
_MAX_BUSY_US = const(16_000_000)


@micropython.viper
def renew(agent):
    """Begin a sample, and set the interval to what the last one cost."""
    values = ptr32(agent.values)
    resting = ptr32(agent.resting)
    threads = ptr32(agent.thread_words)
    network = ptr32(agent.network_words)
    clock = agent.clock
    s = int(clock.s)
    ms = int(clock.ms)
    busy = resting[_BUSY_US]
    resting[_BUSY_US] = 0
    sent = -1
    uplink = agent.uplink
    if uplink is not _none:
        sent = int(uplink.sent)
    period = s - values[0]
    if period > _LONGEST_S:
        period = 1 << 29
    else:
        period = period * 1000 + ms - values[1]
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
    cost = values[_COST_US]
    if cost >> 31 == 0:
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
        if interval != 0:
            if period > 0:
                rest = 0
                if busy > mean:
                    rest = (busy - mean << _REST_SHIFT) // period
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
                if interval < values[_WANTED]:
                    interval = values[_WANTED]
                values[_INTERVAL] = interval
    interval = values[_INTERVAL]
    if interval != 0:
        late = (s - values[_DUE_S]) * 1000 + ms - values[_DUE_MS]
        left = interval
        if late > 0:
            left -= late - late // interval * interval
        values[_LEFT_MS] = left
        ms += left
        late = ms // 1000
        values[_DUE_S] = s + late
        values[_DUE_MS] = ms - late * 1000


# What the waits of asyncio are counted in: see `device/warden/load.py`.
_IDLE = const(0)
_WORST = const(1)
_SQUARES = const(2)
_COUNTED = const(3)
_ALL_COUNTED = const(4)
_SQUARES_MAX = const(0x20000000)
_LONGEST_MS = const(900_000)


@micropython.viper
def load(values: ptr32, cells: ptr32, step: int):
    """Put what the cells counted in the sample's period into it, and forget it."""
    period = values[_PERIOD_MS]
    cpu = _UNKNOWN
    lag = _UNKNOWN
    worst = _UNKNOWN
    if step >= 0 and period > 0 and period < _LONGEST_MS:
        worst = cells[_WORST]
        if step > worst:
            worst = step
        worst = (worst + 500) // 1000
        cpu = 1000 - cells[_IDLE] // period
        if cpu < 0:
            cpu = 0
        squares = cells[_SQUARES]
        if squares < _SQUARES_MAX:
            lag = (squares // period * 4 // 125 * 64 + 500) // 1000
    values[_CPU_PERMILLE] = cpu
    values[_LOOP_LAG_MS] = lag
    values[_LOOP_LAG_WORST_MS] = worst
    if cells[_ALL_COUNTED] != 0:
        values[_TASKS] = cells[_COUNTED]
    else:
        values[_TASKS] = _UNKNOWN
    cells[_IDLE] = 0
    cells[_WORST] = 0
    cells[_SQUARES] = 0


# What a walk over the heap found: see `device/warden/memory.py`.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_HEAP_LARGEST = const(2)
_HEAP_COLLECTIONS = const(5)
_HEAP_LIVE = const(9)
_LINE_SHIFT = const(3)
_LAST_SHIFT = const(3)
_LAST_LINE_SHIFT = const(5)
_DROP_SHIFT = const(5)


@micropython.viper
def heap(values: ptr32, state: ptr32) -> int:
    """Put what a walk over the heap found into the sample; return how to collect for it, or 0."""
    total = state[_HEAP_TOTAL]
    free = state[_HEAP_FREE]
    used = total - free
    live = values[_LIVE_BYTES]
    if live >> 31:
        live = _UNKNOWN
    dropped = 0
    if state[_HEAP_COLLECTIONS] != 0:
        live = state[_HEAP_LIVE]
    elif values[_USED_BYTES] - used > total >> _DROP_SHIFT:
        dropped = 1
    if dropped != 0 or used < live:
        live = used
    values[_TOTAL_BYTES] = total
    values[_FREE_BYTES] = free
    values[_LIVE_BYTES] = live
    values[_LARGEST_FREE_BLOCK_BYTES] = state[_HEAP_LARGEST]
    values[_USED_BYTES] = used
    if live < 0:
        return 1
    if free > total >> _LAST_SHIFT:
        if used - live > total >> _LINE_SHIFT:
            return 1
    elif used - live > total >> _LAST_LINE_SHIFT:
        return 2
    return 0


@micropython.viper
def take(data: ptr8, at: int, end: int, payload: ptr8, marks: ptr32) -> int:
    """Take data[at:end] up to the end of a whole frame; return the place after what was taken."""
    state = marks[_STATE]
    to = marks[_TO]
    room = marks[_ROOM]
    length = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte == _DELIMITER:
            if state == _IN_FRAME:
                if 2 < to and to <= room:
                    crc = 0xFFFF
                    place = 0
                    while place < to:
                        high = (crc >> 8 ^ payload[place]) & 0xFF
                        high ^= high >> 4
                        crc = crc << 8 ^ high << 12 ^ high << 5 ^ high
                        place += 1
                    if crc & 0xFFFF == 0:
                        length = to - 2
                        state = _IN_TEXT
                        break
                marks[_BAD] += 1
            elif state == _IN_ESCAPE:
                marks[_BAD] += 1
            state = _OPENED
        elif state != _IN_TEXT:
            if state == _OPENED:
                if byte < 0x91 or byte > 0x9F:
                    state = _IN_TEXT
                    continue
                state = _IN_FRAME
                to = 0
            elif byte < 32 and _CONTROLS >> byte & 1:
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
                to = room + 1
    marks[_STATE] = state
    marks[_TO] = to
    marks[_LENGTH] = length
    marks[_FOUND] = 0
    if length == 0:
        return at
    count = left = payload[0] - 0x90
    items = -1
    place = 1
    index = _FIRST
    while left > 0:
        if place >= length or index >= _MARKS:
            return at
        head = payload[place]
        place += 1
        left -= 1
        if head >= 0x80:
            if head == 0xC0:
                head = _UNKNOWN
            elif head & 0xF0 == 0x90:
                if left > 0 or items >= 0:
                    return at
                left = items = head - 0x90
                continue
            else:
                size = 1 << (head & 3)
                if head < 0xCC or head > 0xCE or place + size > length:
                    return at
                last = place + size
                head = 0
                while place < last:
                    if head > 0x3FFFFF:
                        return at
                    head = head << 8 | payload[place]
                    place += 1
        marks[index] = head
        index += 1
    marks[_FOUND] = count
    marks[_ITEMS] = items
    return at


@micropython.viper
def taken(entries, due: ptr8, count: int) -> int:
    """Note in due[:count] which of entries[:count], a list, are there; return a bit for each."""
    none = _none
    mask = 0
    row = 0
    while row < count:
        if entries[row] is none:
            due[row] = 0
        else:
            due[row] = 1
            mask |= 1 << row
        row += 1
    return mask


@micropython.viper
def find_taken(granted, watched, masks, others):
    """Put a bit for each row that is taken into masks and others: see plain.find_taken."""
    none = _none
    place = 0
    while place < 3:
        flags = granted[place].free
        free = ptr8(flags)
        rows = int(len(flags))
        mask = 0
        row = 0
        while row < rows:
            if free[row] == 0:
                mask |= 1 << row
            row += 1
        masks[place] = mask
        entries = watched[place].table
        rows = int(len(entries))
        mask = 0
        row = 0
        while row < rows:
            if entries[row] is not none:
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
_CELLS = const(16)
_SLOT = const(12)
_TIERS = const(3)
_SLOTS = const(60)
_POINTS = const(12)
_LEAST_POINTS = const(6)
_SLOTS_A_POINT = const(5)


@micropython.viper
def keep(values: ptr32, open_slots: ptr32, ring: ptr16, s: int) -> int:
    """File a sample's figures under uptime s; return a bit for each that is not known."""
    tier = 0
    begins = 0
    cells = _TIERS
    slot = s
    while tier < _TIERS:
        opened = open_slots[tier]
        if slot == opened:
            break
        slots = 60
        if tier == 2:
            slots = 24
        to = begins + (opened - opened // slots * slots) * _SLOT
        end = cells + _CELLS
        while cells < end:
            count = open_slots[cells + _COUNT]
            if count == 0:
                ring[to] = _NONE
                ring[to + 1] = _NONE
                ring[to + 2] = _NONE
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
                    at = cells + _CELLS
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
        while opened < slot:
            to = begins + (opened - opened // slots * slots) * _SLOT
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
        if value >> 31 == 0:
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
        value = values[index]
        mask <<= 1
        if value >> 31:
            value |= _NEGATIVE
            if value == _UNKNOWN:
                mask |= 1
        index += 1
    return mask


@micropython.viper
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


@micropython.viper
def read_event(events, number: int, fields) -> int:
    """Put an event of the ring into fields, a list of seven, its number first; return that."""
    events.acquire(1)
    try:
        oldest = int(events.seq) - 16
        if number < oldest:
            number = oldest
        ring = events.ring
        at = (number & 15) * 6
        fields[0] = number
        place = 0
        while place < 6:
            fields[place + 1] = ring[at + place]
            place += 1
    finally:
        events.release()
    return number


@micropython.viper
def over(timed) -> int:
    """Return a bit for each row of a table whose end has come; see plain.over."""
    due = ptr32(timed.due)
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


@micropython.viper
def put_off(timed, row: int, ms: int):
    """Have a row of a table (see `over`) end so many milliseconds from now, at most 2**30 - 1."""
    due = ptr32(timed.due)
    clock = timed.clock
    ms += int(clock.ms)
    s = int(clock.s) + ms // 1000
    ms %= 1000
    due[row] = s
    due[int(timed.rows) + row] = ms
    if s <= int(clock.next_s):
        clock.sooner(s, ms)


@micropython.viper
def left_ms(timed, row: int) -> int:
    """Return the milliseconds until a row of a table ends, 0 if it should have, -1 for never."""
    due = ptr32(timed.due)
    s = due[row]
    if s == _MOST:
        return -1
    clock = timed.clock
    s -= int(clock.s)
    if s > _LONGEST_S:
        return 1 << 29
    left = 0
    if s >= 0:
        left = s * 1000 + due[int(timed.rows) + row] - int(clock.ms)
        if left < 0:
            left = 0
    return left


@micropython.viper
def enter(timed, entry):
    """Put a new entry into its row of a table; with the lock held."""
    row = int(entry.row)
    number = int(entry.id) + 1
    if number > _MOST:
        number = 1
    timed.next_id = number
    free = ptr8(timed.free)
    free[row] = 0
    timed.table[row] = entry


@micropython.viper
def begin_row(timed, row: int, ms: int):
    """Let a row's time begin, of so many milliseconds, and have it told; with the lock held."""
    began = ptr32(timed.began_s)
    began[row] = int(timed.clock.s)
    put_off(timed, row, ms)
    timed.changed(row)


@micropython.viper
def free_row(timed, row: int):
    """Make a row of a table free, and have that told; with the lock held."""
    timed.table[row] = _none
    due = ptr32(timed.due)
    due[row] = _MOST
    free = ptr8(timed.free)
    free[row] = 1
    timed.freed(0)


# States of an operation: see `device/warden/slots.py`.
_WAITING = const(0)
_ACTIVE = const(1)
_OVERDUE = const(3)
_ADMITTING = const(4)
_ENDED = const(5)

_OF_STORAGE = const(1)  # of what a lease may be


@micropython.viper
def begin_operation(desk, op, ms: int):
    """Let an operation that has its place begin; with the lock held."""
    begin_row(desk, op.row, ms)
    desk.learn_began(op)
    desk.put("operation", op.id, "began", _none)


@micropython.viper
def start(desk, name):
    """Begin an operation that asks for a place only, if there is one; see plain.start."""
    op = _none
    known = desk.last_name
    ms = int(desk.word_ms)
    if name is known and int(desk.waiting) == 0 and ms != 0:
        desk.clock.advance()
        desk.acquire(1)
        try:
            free = ptr8(desk.free)
            rows = int(desk.rows)
            places = int(desk.places)
            row = 0
            while row < rows and free[row] == 0:
                row += 1
            if row < rows and places < int(desk.max_operations):
                op = desk.operation(desk, row, desk.next_id, name, _ACTIVE)
                enter(desk, op)
                desk.places = places + 1
                begin_operation(desk, op, ms)
        finally:
            desk.release()
    return op


@micropython.viper
def take_out(desk, op):
    """Take an operation out of the table; return its lease, or itself if it has ended before."""
    none = _none
    state = int(op.state)
    if state == _ENDED:
        return op
    row = int(op.row)
    op.state = _ENDED
    desk.told[row] = desk.untold
    if state == _WAITING:
        desk.count_waiting(-1)
    else:
        if state != _OVERDUE:
            desk.places = int(desk.places) - 1
        if state != _ADMITTING:
            desk.learn_ended(op)
    free_row(desk, row)
    desk.put("operation", op.id, "ended", none)
    more = ptr8(desk.more)
    lease = none
    if more[row] != 0:
        more[row] = 0
        op.task = none
        lease = op.lease
        op.lease = none
    return lease


@micropython.viper
def complete(op):
    """End an operation, and give its place to who waits for one."""
    none = _none
    desk = op.desk
    lease = op
    desk.clock.advance()
    desk.acquire(1)
    try:
        lease = take_out(desk, op)
    finally:
        desk.release()
    if lease is not op:
        if lease is not none:
            lease.release()
        if int(desk.waiting) != 0:
            desk.pass_on()


@micropython.viper
def take_back(ledger, lease, why) -> int:
    """End a lease, with the lock held; return whether this did."""
    none = _none
    if not lease.active:
        return 0
    kind = int(lease.kind)
    amount = lease.amount
    if not lease.committed:
        if kind != _OF_STORAGE:
            sums = ledger.sums
            sums[kind] = int(sums[kind]) - int(amount)
        lease.committed = _true
    lease.active = _false
    if ledger.agreed:
        if lease.on_preempt is not none:
            ledger.agreed = int(ledger.agreed) - 1
    if kind == 0:
        if lease.buffer is not none:
            lease.buffer = none
    ledger.ended = int(ledger.ended) + 1 & 0xFFFF
    if ledger.awaited:
        ledger.clock.now()
    free_row(ledger, lease.row)
    ledger.put("lease", lease.id, why, amount)
    return 1


@micropython.viper
def release(lease):
    """End a lease that its holder gives back."""
    ledger = lease.ledger
    ledger.clock.advance()
    ledger.acquire(1)
    try:
        take_back(ledger, lease, "released")
    finally:
        ledger.release()


@micropython.viper
def forecast(
    ring: ptr16, newest: int, at: int, points: ptr32, least: ptr8, limit: int, step_s: int
) -> int:
    """Return in how many seconds a metric reaches its limit, -1 if it does not clearly rise."""
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
            other -= figure
            s += (0 - other >> 31) - (other >> 31)  # 1 for a greater figure, -1 for a less
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


@micropython.viper
def foresee(of, limit: int) -> int:
    """Return in how many seconds a metric reaches its limit, _UNKNOWN if it is never."""
    slots = ptr32(of.open_slots)
    words = ptr32(of.words)
    soonest = 0
    due_s = 0
    tier = 0
    step_s = 1
    while tier < _FORECAST_TIERS:
        slot = slots[tier]
        if slot >= words[_NEXT_SLOT + tier]:
            words[_NEXT_SLOT + tier] = slot + _SLOTS_A_POINT
            newest = (slot + _SLOTS - 1) % _SLOTS
            at = words[_BEGINS + tier]
            found = int(forecast(of.ring, newest, at, of.points, of.least, limit, step_s))
            words[_FOUND_S + tier] = found + 1
        found = words[_FOUND_S + tier]
        if found != 0 and (soonest == 0 or found < soonest):
            soonest = found
        slot = words[_NEXT_SLOT + tier] * step_s
        if tier == 0 or slot < due_s:
            due_s = slot
        tier += 1
        step_s = 60
    words[_FORECAST_DUE_S] = due_s
    if soonest == 0:
        return _UNKNOWN
    return soonest - 1


# --- a step of the agent --------------------------------------------------------------------------


@micropython.viper
def turn(agent, listen) -> int:
    """Do what is due; return the ms until there is more."""
    resting = ptr32(agent.resting)
    if resting[_STEPPING] != 0:
        return _BUSY_MS
    resting[_STEPPING] = 1
    stopped = 1
    wait = 0
    try:
        try:
            now = int(agent.ticks_us()) & _LOW_BITS
            resting[_BEGAN] = now
            count = 0
            if listen:
                count = int(agent.read(agent.chunk))
            resting[_ARRIVED] = count
            if count == 0 and resting[_READING] == 0:
                news = ptr8(agent.news)
                if news[0] == 0:
                    wait = resting[_REST_US] - (now - resting[_RESTED] & resting[_MASK])
            if wait > 0:
                wait = wait // 1000 + 1
                idle = resting[_IDLE_STEPS]
                resting[_IDLE_STEPS] = idle + 1
                if idle == 0:
                    mean = resting[_IDLE_US]
                    took = int(agent.ticks_us()) - now & resting[_MASK]
                    if mean == 0:
                        mean = took
                    elif took > 2 * mean + 4:
                        took = 2 * mean + 4
                    resting[_IDLE_US] = mean + (took - mean + 3 >> 2)
                resting[_STEPPING] = 0
            else:
                wait = int(wake(agent))
        except Exception:
            wait = int(agent.failed())
        stopped = 0
    finally:
        if stopped != 0:
            resting[_STEPPING] = 0
    if wait < 0:
        wait = -wait
        agent.deliver()
    return wait


@micropython.viper
def wake(agent) -> int:
    """Hear what has arrived, and do what is due; return the ms until there is more."""
    none = _none
    resting = ptr32(agent.resting)
    memory = agent.memory
    pass_ = ptr32(memory.state)
    sign = 1
    left = 0
    news = ptr8(agent.news)
    session = agent.session
    count = resting[_ARRIVED]
    if count != 0:
        hear(session, count)
    if news[0] != 0:
        if count != 0 and session.subscribed:
            session.subscribed = False
            left = _NEXT_US
    elif count != 0 or resting[_READING] != 0:
        left = resting[_REST_US] - (resting[_BEGAN] - resting[_RESTED] & resting[_MASK])
        if count != 0 and left > 0 and int(session.due) != 0:
            left = int(agent.answer(left))
    if left > 0:
        left = left // 1000 + 1
        if pass_[_HEAP_PARTS] != 0:
            read_on(memory)
    else:
        words = agent.values
        values = ptr32(words)
        resting[_REST_US] = 0
        resting[_RESTED] = resting[_BEGAN]
        stirred = news[0]
        news[0] = 0
        resting[_BUSY_US] += resting[_IDLE_STEPS] * resting[_IDLE_US] + values[_SPENT_US]
        resting[_IDLE_STEPS] = 0
        clock = agent.clock
        clock.advance()
        s = int(clock.s)
        ms = int(clock.ms)
        policy = agent.policy
        until = _NEVER_MS
        ladder = policy
        if policy is not none:
            ladder = policy.ladder
            until = int(clock.next_s) - s
            if until > 1:  # no rest is longer
                until = _NEVER_MS
            else:
                if until >= -1:
                    until = until * 1000 + int(clock.next_ms) - ms
                if until <= 0:
                    until = int(agent.enforce())
        left = 1000
        again = -1
        if values[_INTERVAL] != 0:
            left = (values[_DUE_S] - s) * 1000 + values[_DUE_MS] - ms
            if left <= 0:
                sample(agent, words, memory, policy)
                again = 1000
                if session is none or int(tell_sample(session, s)) == 0:
                    again = int(agent.tell_later())
                left = values[_LEFT_MS]
                if policy is not none:
                    if ladder.level:
                        left = int(agent.hurry())
                        stirred = 1
            elif pass_[_HEAP_PARTS] != 0:
                read_on(memory)
        if until < left:
            left = 1
            if until > 0:
                left = until
        if again < 0:
            again = int(agent.pump())
        if again > 0 and again < left:
            left = again
        if left > _MAX_REST_MS:
            left = _MAX_REST_MS
        resting[_REST_US] = left * 1000
        values[_SPENT_US] = 0
        if policy is not none and (stirred != 0 or news[0] != 0):
            events = policy.events
            if int(events.told) != int(events.seq) or ladder.due:
                sign = -1
    resting[_READING] = 0
    if pass_[_HEAP_PARTS] != 0:
        resting[_READING] = 1
        if left > _SLICE_PAUSE_MS:
            left = _SLICE_PAUSE_MS
    resting[_BUSY_US] += int(agent.ticks_us()) - resting[_BEGAN] & resting[_MASK]
    resting[_STEPPING] = 0
    return left * sign


@micropython.viper
def advance(clock):
    """Bring a clock up to now."""
    now = int(clock.ticks_ms()) & _LOW_BITS
    half = int(clock.half)
    passed = (now - int(clock.last) + half & 2 * half - 1) - half
    clock.last = now
    ms = int(clock.ms) + passed
    clock.ms = ms
    if ms >= 1000:
        s = ms // 1000
        clock.ms = ms - s * 1000
        clock.s = int(clock.s) + s


@micropython.viper
def sample(agent, values, memory, policy):
    """Take a sample into these words."""
    none = _none
    began = int(agent.ticks_us())
    words = ptr32(values)
    spent = words[_SPENT_US]
    renew(agent)
    load = agent.load
    if load.core is not none or "asyncio" in load.modules:
        load.read()
    read_memory(memory)
    scanned = 0
    if words[0] >= words[_SELDOM_S]:
        scanned = int(agent.sampler.read_seldom())
    history = agent.history
    found = int(keep(values, history.open_slots, history.ring, words[0]))
    if policy is not none:
        judge(policy, words[_PERIOD_MS])
    if found != words[_NOT_KNOWN]:
        agent.sampler.see_capabilities(found)
    began = int(agent.ticks_us()) - began
    if began < 0:
        resting = ptr32(agent.resting)
        began &= resting[_MASK]
    words[_COST_US] = began - (words[_SPENT_US] - spent) - scanned


@micropython.viper
def judge(policy, passed_ms: int):
    """See what a new sample says."""
    needs = policy.needs
    if needs.op is not _none:
        needs.look()
    if int(policy.meters.count) != 0:
        policy.meters.look(passed_ms)
    thresholds = policy.thresholds
    values = ptr32(thresholds.values)
    if values[0] >= values[_MEMORY_FORECAST_S]:
        thresholds.figures.renew_memory()
    elif values[0] >= values[_STORAGE_FORECAST_S]:
        thresholds.figures.renew_storage()
    if int(crossed(thresholds.values, thresholds.words, 0, _MAX_THRESHOLDS)) >= 0:
        thresholds.look(passed_ms)
    ladder = policy.ladder
    if thresholds.moved or ladder.level:
        ladder.look(passed_ms)
    if policy.telling:
        policy.tell_of_meters()


@micropython.viper
def read_memory(memory):
    """Bring the figures of the heap up to now."""
    none = _none
    state = memory.state
    if memory.heap is none:
        memory.walk()
    else:
        memory.heap(state, _SLICE)
    wanted = int(heap(memory.values, state))
    if wanted != 0:
        memory.collect_wanted(wanted)


@micropython.viper
def read_on(memory):
    """Read one slice more of the heap."""
    state = memory.state
    memory.heap(state, _SLICE)
    heap(memory.values, state)


@micropython.viper
def tell_sample(session, s: int) -> int:
    """Send a sample taken at s, if that is all there is to send; return whether it was."""
    if int(session.host_id) == 0 or int(session.due) != 0:
        return 0
    news = ptr8(session.news)
    place = 0
    while place < _NEWS:
        if news[place] != 0:
            return 0
        place += 1
    if s - int(session.heard_s) > _SURE_S:
        return 0
    uplink = session.uplink
    if int(uplink.end) != 0:
        return 0
    newest = session.sample
    told = newest.told
    length = int(tell(newest.values, told, newest.places, uplink.seq, uplink.payload))
    if int(send(uplink, length, _RESERVE)) == 0:
        return 0
    sent = ptr32(told)
    sent[_SENT] = 1
    return 1


@micropython.viper
def send(uplink, length: int, reserve: int) -> int:
    """Send payload[:length]; return 0, with nothing sent, if the link does not take it."""
    wire = uplink.wire
    length = int(seal(uplink.payload, length, wire, _MAX_WIRE))
    link = uplink.link
    sent = int(uplink.sent)
    unacked = int(uplink.unacked_frames)
    if unacked != 0:
        window = int(link.window)
        if window != 0 and (sent - int(uplink.acked) & 0xFFFF) + length + reserve > window:
            return 0
    seq = int(uplink.seq)
    uplink.seq = seq + 1 & 0xFFFF
    written = int(link.write(wire, 0, length))
    if written < length:
        if written == 0:
            uplink.seq = seq
            return 0
        uplink.at = written
        uplink.end = length
    sent = sent + length & 0xFFFF
    uplink.sent = sent
    sent_at = ptr16(uplink.sent_at)
    sent_at[seq & _FRAMES - 1] = sent
    if unacked < _FRAMES:
        uplink.unacked_frames = unacked + 1
    return 1


@micropython.viper
def pump_rows(session, table) -> int:
    """Send the rows of a table that are due; return whether all could go."""
    none = _none
    news = ptr8(session.news)
    flags = table.due
    due = ptr8(flags)
    rows = int(len(flags))
    place = int(table.place)
    news[place] = 0
    uplink = session.uplink
    row = 0
    while row < rows:
        if due[row] != 0:
            ready = 0
            if int(session.frames) < _TURN:
                ready = 1
                if int(uplink.end) != 0:
                    if not uplink.ready():
                        ready = 0
            if ready == 0:
                news[place] = 1
                return 0
            session.row_under_way = row
            session.under_way = table
            due[row] = 0
            length = int(table.encode(row, uplink))
            sent = 1
            if length != 0:
                sent = int(send(uplink, length, _RESERVE))
                if sent == 0:
                    due[row] = 1
                    news[place] = 1
                else:
                    session.frames = int(session.frames) + 1
                    told = table.sent
                    if told is not none:
                        told()
                    row = -1
            session.under_way = none
            if sent == 0:
                return 0
        row += 1
    return 1


@micropython.viper
def acknowledge(uplink, seq: int):
    """Take the host's word that it has seen the frame `seq` and those before it."""
    if seq >= 0 and seq <= 0xFFFF:
        behind = int(uplink.seq) - 1 - seq & 0xFFFF
        if behind < int(uplink.unacked_frames):
            sent_at = ptr16(uplink.sent_at)
            uplink.acked = sent_at[seq & _FRAMES - 1]
            uplink.unacked_frames = behind


@micropython.viper
def hear(session, count: int):
    """Act on what was read into chunk[:count], and on what has arrived besides."""
    words = session.marks
    marks = ptr32(words)
    chunk = session.chunk
    payload = session.payload
    rounds = _ROUNDS
    bad = marks[_BAD]
    while count > 0:
        size = count
        if size > _CHUNK:
            size = _CHUNK
        at = 0
        while at < size:
            at = int(take(chunk, at, size, payload, words))
            if marks[_LENGTH] != 0:
                if marks[_FIRST] == _KEEPALIVE and marks[_FOUND] >= 3:
                    if marks[_FIRST + 1] == int(session.host_id):
                        alive(session, marks[_FIRST + 2])
                else:
                    session.take_message(words)
        rounds -= 1
        if count < _CHUNK or rounds == 0:
            break
        count = int(session.link.read(chunk))
    if bad != marks[_BAD]:
        bad = marks[_BAD]
        session.bad = bad
        values = ptr32(session.sample.values)
        values[_BAD_FRAMES] = bad


@micropython.viper
def alive(session, seq: int):
    """Take a host's sign of life, which has seen the frame `seq` and those before it."""
    if int(session.host_id) == 0:
        return
    clock = session.clock
    clock.advance()
    session.heard_s = clock.s
    session.heard_ms = clock.ms
    if session.hosts:
        session.tell_alive()
    uplink = session.uplink
    acknowledge(uplink, seq)
    sent = int(uplink.sent)
    if sent == int(session.sent_at_keepalive):
        session.due = int(session.due) | _DUE_ALIVE
    else:
        session.sent_at_keepalive = sent
