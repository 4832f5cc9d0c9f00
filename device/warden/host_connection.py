"""One of several hosts, over a connection of its own; loaded for `TcpServer`.

Its frames have numbers of their own. A row that it is owed goes when its connection takes it, which
no other host waits for.
"""

from micropython import const

from warden.host_session import HostSession
from warden_schema.codec import Malformed, put
from warden_schema.frame import Deframer, encode

_REFUSED = const(2)
_SYNCED = const(5)
_ALIVE = const(6)
_DELTA = const(16)
_PROTOCOL_MAJOR = const(1)
_PROTOCOL_MINOR = const(8)
_MAX_HOSTS = const(3)
_MAX_PAYLOAD = const(200)
_MAX_REQUEST = const(128)
_MAX_REST = const(192)  # of a frame that was taken in part
_FULL_MS = const(100)  # until the next try on a full connection
_NOTHING_MS = const(60_000)
_SILENCE_MS = const(3000)
_CLOSE_MS = const(1000)  # for a refused host to read why, and go
_NO_BASE = const(-1)
_BAD_FIGURE = const(18)  # a place among a sample's figures
_FIRST_HEAD = const(2)  # places in the payload, as `hosts_message` has it
_BODY = const(7)
_MAX_SINCE = const(0x7F)  # of a DELTA: more would be two bytes
_BIAS = const(48)

# A host is owed a row: it has changed, or the host subscribed, and waits for it, and for SYNCED.
_CHANGED = const(1)
_SUBSCRIBED = const(2)
_CHANGED_ROW = const(b"\x01")
_SUBSCRIBED_ROW = const(b"\x02")
_NONE_OWED = const(-1)


class Host(HostSession):
    """One host, or a connection that may become one (host_id 0).

    Each payload from it passes `_on_payload()`, each frame to it `transmit()`. What it may do is
    `link.right`.
    """

    limit = 4  # hosts whose last replies are remembered, see `Requests.find_row`
    is_full = False  # it has asked for a place, and there was none
    rest = None  # of a frame that was taken in part: there is one where a host is slow

    def __init__(self, server, link):
        agent = server.agent
        self.server = server
        self.agent = agent
        self.clock = agent.clock
        self.uplink = server.uplink
        self.link = link
        self.deframer = None  # its own, while a frame has come in part
        self.rest_at = _MAX_REST  # from here on there is something in `rest`
        self.owed = bytearray(0)  # a flag for each row of each table, one table after the other
        self.next = _NONE_OWED  # the place after the row that was sent last
        self.next_event = 0
        self.heard = 0  # bytes, halved now and then
        self.was_late = False  # its silence was over, and something of it was still to be read
        self.host_id = self.seq = 0
        self.base = _NO_BASE  # the `Message.seq` of the sample that it has, and
        self.base_seq = 0  # of which frame
        self.events_from = self.replies = self.last_seq = None
        self.deadline_s = self.deadline_ms = self.refused_id = 0
        self.can_take = False  # its connection takes frames, as far as is known
        self.hello_dirty = self.sample_dirty = self.synced_dirty = self.alive_dirty = False

    # --- from the host --------------------------------------------------------------------------

    def listen(self):
        """Read what has arrived, up to 64 bytes, and act on each message; return the count."""
        deframer = self.deframer or self.server.deframer
        deframer.bad = 0
        host_id = self.host_id
        end = self.link.read(self.server.buf)
        at = 0
        while at < end:
            at = deframer.feed(self.server.buf, at, end)
            if deframer.length:
                self.server.reader.buf = deframer.payload
                self.server.reader.end = deframer.length
                self._on_payload()
        self.store_part(deframer)
        self.agent.sample.figures[_BAD_FIGURE] += deframer.bad
        if host_id and not self.host_id:
            self.link.drop()  # it has unsubscribed: until its end is read, it would be in the way
        return end

    def _on_payload(self):
        self.uplink.host = self  # answers are for it
        try:
            self.process(self.server.reader)
        except Malformed:  # as in a `HostSession`
            self.agent.sample.figures[_BAD_FIGURE] += 1
        except TypeError:
            self.agent.sample.figures[_BAD_FIGURE] += 1
        self.uplink.host = None

    def store_part(self, deframer):
        """Keep the deframer while a frame has come in part: the others get another one.

        What finds no memory for that is lost.
        """
        if not deframer.opened and not deframer.in_frame:
            self.server.deframer = deframer
            self.deframer = None
        elif self.deframer is None:
            try:
                self.server.deframer = Deframer(_MAX_REQUEST)
                self.deframer = deframer
            except MemoryError:
                deframer.bad += deframer.in_frame
                deframer.opened = deframer.in_frame = False

    def until_lost_ms(self):
        """Return the ms until it is lost, unless something comes from it; no more than 0: it is."""
        return self.clock.until_ms(self.deadline_s, self.deadline_ms) + 1

    def renew(self):
        """Begin the host's silence anew, also for its connection."""
        self.was_late = False
        self.link.keep_place()
        HostSession.renew(self)

    def subscribe(self, host_id):
        """Begin the subscription of a host, if there is a place for it."""
        self.refused_id = 0
        server = self.server
        if host_id != self.host_id:
            was_here = server.replace(self, host_id)
            if was_here is None:
                return
            if not self.host_id and len(server.subscribed()) >= _MAX_HOSTS:
                # One of them may have gone, so only who asks again is refused.
                if self.is_full and server.all_heard():
                    self.refused_id = host_id
                self.is_full = True
                self.deadline_s = self.clock.s + _SILENCE_MS // 1000
                return
            self.host_id = host_id
            if self.is_full:
                self.is_full = False
            self.replies = None
            self.agent.governor.allow_snapshot(self.clock.s)
            if not was_here:
                self.on_host("found")
        elif self.hello_dirty:
            self.alive_dirty = True
        self.renew()
        self.mark_all()

    def mark_all(self):
        """Mark everything for sending to this host."""
        server = self.server
        policy = self.agent.policy
        if policy is not None:
            server.events = policy.events
            self.next_event = min(max(self.events_from or 0, 0), policy.events.seq)
        count = 0
        for table in server.tables:
            count += len(table.dirty)
        if len(self.owed) != count:
            self.owed = bytearray(count)
        place = 0
        for table in server.tables:
            rows = () if table is server.events else getattr(table, "rows", ())
            for row in range(len(table.dirty)):
                # Meters are requested apart; of what is neither used nor free encode() decides.
                is_free = hasattr(table, "send_ms") or (row < len(rows) and rows[row] is None)
                self.owed[place] = 0 if is_free else _SUBSCRIBED
                place += 1
        if len(server.subscribed()) < 2:
            server.is_sample_new = True  # nobody had the last one
        self.next = 0
        self.base = _NO_BASE
        self.hello_dirty = self.sample_dirty = self.synced_dirty = True
        self.clock.rows_dirty = self.clock.poll_now = True

    def free(self, row):
        """Tell whether another host may have a row of `Requests`: its own is not connected."""
        for host in self.server.hosts:
            if host.host_id == row[0] and host.link.right == row[1]:
                return False
        return True

    # --- to the host ----------------------------------------------------------------------------

    def ready(self):
        """Tell whether a frame may be begun; finishes the last one first, if it must."""
        if self.rest_at < _MAX_REST:
            self.rest_at += self.link.write(self.rest, self.rest_at, _MAX_REST)
        return self.rest_at >= _MAX_REST

    def put_head(self):
        """Put the message's head with this host's next number before it; return where it begins."""
        payload = self.uplink.payload
        seq = self.seq
        at = _BODY - (3 if seq < 0x80 else 4 if seq < 0x100 else 5)
        put(payload, at + 2, seq)
        payload[at] = payload[0]
        payload[at + 1] = payload[1]
        return at

    def transmit(self, at=0):
        """Frame the message for this host; return False where the connection takes nothing.

        at: where the message begins, if its head has been put.
        """
        if self.rest_at < _MAX_REST:
            return False
        message = self.uplink
        seq = self.seq
        at = at or self.put_head()
        size = message.at - at
        if size > _MAX_PAYLOAD:
            raise IndexError
        size = encode(message.views[at - _FIRST_HEAD], size, message.buf)
        self.seq = seq + 1 & 0xFFFF  # first: Ctrl-C must not make two of one number
        taken = self.link.write(message.buf, 0, size)
        if not taken:
            self.seq = seq
            self.can_take = False
            return False
        message.sent = message.sent + size & 0xFFFF
        if taken < size:
            self.store_rest(message.buf, taken, size)
        return True

    def store_rest(self, buf, at, end):
        """Keep what was not taken of a frame for the next time.

        What is too long for that, or finds no memory, is lost: the host finds a damaged frame, and
        subscribes again.
        """
        self.can_take = False
        place = _MAX_REST
        if end - at <= place and self.has_rest():
            while end > at:
                end -= 1
                place -= 1
                self.rest[place] = buf[end]
            self.rest_at = place  # last: Ctrl-C may come

    def has_rest(self):
        """Tell whether there is memory for the rest of a frame; it is taken once."""
        try:
            self.rest = self.rest or bytearray(_MAX_REST)
        except MemoryError:
            return False
        return True

    def send_first(self):
        """Send a refusal, or HELLO and replies; return the ms until there is more to do."""
        self.uplink.host = self
        self.can_take = self.ready()
        left = self.until_lost_ms()
        if self.refused_id:
            self.send_refusal()
            return _FULL_MS
        if not self.host_id:
            self.can_take = False  # of what is sent to hosts
            if self.is_full and left <= 0:
                self.link.drop()
                self.server.is_busy = True
            return left if self.is_full else _NOTHING_MS
        if left <= 0:
            if self.was_late or not self.link.readable():
                self.on_host("lost")
                self.host_id = 0
                self.link.drop()
                self.server.is_busy = True
                return _NOTHING_MS
            # What has come is still to be read. Once: it may be noise.
            self.was_late = True
            self.deadline_s = self.clock.s + _SILENCE_MS // 1000
            left = 1
        if self.can_take and self.hello_dirty:
            self._send_hello()
        if self.can_take and self.replies is not None:
            self.server.requests.send_replies(self.uplink, self.replies)
        if (
            self.next != _NONE_OWED
            or self.sample_dirty
            or self.synced_dirty
            or self.alive_dirty
            or not self.can_take
        ):
            self.server.is_busy = True
        return left

    def send_refusal(self):
        """Send REFUSED; where there is no place, with those who have them, and close soon."""
        uplink = self.uplink
        uplink.begin(_REFUSED, 4 if self.is_full else 3)
        uplink.put(_PROTOCOL_MAJOR)
        uplink.put(_PROTOCOL_MINOR)
        uplink.put(self.refused_id)
        if self.is_full:
            uplink.put(self.places())
        if uplink.send():
            self.refused_id = 0
            self.deadline_s = self.clock.s + _CLOSE_MS // 1000
            self.deadline_ms = self.clock.ms

    def places(self):
        """Return who has the places: [(host id, address)]."""
        return [(host.host_id, host.link.address) for host in self.server.subscribed()]

    def on_closed(self):
        """Note that its connection has ended."""
        if self.host_id:
            self.on_host("lost")

    def send_sample(self):
        """Send the sample that the message has."""
        seq = self.seq
        message = self.uplink
        if message.payload[1] == _DELTA:
            since = (seq - self.base_seq & 0xFFFF) + _BIAS
            if since > _MAX_SINCE:
                return  # it is sent a SAMPLE, then
            message.payload[_BODY] = since
        if self.transmit():
            self.base = message.seq
            self.base_seq = seq
            self.sample_dirty = False

    def mark(self, place):
        """Owe it a row that has changed."""
        if place >= len(self.owed):  # of a table that was made since
            self.owed.extend(bytes(place + 1 - len(self.owed)))
        self.owed[place] = self.owed[place] or _CHANGED
        self.next = max(0, self.next)

    def is_due(self, place):
        """Tell whether a row can go to this host, which is owed it."""
        return self.can_take and place < len(self.owed) and self.owed[place] > 0

    def send_event(self, place):
        """Send the event that the message has, if there is one, and go on to the next."""
        events = self.server.events
        if not self.server.has_event:
            self.owed[place] = 0
        elif self.transmit():
            self.next_event = events.next + 1
            self.owed[place] = _CHANGED if self.next_event < events.seq else 0

    def send_last(self):
        """Send SYNCED where all rows were sent, and ALIVE; return False where more is owed."""
        uplink = self.uplink
        uplink.host = self
        if self.synced_dirty and self.can_take and self.owed.find(_SUBSCRIBED_ROW) < 0:
            uplink.begin(_SYNCED, 1)
            uplink.put(self.host_id)
            self.synced_dirty = not uplink.send()
        if self.alive_dirty and self.can_take:
            uplink.begin(_ALIVE, 0)
            self.alive_dirty = not uplink.send()
        if self.hello_dirty or self.sample_dirty or self.alive_dirty or self.rest_at < _MAX_REST:
            return False
        return self.next == _NONE_OWED

    def next_owed(self):
        """Return the place of the next row that it is owed, in rotation; -1 for none."""
        if self.next == _NONE_OWED:
            return _NONE_OWED
        owed = self.owed
        at = owed.find(_SUBSCRIBED_ROW, self.next)
        if at < 0:
            at = owed.find(_SUBSCRIBED_ROW)
        if at < 0:
            at = owed.find(_CHANGED_ROW, self.next)
        if at < 0:
            at = owed.find(_CHANGED_ROW)
        self.next = at + 1 if at >= 0 else _NONE_OWED
        return at
