"""The board's side of a session: who listens, what it still has to be told, what it asks.

Silent until a host subscribes, and again three seconds after its last sign of life. Whatever
arrives, nothing is raised: damage and unknown kinds are counted, and a request is carried out once
however often it comes.
"""

from array import array

from micropython import const

from warden_schema import codec, loops
from warden_schema.frame import Reader

from .errors import Denied

_REFUSED = const(2)
_SYNCED = const(5)
_ALIVE = const(6)
_REPLY = const(7)
_SUBSCRIBE = const(64)
_UNSUBSCRIBE = const(65)
_KEEPALIVE = const(66)
_REQUEST = const(67)

_MAJOR = const(1)
_MINOR = const(3)
_MAX_REQUEST = const(128)
_MAX_PENDING = const(4)  # a power of two
_SILENCE_MS = const(3000)
_RESERVE = const(48)  # as in uplink
_MAX_WORDS = const(4)  # of a message that is read the short way
_UNKNOWN = const(-0x40000000)

_OK = const(0)
_UNKNOWN_REQUEST = const(1)
_BAD_ARGUMENTS = const(2)
_FAILED = const(3)
_DENIED = const(4)
_NOT_FOUND = const(5)

_DUE = b"\x01"  # in a table's flags, and in the clock's news
# In the sample.
_DROPPED_FRAMES = const(18)
_SKIPPED_FRAMES = const(19)
_BAD_FRAMES = const(20)
_SAMPLE_PLACE = const(23)  # the sample's place there: the last

_SENT = const(0)  # in what the sample was told
_SURE_S = const(1)  # since a sign of life: the host is there
_TURN = const(4)  # frames; then the application gets its turn
_NEXT_MS = const(2)
_FULL_MS = const(100)  # until a full link is looked at again

# What SYNCED, ALIVE and REFUSED are due, in `_due`; a REPLY's bit is _FIRST_REPLY << its place.
_DUE_ALIVE = const(1)
_DUE_REFUSED = const(2)
_DUE_SYNCED = const(4)
_DUE_SAMPLE = const(8)  # the one before SYNCED
_FIRST_REPLY = const(16)


def _teller(session, sample, uplink, clock):
    """Return tell_sample() of a session; what it needs is bound as defaults: see `sampler`."""

    def tell_sample(
        session=session,
        sample=sample,
        uplink=uplink,
        clock=clock,
        find=clock.news.find,
        send=uplink.send,
        encode=sample.encode,
    ):
        """Send a sample that was just taken, as pump() would; return whether that was all.

        If not, because there is something else, or the link is full, it has to be told by pump().
        """
        if (
            session._due
            or find(_DUE, 1) >= 0
            or clock.s - session._heard_s > _SURE_S
            or uplink.at < uplink.end
            or not send(encode(0, uplink))
        ):
            return False
        sample.told[_SENT] = 1
        return True

    return tell_sample


class Session:
    """Reads the link with `receive`, tells the host what is due with `pump`."""

    def __init__(self, link, uplink, clock, sample, tables, handler_of, heard):
        self.host_id = 0  # 0: nobody listens
        self.events_from = None  # the first event that the host wants
        self._link = link
        self._uplink = uplink
        self._clock = clock
        self._sample = sample
        self._news = clock.news  # a byte for each table, from the second on
        sample.news = self._news
        sample.place = _SAMPLE_PLACE
        self.skipped = 0  # whole frames of an unknown kind
        self.bad = 0  # frames that were broken, or whole but made no sense; both are told, too
        self._values = values = sample.values
        values[_DROPPED_FRAMES] = values[_SKIPPED_FRAMES] = values[_BAD_FRAMES] = 0
        self.tables = []  # all others; the first is Hello
        for table in tables:
            self.add(table)
        self._handler_of = handler_of  # operation -> function of its arguments, or None
        self._hear = heard  # called with the host's id and "found", "alive", "lost" or "gone"
        self._reader = Reader(_MAX_REQUEST)
        self._cursor = codec.Cursor(self._reader.payload)
        self._words = array("i", [0] * _MAX_WORDS)
        self._chunk = bytearray(32)
        self._heard_s = 0
        self._heard_ms = 0
        self._sent_at_keepalive = 0
        self._due = 0
        self.tell_sample = _teller(self, sample, uplink, clock)
        self._frames = 0  # sent in this turn
        self._refused_id = 0
        self._replies = [None] * _MAX_PENDING  # (request_id, code, value)
        self._replies_to = 0  # whose they are: kept over a silence, for its repeats
        self._others = [None] * _MAX_PENDING  # those to the host before: it may come back
        self._others_to = 0
        self._malformed = 0

    def add(self, table):
        """Have a table told, too."""
        table.news = self._news
        self.tables.append(table)
        table.place = len(self.tables)

    # --- from the host --------------------------------------------------------------------------

    def receive(self):
        """Read and act on what has arrived; return whether anything has."""
        chunk = self._chunk
        count = self._link.read(chunk)
        if not count:
            return False
        reader = self._reader
        rounds = 8  # a host that never stops gets a turn, not the board
        while True:
            at = 0
            while at < count:
                at = reader.take(chunk, at, count)
                if reader.length:
                    self._handle(reader.length)
            rounds -= 1
            if count < len(chunk) or not rounds:
                bad = reader.bad + self._malformed
                if bad != self.bad:
                    self.bad = self._values[_BAD_FRAMES] = bad
                return True
            count = self._link.read(chunk)

    def _handle(self, length):
        words = self._words
        fields = loops.flat(self._reader.payload, length, words, _MAX_WORDS)
        if fields >= 3 and words[0] == _KEEPALIVE and words[1] != _UNKNOWN:  # as nearly always
            self._keepalive(words[1], words[2])
            return
        cursor = self._cursor
        cursor.begin(0, length)
        try:
            fields = cursor.array() - 1
            kind = cursor.integer()
            if kind == _KEEPALIVE and fields >= 2:
                host_id, seq = cursor.integer(), cursor.integer()
                self._keepalive(host_id, _UNKNOWN if seq is None else seq)
            elif kind == _SUBSCRIBE and fields >= 3:
                major, minor, host_id = cursor.integer(), cursor.integer(), cursor.integer()
                events_from = cursor.integer() if fields >= 4 else None
                self._subscribe(major, minor, host_id, events_from)
            elif kind == _REQUEST and fields >= 4:
                self._request(cursor.integer(), cursor.integer(), cursor.integer(), cursor.value(2))
            elif kind == _UNSUBSCRIBE and fields >= 1:
                if self.host_id and cursor.integer() == self.host_id:
                    self._part("gone")
            elif _SUBSCRIBE <= kind <= _REQUEST:
                self._malformed += 1  # too short
            else:
                self.skipped += 1
                self._values[_SKIPPED_FRAMES] = self.skipped
        except (codec.Malformed, TypeError):  # TypeError: None where a number belongs
            self._malformed += 1

    def _part(self, how):
        self._hear(self.host_id, how)
        self.host_id = 0

    def _heard(self):
        self._hear(self.host_id, "alive")
        self._clock.advance()
        self._heard_s = self._clock.s
        self._heard_ms = self._clock.ms

    def _subscribe(self, major, _minor, host_id, events_from):
        if not isinstance(host_id, int) or host_id <= 0:
            self._malformed += 1
            return
        if major != _MAJOR:
            self._refused_id = host_id
            self._due |= _DUE_REFUSED
            return
        if host_id != self.host_id:  # another, or the same after a silence
            self.host_id = host_id
            self._uplink.forget()
            self._hear(host_id, "found")
        if host_id != self._replies_to:
            self._change_replies(host_id)
        self._heard()
        self.events_from = events_from
        self.tables[0].host_id = host_id
        for table in self.tables:
            table.mark()
        self._sample.mark()
        self._due |= _DUE_SYNCED | _DUE_SAMPLE

    def _change_replies(self, host_id):
        """Go on with the replies of another host: those it had, if it was the one before."""
        self._due = 0
        self._replies, self._others = self._others, self._replies
        if host_id != self._others_to:
            for place in range(_MAX_PENDING):
                self._replies[place] = None
        self._others_to = self._replies_to
        self._replies_to = host_id

    def _keepalive(self, host_id, ack_seq):
        if not self.host_id or host_id != self.host_id:
            return
        self._heard()
        uplink = self._uplink
        if ack_seq != _UNKNOWN:
            uplink.acknowledge(ack_seq)
        sent = uplink.sent
        if sent == self._sent_at_keepalive:
            self._due |= _DUE_ALIVE
        self._sent_at_keepalive = sent

    def _request(self, host_id, request_id, operation, arguments):
        if not self.host_id or host_id != self.host_id:
            return
        if not 0 <= request_id <= 0xFFFF or not isinstance(arguments, list):
            self._malformed += 1
            return
        self._heard()
        # A place holds every fourth id; with four under way at most, an older one is a late repeat.
        place = request_id & (_MAX_PENDING - 1)
        last = self._replies[place]
        if last is None or 0 < (request_id - last[0] & 0xFFFF) < 0x8000:
            self._replies[place] = self._carry_out(request_id, operation, arguments)
        elif request_id != last[0]:
            return
        self._due |= _FIRST_REPLY << place

    def _carry_out(self, request_id, operation, arguments):
        handler = self._handler_of(operation)
        if handler is None:
            return (request_id, _UNKNOWN_REQUEST, None)
        try:
            return (request_id, _OK, handler(*arguments))
        except Denied as error:
            found = [error.reason, error.available, error.retry_after_ms, list(error.blockers)[:12]]
            return (request_id, _DENIED, found)
        except KeyError:
            return (request_id, _NOT_FOUND, None)
        except (TypeError, ValueError):
            return (request_id, _BAD_ARGUMENTS, None)
        except Exception as error:  # whatever it is, the host is told and the board goes on
            return (request_id, _FAILED, codec.cut(type(error).__name__, 32))

    # --- to the host ----------------------------------------------------------------------------

    def pump(self):
        """Send what is due, as far as the link takes it; return the ms until there is more to do.

        0: until a host subscribes.

        It sends four frames at most, lest a host that has to be told everything keep the
        application waiting.

        A new sample comes last, lest quick sampling over a slow link keep all else waiting; only
        the one that a subscription asked for comes before its SYNCED.
        """
        due = self._due
        if due & _DUE_REFUSED and not self._short(_REFUSED, _DUE_REFUSED):
            return _FULL_MS
        if not self.host_id:
            self._forget_news()
            return 0
        clock = self._clock
        left = (self._heard_s - clock.s) * 1000 + self._heard_ms - clock.ms + _SILENCE_MS + 1
        if left <= 0:
            self._part("lost")
            return 0
        if not self._uplink.ready():
            return _FULL_MS
        news = self._news
        if not due and news.find(_DUE, 1) < 0:
            return left
        self._frames = 0
        done = (
            self._pump_tables()
            and (due < _FIRST_REPLY or self._pump_replies())
            and (not due & _DUE_SYNCED or self._pump_synced())
            and (not news[_SAMPLE_PLACE] or self._pump_table(self._sample))
        )
        if due & _DUE_ALIVE:  # also when the rest cannot go: see Uplink.send
            self._short(_ALIVE, _DUE_ALIVE, 0)
        if done:
            return left
        return _NEXT_MS if self._frames >= _TURN else _FULL_MS

    def _forget_news(self):
        """Have nothing due: a host that subscribes is told everything."""
        news = self._news
        place = news.find(_DUE, 1)
        while place > 0:
            news[place] = 0
            place = news.find(_DUE, place)

    def _pump_tables(self):
        news = self._news
        while True:
            place = news.find(_DUE, 1, _SAMPLE_PLACE)
            if place < 0:
                return True
            if not self._pump_table(self.tables[place - 1]):
                return False

    def _pump_table(self, table):
        """Send the rows of a table that are due; return whether all could go."""
        news = self._news
        due = table.due
        news[table.place] = 0
        uplink = self._uplink
        while True:
            row = due.find(_DUE)
            if row < 0:
                return True
            if self._frames >= _TURN or not uplink.ready():
                break
            due[row] = 0
            length = table.encode(row, uplink)
            if length:
                if not uplink.send(length):
                    due[row] = 1
                    break
                self._frames += 1
                table.sent()
        news[table.place] = 1
        return False

    def _pump_replies(self):
        place = 0
        while place < _MAX_PENDING:
            if self._due & _FIRST_REPLY << place and not self._reply(place):
                return False
            place += 1
        return True

    def _pump_synced(self):
        if self._due & _DUE_SAMPLE:
            if not self._pump_table(self._sample):
                return False
            self._due &= ~_DUE_SAMPLE
        return self._short(_SYNCED, _DUE_SYNCED)

    def _reply(self, place):
        uplink = self._uplink
        if not uplink.ready():
            return False
        request_id, code, value = self._replies[place]
        at = codec.put_int(uplink.payload, uplink.begin(_REPLY, 3), request_id)
        at = codec.put_int(uplink.payload, at, code)
        if not uplink.send(codec.put(uplink.payload, at, value)):
            return False
        self._frames += 1
        self._due &= ~(_FIRST_REPLY << place)
        return True

    def _short(self, kind, due, reserve=_RESERVE):
        """Send REFUSED, SYNCED or ALIVE; return whether it could go."""
        uplink = self._uplink
        if not uplink.ready():
            return False
        buf = uplink.payload
        if kind == _REFUSED:
            at = uplink.begin(kind, 3)
            at = codec.put_int(buf, at, _MAJOR)
            at = codec.put_int(buf, at, _MINOR)
            at = codec.put_int(buf, at, self._refused_id)
        elif kind == _SYNCED:
            at = codec.put_int(buf, uplink.begin(kind, 1), self.host_id)
        else:
            at = uplink.begin(kind, 0)
        if not uplink.send(at, reserve):
            return False
        self._due &= ~due
        return True
