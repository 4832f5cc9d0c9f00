"""`make bench`: what the agent costs, beside its targets, and in bench/results.json.

    python -m bench [--json] [--only PART …] [--variants NAME …] [--accept | --page]

All parts and variants are measured and kept, and docs/cost.md and README.md quote them; with --only
or --variants the figures are shown and not kept. --accept measures what the tests compare, and
writes bench/expected.json. --page writes the documents again from the results that are there.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence

from firmware_errors import BuildError, say

from . import boards, measuring, pages, results, table, targets
from .catalogue import VARIANTS
from .machine import ProgramFailed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the figures as JSON, no table")
    parser.add_argument("--only", nargs="+", choices=measuring.PARTS, metavar="PART",
                        help="of " + " ".join(measuring.PARTS))  # fmt: skip
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, metavar="NAME",
                        help="of " + " ".join(VARIANTS))  # fmt: skip
    parser.add_argument("--accept", action="store_true", help="write bench/expected.json")
    parser.add_argument("--page", action="store_true", help="only write the documents again")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no QEMU behind either
    try:
        if options.page:
            pages.write(results.load()[0])
        elif options.accept:
            _accept()
        else:
            _bench(options)
    except (BuildError, ProgramFailed) as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: interrupted, nothing is kept")
        return 130
    return 0


def _bench(options: argparse.Namespace) -> None:
    firmwares = boards.built(options.variants or VARIANTS)
    figures: results.Figures = {}
    for part in options.only or measuring.PARTS:
        began = time.monotonic()
        say(f"{part} …")
        figures |= measuring.PARTS[part](firmwares)
        say(f"  {time.monotonic() - began:.0f} s")
    if not options.only and not options.variants and "stock" in firmwares:
        results.save(figures, boards.built_with(firmwares["stock"]))
        pages.write(figures)
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    print(table.text(table.rows(figures)))
    if not options.only or "count" in options.only:
        print(f"\non the board\n{table.text(targets.board_rows(figures))}")
    if not options.only:
        print(f"\non the host\n{table.text(targets.host_rows(figures))}")


def _accept() -> None:
    firmwares = boards.built(boards.COMPARED)
    if len(firmwares) < len(boards.COMPARED):
        raise BuildError("the tests compare what is counted on all of " + str(boards.COMPARED))
    figures = measuring.quick(firmwares)
    results.accept(figures, boards.built_with(firmwares["stock"]))
    say(f"{len(figures)} figures in {results.EXPECTED.relative_to(results.REPO)}")


if __name__ == "__main__":
    sys.exit(main())
