"""A metric: one definition, from which the names of Prometheus and OpenTelemetry both follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .watched import Snapshot

Kind = Literal["gauge", "counter", "info"]
Point = tuple[tuple[str, ...], float | None]  # values of the metric's own labels, and the figure
Read = Callable[[Snapshot], Iterable[Point]]

# UCUM's units, as OpenTelemetry has them, and what Prometheus' names end in. The rules are those of
# OpenTelemetry's "Prometheus and OpenMetrics Compatibility": what a collector makes of our OTLP has
# the names that a scrape has.
_SUFFIXES = {"By": "bytes", "By/s": "bytes_per_second", "s": "seconds", "1": "ratio", "dBm": "dbm"}


@dataclass(frozen=True)
class Metric:
    """`name` is dotted; `unit` is UCUM's, in braces what is counted, empty for a state.

    A series is `of_boot` where a restart of the board begins another one.
    """

    name: str
    unit: str
    help: str
    read: Read
    labels: tuple[str, ...] = ()
    kind: Kind = "gauge"
    of_boot: bool = True
    when_down: bool = False  # exported of a board that is not there, too

    @property
    def otel_name(self) -> str:
        """The name by OpenTelemetry's conventions: dots, no unit, no `_total`."""
        return f"boardwarden.{self.name}"

    @property
    def prometheus_name(self) -> str:
        """The family's name by Prometheus' conventions, without `_total` and `_info`."""
        words = f"boardwarden.{self.name}".removesuffix(".info").replace(".", "_")
        suffix = _SUFFIXES.get(self.unit, "")
        return f"{words}_{suffix}" if suffix else words

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The names of its labels: which board, which boot, and its own."""
        return ("board", "boot", *self.labels) if self.of_boot else ("board", *self.labels)

    def points(self, snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield the values of all labels, and the figure; nothing for unknown figures."""
        if not (snapshot.up or self.when_down):
            return
        whose = (snapshot.address, snapshot.boot) if self.of_boot else (snapshot.address,)
        for values, figure in self.read(snapshot):
            if figure is not None:
                yield (*whose, *values), float(figure)
