"""The board's side of the link to a host: its subscription, what to send, what it requests.

Sends nothing until a host subscribes, and stops three seconds after its last frame. Whatever
arrives, nothing is raised: damage and unknown kinds are counted.
"""

from array import array

from micropython import const

from warden.sensors.capabilities import update_reasons
from warden.sensors.threads import import_lock
from warden.uplink import Uplink
from warden_schema.codec import Malformed, Reader
from warden_schema.frame import Deframer

_HELLO = const(1)
_REFUSED = const(2)
_SYNCED = const(5)
_ALIVE = const(6)
_REPLY = const(7)
_SUBSCRIBE = const(64)
_UNSUBSCRIBE = const(65)
_REQUEST = const(67)

_PROTOCOL_MAJOR = const(1)
_PROTOCOL_MINOR = const(8)
_MAX_PAYLOAD = const(200)
_MAX_REQUEST = const(128)
_MAX_PENDING = const(4)
_MAX_MOUNTS = const(4)
_SILENCE_MS = const(3000)
_MAX_INPUT = const(64)  # bytes that are read in a poll
_MAX_ROWS = const(2)  # that are sent in a poll; then the application runs
_LAST_ROW = const(15)  # of the longest table
_NEXT_MS = const(2)  # until the next ones
_FULL_MS = const(100)  # until the next try on a full link
_NOTHING_MS = const(60_000)  # until the next look where no host listens

_SKIPPED_FIGURE = const(17)  # places among a sample's figures
_BAD_FIGURE = const(18)
_FAILED = const(3)
_LIMITS = const((_MAX_PAYLOAD, _MAX_REQUEST, _MAX_PENDING, _MAX_MOUNTS))  # as ids.LIMITS

# Flags of a table's row: it has changed; a host waits for it, and for SYNCED, when none has this.
# After SYNCED no row has the second.
_CHANGED_ROW = const(b"\x01")
_SUBSCRIBED_ROW = const(b"\x02")
_CHANGED = const(1)
_SUBSCRIBED = const(2)


class HostSession:
    """`listen()` reads the link; `pump()` sends what is due.

    tables: all that a host mirrors but the sample, which is one by itself.
    """

    def __init__(self, agent):
        clock = agent.clock
        self.agent = agent
        self.clock = clock
        self.uplink = Uplink(agent.link)
        self.host_id = 0  # 0: nobody listens
        self.events_from = None  # the number of the first event that the host wants
        self.requests = None  # loaded at the first one
        self.replies = None  # to this host, see `Requests`
        self.sample = agent.sample
        self.sample.last = array("i", self.sample.figures)
        self.tables = [agent.storage]
        self.next = 0  # the table of which a row is sent next, see find()
        self.table = None  # the table of which a row is being sent, and
        self.row = 0  # which one
        self.buf = bytearray(_MAX_INPUT)
        self.deframer = Deframer(_MAX_REQUEST)
        self.reader = Reader(self.deframer.payload, 0, 0)
        self.deadline_s = self.deadline_ms = 0  # then a silent host is lost
        self.last_seq = None  # that the last keepalive acknowledged
        self.refused_id = 0
        self.hello_dirty = self.synced_dirty = self.alive_dirty = False

    # --- from the host --------------------------------------------------------------------------

    def listen(self):
        """Read what has arrived, up to 64 bytes, and act on each message."""
        end = min(self.agent.link.read(self.buf), _MAX_INPUT)  # more: a link that lies
        at = 0
        while at < end:
            at = self.deframer.feed(self.buf, at, end)
            if self.deframer.length:
                self._on_payload()
        self.sample.figures[_BAD_FIGURE] = self.deframer.bad

    def _on_payload(self):
        try:
            self.reader.end = self.deframer.length
            self.process(self.reader)
        except (Malformed, TypeError):  # TypeError: None where a number belongs
            self.deframer.bad += 1

    def process(self, reader):
        """Act on a payload; raises Malformed or TypeError for one that makes no sense."""
        kind = reader.buf[1]
        if kind > 0x7F or reader.end < 2:
            raise Malformed  # buf[1] would be the head of a longer number, and no kind
        reader.at = 2
        if kind == _SUBSCRIBE:
            major = reader.integer()
            reader.integer()
            host_id = reader.integer()
            if host_id <= 0:
                raise Malformed  # no host has that id
            if major != _PROTOCOL_MAJOR:
                self.refused_id = host_id
                return
            self.events_from = reader.integer() if reader.buf[0] & 0x0F > 4 else None
            self.subscribe(host_id)
        elif not _UNSUBSCRIBE <= kind <= _REQUEST:
            self.agent.sample.figures[_SKIPPED_FIGURE] += 1
        elif reader.integer() != self.host_id or not self.host_id:
            pass  # of another host
        elif kind == _UNSUBSCRIBE:
            self.on_host("gone")
            self.host_id = 0
        elif kind == _REQUEST:
            self._on_request(reader)
        else:  # KEEPALIVE
            seq = reader.integer()
            self.renew()
            if seq is not None and seq >= 0:
                self.uplink.acknowledge(seq)
            if seq == self.last_seq:
                self.alive_dirty = True  # nothing was sent since, or all of it was lost
            self.last_seq = seq

    def subscribe(self, host_id):
        """Make it the host that listens, and mark everything for sending to it."""
        if host_id != self.host_id:  # another, or the same after a silence
            self.host_id = host_id
            self.replies = None
            self.uplink.unacked = 0  # nothing is under way to it
            self.agent.governor.allow_snapshot(self.clock.s)
            self.on_host("found")
        elif self.hello_dirty:
            self.alive_dirty = True  # the last answer waits: what is under way may be lost
        self.renew()
        for table in self.tables:
            table.subscribe()
        self.sample.subscribe()
        self.hello_dirty = self.synced_dirty = self.clock.rows_dirty = True

    def renew(self):
        """Begin the host's silence anew: a frame of it has arrived."""
        self.deadline_s = self.clock.s + _SILENCE_MS // 1000
        self.deadline_ms = self.clock.ms
        if hasattr(self.agent.link, "keep_place"):
            self.agent.link.keep_place()
        self.on_host("seen")

    def on_host(self, how):
        """Tell the policy that the host is "found", "seen", "lost" or "gone", see Sessions."""
        policy = self.agent.policy
        if policy is not None:
            policy.sessions.on_host(self.host_id, how)

    def _on_request(self, reader):
        request_id = reader.integer()
        if not 0 <= request_id <= 0xFFFF:
            raise Malformed  # no request has that id
        self.renew()
        session = self.agent.session  # this one, but where it has several hosts
        if session.requests is None:
            try:
                with import_lock:
                    from warden.requests import Requests
                session.requests = Requests(self.agent)
            except Exception:  # there is no memory for it, say: then that is the answer
                uplink = self.uplink
                uplink.begin(_REPLY, 4)
                uplink.put(request_id)
                uplink.put(_FAILED)
                uplink.put(None)
                uplink.put(self.host_id)  # without it no host of a shared stream takes it
                uplink.send()
                return
        session.requests.process(self, request_id, reader)

    # --- to the host ----------------------------------------------------------------------------

    def on_sample(self, changed):
        """Mark the new sample for sending, and HELLO if a capability has changed.

        changed: whether a capability may have changed.
        """
        if changed and update_reasons(self.agent):
            self.hello_dirty = True
        if self.host_id:
            self.sample.mark_dirty(0)

    def pump(self, rows):
        """Send what is due, as far as the link takes it; return the ms until there is more to do.

        HELLO goes first, then replies, the sample, and rows of the tables in rotation, if `rows`
        allows it; SYNCED once all rows were sent that there were when the host subscribed, whatever
        has changed since.
        """
        uplink = self.uplink
        if self.refused_id:
            uplink.begin(_REFUSED, 3)
            uplink.put(_PROTOCOL_MAJOR)
            uplink.put(_PROTOCOL_MINOR)
            uplink.put(self.refused_id)
            if uplink.send():
                self.refused_id = 0
        if not self.host_id:
            return _FULL_MS if self.refused_id else _NOTHING_MS
        if self.table:  # there was no memory for it, or Ctrl-C came
            self.table.dirty[self.row] = _SUBSCRIBED if self.synced_dirty else _CHANGED
            self.sample.deltas_left = 0  # the host may have the last one, or not
            self.table = None
            self.clock.rows_dirty = True
        left = self.clock.until_ms(self.deadline_s, self.deadline_ms) + 1
        agent = self.agent  # in a poll that passed over the link what the host has sent is unread
        if left <= 0 and not (agent.rows_first and agent.governor.host_us > 0):
            self.on_host("lost")
            self.host_id = 0
            if hasattr(agent.link, "drop"):
                agent.link.drop()  # else one that lost its power would block the next host
            return _NOTHING_MS
        if not (uplink.ready() and self.send(rows)):
            left = _FULL_MS
        elif self.clock.rows_dirty:
            left = _NEXT_MS
        if self.alive_dirty:
            uplink.begin(_ALIVE, 0)
            self.alive_dirty = not uplink.send(0)  # it goes also when the rest cannot
        return left

    def send(self, rows):
        """Send what is due in its order; return False where the link did not take all of it."""
        if (
            (self.hello_dirty and not self._send_hello())
            or (self.replies and not self.requests.send_replies(self.uplink, self.replies))
            or not self._send_row(self.sample, 0)
        ):
            return False
        if rows and self.clock.rows_dirty:
            self.clock.rows_dirty = False  # first: others may be marked while they are searched
            if not self._send_rows():
                return False
        if self.synced_dirty and self.find(_SUBSCRIBED_ROW) < 0:
            self.uplink.begin(_SYNCED, 1)
            self.uplink.put(self.host_id)
            self.synced_dirty = not self.uplink.send()
            return not self.synced_dirty
        return True

    def _send_hello(self):
        """Send HELLO; return False where the link did not take it."""
        uplink = self.uplink
        board = self.agent.board
        uplink.begin(_HELLO, 7)
        uplink.put(_PROTOCOL_MAJOR)
        uplink.put(_PROTOCOL_MINOR)
        uplink.put(self.host_id)
        uplink.put(board.boot_id)
        uplink.put(board.identity)
        uplink.put(_LIMITS)
        uplink.put(self.agent.reasons)
        self.hello_dirty = not uplink.send()
        return not self.hello_dirty

    def _send_rows(self):
        """Send rows of the tables in rotation; return False where the link took one no more."""
        flag = _SUBSCRIBED_ROW if self.synced_dirty else _CHANGED_ROW
        for _ in range(_MAX_ROWS):
            row = self.find(flag)
            if row < 0 and flag == _SUBSCRIBED_ROW:
                flag = _CHANGED_ROW
                row = self.find(flag)
            if row < 0:
                return True
            self.clock.rows_dirty = True
            table = self.tables[self.next % len(self.tables)]
            self.next = self.next + 1 & 0x7FFF
            if not self._send_row(table, row):
                return False
        return True

    def find(self, flag):
        """Return the next row with this flag, of the table at `next`; -1 for none.

        `next` counts on after the last table, and each time round a table is searched from a row
        further on: one that changes all the time keeps none behind it.
        """
        count = len(self.tables)
        end = self.next + count
        while self.next < end:
            dirty = self.tables[self.next % count].dirty
            row = dirty.find(flag, self.next // count & _LAST_ROW)
            if row < 0:
                row = dirty.find(flag)
            if row >= 0:
                return row
            self.next += 1
        self.next -= count
        return -1

    def _send_row(self, table, row):
        """Send a row if it is due; return False where the link did not take it."""
        flag = table.dirty[row]
        if flag:
            self.table = table
            self.row = row
            table.dirty[row] = 0  # before it is read
            if table.encode(row, self.uplink):
                if not self.uplink.send():
                    table.dirty[row] = flag
                    self.table = None
                    return False
                table.on_sent(row)
            self.table = None
        return True
