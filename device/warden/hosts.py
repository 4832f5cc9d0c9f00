"""Several hosts at once on one board, each over a connection of its own; loaded for `TcpServer`.

What is sent to all is encoded once, and framed for each: frames are numbered for each host. A host
that is owed a row is sent it when its connection takes it, which no other host waits for.
"""

from array import array

from micropython import const

from warden.host_session import HostSession
from warden.sensors.capabilities import update_reasons
from warden_schema.codec import Malformed, Reader, put
from warden_schema.frame import Deframer, encode

_REFUSED = const(2)
_SYNCED = const(5)
_ALIVE = const(6)
_DELTA = const(16)
_MAJOR = const(1)
_MINOR = const(8)
_MAX_HOSTS = const(3)
_MAX_PAYLOAD = const(200)
_MAX_REQUEST = const(128)
_SLACK = const(48)  # behind it: a text is put with zeros behind it
_MAX_WIRE = const(406)
_MAX_REST = const(192)  # of a frame that was taken in part
_MAX_INPUT = const(64)
_MAX_HEARD = const(4096)
_MAX_LOOKS = const(8)  # at rows, of which some are not in use any more,
_MAX_ROWS = const(2)  # that are sent in a poll; then the application runs
_NEXT_MS = const(2)  # until the next ones
_FULL_MS = const(100)  # until the next try on a full connection
_NOTHING_MS = const(60_000)
_HEARD_MS = const(1500)  # a host that lives says so every second
_SILENCE_MS = const(3000)
_CLOSE_MS = const(1000)  # for a refused host to read why, and go
_NO_BASE = const(-1)
_DROPPED_FIGURE = const(16)  # places among a sample's figures
_BAD_FIGURE = const(18)
_NONE_OWED = const(-1)  # is owed

# A host is owed a row: it has changed, or the host subscribed, and waits for it, and for SYNCED.
_CHANGED = const(1)
_SUBSCRIBED = const(2)
_CHANGED_ROW = const(b"\x01")
_SUBSCRIBED_ROW = const(b"\x02")

# The payload: an array's head and the kind; room for the head of a frame, which is these two and a
# seq of up to three bytes; the body.
_FIRST_HEAD = const(2)
_BODY = const(7)
_HEADS = const(3)  # lengths that there are
_MAX_SINCE = const(0x7F)  # of a DELTA: more would be two bytes
_BIAS = const(48)


class Message:
    """A message to several hosts: encoded once as into an `Uplink`, sent to `host`, None: to all.

    seq: of the newest sample, from which a DELTA counts; a frame has its host's numbers instead.
    sent: bytes to all, modulo 2**16.
    """

    def __init__(self, hosts):
        self.hosts = hosts
        self.host = None
        self.payload = self.views = self.buf = None  # while there is a connection
        self.at = 0
        self.seq = 0
        self.sent = 0

    def take_room(self):
        """Allocate what a message is put in."""
        self.payload = bytearray(_BODY + _MAX_PAYLOAD + _SLACK)
        view = memoryview(self.payload)
        self.views = [
            view[at:] for at in range(_FIRST_HEAD, _FIRST_HEAD + _HEADS)
        ]  # where a frame may begin
        self.buf = bytearray(_MAX_WIRE)

    def begin(self, kind, fields):
        """Start a message with `fields` fields after kind and seq; return where they go."""
        self.payload[0] = 0x92 + fields
        self.payload[1] = kind
        self.at = _BODY
        return _BODY

    def put(self, value):
        """Put one field."""
        self.at = put(self.payload, self.at, value)

    def acknowledge(self, seq):
        """Do nothing: a connection itself tells how much it takes."""

    def send(self, reserve=0):
        """Send it; return False where the host's connection does not take it now."""
        if self.host is not None:
            return self.host.transmit()
        for host in self.hosts:
            if host.host_id:
                host.transmit()
        return True


class Host(HostSession):
    """One host, or a connection that may become one (host_id 0).

    Each payload from it passes `_on_payload()`, each frame to it `transmit()`. What it may do is
    `link.right`.
    """

    limit = 4
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

    def renew(self):
        """Begin the host's silence anew, also for its connection."""
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
        left = self.clock.until_ms(self.deadline_s, self.deadline_ms) + 1
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
            self.on_host("lost")
            self.host_id = 0
            self.link.drop()
            self.server.is_busy = True
            return _NOTHING_MS
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
        uplink.put(_MAJOR)
        uplink.put(_MINOR)
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


class Hosts:
    """Stands where the `HostSession` does, for a link that has several connections.

    hosts: connections, of which three at most have subscribed. tables: all that they mirror but the
    sample.
    """

    def __init__(self, agent):
        self.agent = agent
        self.clock = agent.clock
        self.hosts = []
        self.host_id = 0  # of one that listened at the last pump()
        self.uplink = Message(self.hosts)
        self.tables = [agent.storage]
        self.requests = None  # loaded at the first one
        self.events = None  # of these each host has a place of its own
        self.sample = agent.sample
        self.is_sample_new = False
        self.is_busy = False  # there is more to send than what goes first
        self.hello_dirty = False
        self.row = 0  # in its table, see find_table
        self.has_event = False
        self.turn = 0  # who was sent a row last
        self.buf = self.reader = self.deframer = None  # while there is a connection

    def subscribed(self):
        """Return the hosts that listen."""
        return [host for host in self.hosts if host.host_id]

    def renew(self):
        """Begin the silence of all hosts anew: none of them could be heard."""
        for host in self.hosts:
            if host.host_id:
                host.renew()

    def all_heard(self):
        """Tell whether each host that listens said something within the last 1.5 s."""
        for host in self.hosts:
            left = self.clock.until_ms(host.deadline_s, host.deadline_ms)
            if host.host_id and left < _SILENCE_MS - _HEARD_MS:
                return False
        return True

    def replace(self, host, host_id):
        """End the connection that a host had before, if any; return whether it had one.

        None where it is of another address: whoever learns a host's id must not end its session.
        """
        for other in self.hosts:
            if other is not host and other.host_id == host_id:
                if other.link.address != host.link.address:
                    return None
                other.host_id = 0
                other.link.drop()
                return True
        return False

    # --- from the hosts -------------------------------------------------------------------------

    def listen(self):
        """Let a host in, and read up to 64 bytes of the one that was heard least of late.

        So one that sends as much as is read keeps no other waiting.
        """
        if self.agent.link.has_caller():
            self.let_in()
        first = None
        for host in self.hosts:
            if (first is None or host.heard < first.heard) and host.link.readable():
                first = host
        if first is not None:
            first.heard += first.listen()
            if first.heard > _MAX_HEARD:
                for host in self.hosts:
                    host.heard >>= 1
            self.purge()

    def let_in(self):
        """Accept a connection, unless another one is not subscribed, and has a second for it."""
        for host in self.hosts:
            if not host.host_id:
                if host.link.is_fresh():
                    return
                host.link.drop()
        self.purge()
        link = self.agent.link.accept()
        if link is not None:
            self.serve(Host, link)

    def serve(self, kind, link):
        """Serve a connection by a `Host`, or another kind of one, if there is memory for it."""
        try:
            if not self.hosts:
                self.uplink.take_room()
                self.buf = bytearray(_MAX_INPUT)
                self.reader = Reader(self.buf, 0, 0)
                self.deframer = Deframer(_MAX_REQUEST)
                self.sample.last = array("i", self.sample.figures)
                self.sample.deltas_left = 0
            self.hosts.append(kind(self, link))
        except MemoryError:  # the others go on
            link.drop()
            if not self.hosts:
                self.give_room()

    def give_room(self):
        """Give back the memory that only connections need."""
        message = self.uplink
        message.payload = message.views = message.buf = None
        self.buf = self.reader = self.deframer = self.sample.last = None
        self.is_sample_new = False
        self.host_id = 0  # before the next pump(): `warden.sleeping()` sends where one listens

    def purge(self):
        """Forget the connections that have ended."""
        hosts = self.hosts
        at = len(hosts)
        while at:
            at -= 1
            host = hosts[at]
            if host.link.connection is None:
                hosts.pop(at).on_closed()
                if not hosts:
                    self.give_room()

    # --- to the hosts ---------------------------------------------------------------------------

    def on_sample(self, changed):
        """Mark the new sample for sending, and HELLO if a capability has changed.

        A sample that no host was sent in time is counted as dropped.
        """
        if changed and update_reasons(self.agent):
            self.hello_dirty = True
        missed = None
        for host in self.hosts:
            if host.host_id:
                missed = host.sample_dirty and missed is not False
                host.sample_dirty = True
        if missed is not None:
            self.is_sample_new = True
            if missed:
                self.sample.figures[_DROPPED_FIGURE] += 1

    def pump(self, rows):
        """Send what is due, as far as each connection takes it; return the ms until there is more.

        The order is that of a `HostSession`, for each host by itself; a row is encoded once for all
        that are owed it. What one does not take costs the others nothing.
        """
        if self.clock.rows_dirty:
            self.clock.rows_dirty = False  # first: others may be marked while they are searched
            self.spread()
        left = self.send_first()
        if self.is_busy:
            left = self.send_more(left, rows)
        self.uplink.host = None
        return left

    def send_more(self, left, rows):
        """Send the sample, rows and the rest; return the ms until there is more to do."""
        if self.is_sample_new:
            self.send_sample()
        self.send_last_sample()
        if rows:
            self.send_rows()
        for host in self.hosts:
            if host.host_id and not host.send_last():
                if host.can_take:
                    left = _NEXT_MS
                elif left > _FULL_MS:
                    left = _FULL_MS
        if left == _NEXT_MS:
            self.clock.rows_dirty = True
        self.purge()
        return left

    def send_first(self):
        """Send refusals, HELLO and replies to each; return the ms until there is more to do."""
        left = _NOTHING_MS
        self.is_busy = self.is_sample_new
        self.host_id = 0
        for host in self.hosts:
            if self.hello_dirty and host.host_id:
                host.hello_dirty = True
            wait = host.send_first()
            if wait < left:
                left = wait
            self.host_id = self.host_id or host.host_id
        self.hello_dirty = False
        return left

    def spread(self):
        """Owe each host the rows that have changed."""
        first = 0
        for table in self.tables:
            self.spread_table(table.dirty, first)
            first += len(table.dirty)

    def spread_table(self, dirty, first):
        """Owe each host the rows of a table that have changed; first: the place of its first."""
        if _CHANGED_ROW in dirty or _SUBSCRIBED_ROW in dirty:
            row = 0
            while row < len(dirty):
                if dirty[row]:
                    dirty[row] = 0  # before it is read
                    self.mark(first + row)
                row += 1

    def mark(self, place):
        """Owe each host a row."""
        for host in self.hosts:
            if host.host_id:
                host.mark(place)

    def send_sample(self):
        """Encode the new sample, and send it to those that have what it counts from."""
        sample = self.sample
        uplink = self.uplink
        base = sample.last_seq
        uplink.seq = uplink.seq + 1 & 0xFFFF
        sample.encode(0, uplink)
        sample.on_sent(0)  # of those that do not take it, each gets a SAMPLE later
        self.is_sample_new = False
        if uplink.payload[1] != _DELTA:
            return  # all get that one
        for host in self.hosts:
            if host.sample_dirty and host.can_take and host.base == base:
                host.send_sample()

    def send_last_sample(self):
        """Send a SAMPLE to those that lack the newest one."""
        is_encoded = False
        for host in self.hosts:
            if host.sample_dirty and host.can_take and host.host_id:
                if not is_encoded:
                    self.sample.put_whole(self.uplink, self.sample.last)
                    is_encoded = True
                host.send_sample()

    def send_rows(self):
        """Send a few rows, to one host after the other and all that are owed the same."""
        looked = sent = 0
        while sent < _MAX_ROWS and looked < _MAX_LOOKS:
            host = self.next_host()
            if host is None:
                return
            sent += self.send_row(host, host.next - 1)
            looked += 1

    def next_host(self):
        """Return the next host that takes frames and is owed a row, which `next` is behind."""
        hosts = self.hosts
        looked = 0
        while looked < len(hosts):
            looked += 1
            self.turn += 1
            if self.turn >= len(hosts):
                self.turn = 0
            host = hosts[self.turn]
            if host.host_id and host.can_take and host.next_owed() >= 0:
                return host
        return None

    def send_row(self, host, place):
        """Send a row to a host, and to all that are owed it; return whether it was in use."""
        table = self.find_table(place)
        if table is self.events:
            return self.send_event(place, host.next_event)
        table = table.encode(self.row, self.uplink)
        for host in self.hosts:
            if host.is_due(place) and (not table or host.transmit()):
                host.owed[place] = 0
        return table

    def find_table(self, place):
        """Return the table that has a row, and set `row` to its place there."""
        for table in self.tables:
            if place < len(table.dirty):
                break
            place -= len(table.dirty)
        self.row = place
        return table

    def send_event(self, place, number):
        """Send the event of a number to all for which it comes next; return whether there is one.

        Where it was overwritten, that is the oldest that is left.
        """
        self.events.next = number
        self.has_event = self.events.encode(0, self.uplink)
        for host in self.hosts:
            if host.is_due(place) and host.next_event == number:
                host.send_event(place)
        return self.has_event
