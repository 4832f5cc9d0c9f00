"""Posts notices of what goes wrong on followed boards to a webhook: once each.

From a thread of its own: no board waits for the webhook.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from boardwarden import Board, Event, Level
from boardwarden._clock import attended_s
from boardwarden.grants import begins_hang
from boardwarden.models import LEVELS, enum_name
from boardwarden.render.status import link_state
from boardwarden.render.tables import event_text
from boardwarden.render.text import count, printable
from boardwarden.transport.tcp import trusted

Notice = Mapping[str, Any]

LOST_S = 10.0  # without a board; sooner it may be a restart, or a moment of its network
_EVENTS = {"exception": "crash", "safe": "crash", "hang": "hang"}  # kinds that are notices at once
MAX_LISTED = 100  # notices in a post; of more only the number by kind is told
_MAX_LINES = 10  # of its text
_GATHER_S = 0.5  # what comes within so long goes together: a whole fleet may be lost at once
_ANSWER_S = 10.0  # for a whole request: also of who sends its answer byte by byte
_RETRY_PAUSE_S = (1.0, 60.0)  # at first, at most
_LOOK_S = 30.0  # at the clock, at least so often, in quiet times
_LAST_S = 2.0  # for the last post, at the end
_TRY_LATER = (408, 425, 429)  # and all from 500 on
_RANGE = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
# What means something in a chat message: links, and who is called.
_PLAIN = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "@\u200b"})
_log = logging.getLogger(__name__)


class Quiet(NamedTuple):
    """A time of each day, by the host's clock, in which nothing is posted."""

    begin: time
    end: time

    def has(self, moment: time) -> bool:
        """Return whether a moment is in it; it may go over midnight."""
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


def parse_quiet(text: str) -> Quiet:
    """Return the quiet times of "22:00-07:00"; raise ValueError."""
    found = _RANGE.fullmatch(text)
    if found is not None:
        begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        if begin != end:
            return Quiet(begin, end)
    raise ValueError(
        f"{text!r} are no quiet times: 22:00-07:00 is from ten in the evening to seven."
    )


def check_url(url: str) -> str:
    """Return a webhook's URL; raise ValueError where it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bad port number or bracket
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("--notify takes the URL of a webhook, such as https://example.com/hook.")
    if parts.username or parts.password:
        raise ValueError("--notify takes no name and password in the URL: nothing would send them.")
    return url


# --- the webhook ----------------------------------------------------------------------------------


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would arrive as a GET, with nothing in it."""

    def redirect_request(self, *_: Any) -> None:
        """Have it end as an error."""


class _Limit:
    """Ends a request after so many seconds, whatever its server does; `is_over` once it has.

    A context manager. A timeout of the socket would be of each read alone.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Limit:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def watch(self, connection: socket.socket) -> None:
        """Have the limit hold for a connection."""
        with self._lock:
            self._connection = connection.dup()  # TLS takes the other one
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        with self._lock, contextlib.suppress(OSError):  # it has ended
            if self._connection is not None:
                self._connection.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Makes the connections of requests, with `limit` on each."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context)
        self.limit = _Limit(0)

    def do_open(self, http_class: Any, req: Any, **more: Any) -> http.client.HTTPResponse:
        """Send a request, inside TLS or not."""

        def made(host: str, **given: Any) -> Any:
            connection = http_class(host, **given)
            connection._create_connection = self._connected
            return connection

        return super().do_open(made, req, **more)

    def _connected(self, *where: Any) -> socket.socket:
        connection = socket.create_connection(*where)
        self.limit.watch(connection)
        return connection


class Webhook:
    """`put()` from any thread; a context manager, which ends with a last post."""

    def __init__(self, url: str, quiet: Quiet | None = None) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.netloc}"  # the rest may be a secret
        self._url = url
        self._quiet = quiet
        self._waiting: deque[Notice] = deque(maxlen=MAX_LISTED)
        self._counts: Counter[str] = Counter()  # of all that wait, by kind
        self._in_hand = 0  # notices that were taken, and not posted
        self._was_quiet = False  # while some of it came
        self._changed = threading.Condition()
        self._ended = False
        self._works = True
        self._http: _Http | None = None
        self._thread = threading.Thread(target=self._run, name="post notices", daemon=True)

    def __enter__(self) -> Webhook:
        self._http = _Http(trusted(self.name) if self._url.startswith("https:") else None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(_LAST_S + 1)
        if left := sum(self._counts.values()) + self._in_hand:
            _log.warning("%s not posted to %s.", count(left, "notice"), self.name)

    def put(self, notice: Notice) -> None:
        """Have a notice posted; `kind` and `text` are of it. Never waits for the webhook."""
        with self._changed:
            self._waiting.append(notice)
            self._counts[notice["kind"]] += 1
            self._was_quiet = self._was_quiet or self._is_quiet()
            self._changed.notify()

    # --- the thread -----------------------------------------------------------------------------

    def _is_quiet(self) -> bool:
        return self._quiet is not None and self._quiet.has(datetime.now().time())

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                is_last = self._changed.wait_for(lambda: self._ended, _GATHER_S)
                post = self._next_post()
            self._deliver(post)
            if is_last:
                return

    def _wait(self) -> bool:
        """Wait for something that may be posted now; False at the end."""
        with self._changed:
            while True:
                if self._counts and not self._is_quiet():
                    return True
                if self._ended:
                    return False
                self._changed.wait(_LOOK_S if self._counts else None)

    def _next_post(self) -> dict[str, Any]:
        """Return all that waits as the content of a post."""
        notices, counts = [*self._waiting], self._counts
        omitted = sum(counts.values()) - len(notices)
        post = {
            "id": str(uuid.uuid4()),
            "text": _text(notices, counts, self._quiet if self._was_quiet else None),
            "counts": dict(counts),
            "omitted": omitted,
            "quiet": str(self._quiet) if self._was_quiet else None,
            "notices": notices,
        }
        self._waiting.clear()
        self._in_hand += sum(counts.values())
        self._counts = Counter()
        self._was_quiet = False
        return post

    def _deliver(self, post: Mapping[str, Any]) -> None:
        """Post, again and again while the webhook is away; not in quiet times."""
        data = json.dumps(post).encode()
        carried = sum(post["counts"].values())
        pause = _RETRY_PAUSE_S[0]
        while True:
            again, problem = self._try(data)
            if problem is None:
                self._report("Posting to %s works again.", self.name, works=True)
                self._in_hand -= carried
                return
            if not again:
                self._in_hand -= carried
                _log.warning("%s refuses what is posted to it: %s", self.name, problem)
                return
            self._report("Posting to %s failed: %s It is tried again.", self.name, problem)
            if self._has_ended_within(pause):
                return
            pause = min(2 * pause, _RETRY_PAUSE_S[1])

    def _has_ended_within(self, pause: float) -> bool:
        """Wait so long, and until the end of quiet times; True at once when it has ended."""
        with self._changed:
            has_ended = self._changed.wait_for(lambda: self._ended, pause)
            while self._is_quiet() and not has_ended:
                has_ended = self._changed.wait_for(lambda: self._ended, _LOOK_S)
            return has_ended

    def _report(self, text: str, *values: object, works: bool = False) -> None:
        if works != self._works:
            _log.log(logging.INFO if works else logging.WARNING, text, *values)
        self._works = works

    def _try(self, data: bytes) -> tuple[bool, str | None]:
        """Post once; return whether to try again, and what was wrong."""
        assert self._http is not None
        kind = {"Content-Type": "application/json", "User-Agent": "boardwarden"}
        request = urllib.request.Request(self._url, data, kind)
        seconds = _LAST_S if self._ended else _ANSWER_S
        opener = urllib.request.build_opener(_NoRedirects(), self._http)
        self._http.limit = limit = _Limit(seconds)
        try:
            with limit:
                opener.open(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            with error:
                again = error.code >= 500 or error.code in _TRY_LATER
                return again, f"it answers with status {error.code}."
        except Exception as error:  # the thread must go on
            if limit.is_over or isinstance(getattr(error, "reason", error), TimeoutError):
                return True, f"it did not answer within {seconds:g} s."
            if not isinstance(error, OSError):  # http.client's, of what is no HTTP
                return True, f"its answer is not understood: {type(error).__name__}."
            reason = getattr(error, "reason", error)
            return True, f"{getattr(reason, 'strerror', None) or reason}."
        return False, None


def _text(notices: list[Notice], counts: Counter[str], quiet: Quiet | None) -> str:
    """Return what people read: a line for each notice, the newest ones if there are many."""
    lines = [str(notice["text"]).translate(_PLAIN) for notice in notices[-_MAX_LINES:]]
    total = sum(counts.values())
    if total == 1 and quiet is None:
        return lines[0]
    what = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    when = "" if quiet is None else f" in the quiet times {quiet}"
    newest = f"; the last {len(lines)}" if total > len(lines) else ""
    return "\n".join([f"{count(total, 'notice')}{when}: {what}{newest}", *lines])


# --- the notices ----------------------------------------------------------------------------------


@dataclass
class _Known:
    """What was posted of a board, over connections too."""

    boot: int | None = None
    last: int = -1  # event of that boot
    restarts: int = 0  # of this connection
    lost: bool = False  # and posted
    levels: dict[str, int] = field(default_factory=dict)


class Notifier:
    """A Follower whose notices go to a webhook.

    What a board remembers from before it was followed is not posted; what it did while it was away
    later is.
    """

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._known: dict[str, _Known] = {}

    async def __aenter__(self) -> Notifier:
        self._webhook.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._webhook.__exit__)

    def forget(self, address: str) -> None:
        """Forget a board that its broker does not know any more."""
        self._known.pop(address, None)

    async def follow(self, address: str, board: Board) -> None:
        """Post notices of what happens on a board until cancelled."""
        recent, boot = board.recent_events, board.status.board.boot_id
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = _Known()
            known.last = max((each.number for each in recent), default=-1)
            known.levels = {each.metric: each.level for each in board.thresholds}
        elif known.boot != boot:
            known.last, known.levels = -1, {}
        known.boot = boot
        known.restarts = board.restart_count
        seen = sum(each.number <= known.last for each in recent)
        await asyncio.gather(
            self._follow_link(address, board, known),
            self._follow_events(address, board, known, seen),
        )

    # --- events ---------------------------------------------------------------------------------

    async def _follow_events(self, address: str, board: Board, known: _Known, seen: int) -> None:
        """Post each event once; of those that the board remembers the first `seen` were before."""
        async for event in board.events():
            if seen > 0:
                seen -= 1
                continue
            if board.status.board.boot_id != known.boot:
                known.boot, known.levels = board.status.board.boot_id, {}
            known.last = event.number
            self._notify_event(address, event, known)

    def _notify_event(self, address: str, event: Event, known: _Known) -> None:
        if event.kind == "threshold":
            metric, level = str(event.subject), LEVELS.get(event.detail or "", Level.CLEAR)
            before = known.levels.get(metric, Level.CLEAR)
            known.levels[metric] = level
            if level > before:
                figures = {"metric": metric, "level": enum_name(level), "value": event.value}
                self._put(enum_name(level), address, event_text(event), event, **figures)
        elif event.kind == "hang" and not begins_hang(event):
            return  # what follows from that
        elif event.kind in _EVENTS:
            self._put(_EVENTS[event.kind], address, event_text(event), event)

    # --- the link -------------------------------------------------------------------------------

    async def _follow_link(self, address: str, board: Board, known: _Known) -> None:
        timer: asyncio.TimerHandle | None = None
        lost_at = 0.0  # by a clock that stands while this process does
        loop = asyncio.get_running_loop()

        def lost() -> None:
            nonlocal timer
            if (left_s := lost_at - attended_s()) > 0:
                timer = loop.call_later(left_s, lost)
                return
            known.lost = True
            self._put("lost", address, link_state(board))

        def look() -> None:
            nonlocal timer, lost_at
            if board.connected or board.asleep:
                if timer is not None:
                    timer.cancel()
                    timer = None
                if known.lost:
                    known.lost = False
                    self._put("back", address, "it answers again")
            elif timer is None and not known.lost:
                lost_at = attended_s() + LOST_S
                timer = loop.call_later(LOST_S, lost)
            self._notify_restarts(address, board, known)

        try:
            look()
            async for _ in board.changes():
                look()
        finally:
            if timer is not None:
                timer.cancel()

    def _notify_restarts(self, address: str, board: Board, known: _Known) -> None:
        """Tell of each restart that was not expected, or of which nobody knows why."""
        new, known.restarts = board.restart_count - known.restarts, board.restart_count
        for restart in board.restarts[-new:] if new else ():
            if not restart.expected:
                self._put("crash", address, printable(str(restart)), cause=restart.cause)

    def _put(
        self, kind: str, address: str, what: str, event: Event | None = None, **more: Any
    ) -> None:
        """Have a notice posted. Times are the host's; of an event its number and uptime, too."""
        notice: dict[str, Any] = {
            "kind": kind,
            "board": address,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "text": f"{address}: {what}",
            **more,
        }
        if event is not None:
            notice |= {"event": event.number, "uptime_s": event.uptime_s}
        self._webhook.put(notice)
