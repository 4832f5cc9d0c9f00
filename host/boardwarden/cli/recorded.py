"""`boardwarden record FILE --list`: what is in a recording."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from boardwarden._program import print_json, print_table
from boardwarden.recording.reading import LinkChange, Recording, Span
from boardwarden.render.text import duration

_HEAD = ("BOARD", "BOOT", "FROM", "FOR", "SAMPLES", "EVENTS", "LOST")


async def recorded(path: Path, addresses: list[str], as_json: bool) -> None:
    """Print the spans of a recording: one boot of one board each."""
    with Recording(path) as recording:
        spans = recording.spans(addresses)
        lost = {span.id: _lost(list(recording.links(span))) for span in spans}
    if as_json:
        for span in spans:
            times = {"began": _utc(span.began), "ended": _utc(span.ended)}
            print_json({**span.to_dict(), **times, "links_lost": lost[span.id]})
        return
    rows = [_row(span, lost[span.id]) for span in spans]
    print_table(_HEAD, rows, "There is nothing in it yet.", whole=("FROM",))


def _lost(links: list[LinkChange]) -> int:
    return sum(link.state == "lost" for link in links)


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def _row(span: Span, lost: int) -> tuple[str, ...]:
    return (
        span.address,
        str(span.boot_id),
        datetime.fromtimestamp(span.began).strftime("%Y-%m-%d %H:%M:%S"),
        duration(span.ended - span.began),
        str(span.samples),
        str(span.events),
        str(lost),
    )
