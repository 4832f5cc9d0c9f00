"""Panels of text: what happened, what the application printed, and all else about a board."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Log, Static

from boardwarden.cli.view import aligned

from .feed import Feed
from .tables import Panel
from .tail import Tail
from .words import about

_LINES = 2000


class TailPanel(Panel):
    """A panel with the end of a text that grows; it follows the end unless scrolled away."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._log = Log(max_lines=_LINES)
        self._tail: Tail | None = None
        self._place = 0

    def compose(self) -> ComposeResult:
        """Make the text."""
        yield self._log

    def tail(self, feed: Feed) -> Tail:
        """Return what is shown."""
        raise NotImplementedError

    def show(self, feed: Feed) -> None:
        """See Panel."""
        tail = self.tail(feed)
        if tail is not self._tail:
            self._log.clear()
            self._tail, self._place = tail, 0
        if self._place != tail.end:
            self._log.write(tail.since(self._place))
            self._place = tail.end


class Events(TailPanel):
    """What happened, as it comes."""

    word = "events"

    def tail(self, feed: Feed) -> Tail:
        """See TailPanel."""
        return feed.events


class Console(TailPanel):
    """What the application prints."""

    word = "console"

    def tail(self, feed: Feed) -> Tail:
        """See TailPanel."""
        return feed.console


class About(Panel):
    """All that is known of the board and its link, and why something is not."""

    word = "board"

    def compose(self) -> ComposeResult:
        """Make the text, which scrolls."""
        with VerticalScroll():
            yield Static(markup=False)

    def show(self, feed: Feed) -> None:
        """See Panel."""
        width = max(20, self.content_size.width - 2)
        text = aligned(about(feed), width)
        body = self.query_one(Static)
        if text != self._text:
            grows = text.count("\n") != self._text.count("\n") or not self._text
            self._text = text
            body.update(text, layout=grows)

    _text = ""
