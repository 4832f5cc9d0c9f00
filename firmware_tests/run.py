"""Run the firmware tests on MicroPython itself: `run.py [TARGET …] [-k TEXT]`.

unix: the unix port from PyPI, with the sources of this repository. frozen: the unix port with
agent and schema frozen in. qemu: the frozen Cortex-M3 firmware. frozen-native, qemu-native: the
same with the C module `_warden`, and a module for the tests of that one beside it. qemu-m0:
codec, frames and loops on a Cortex-M0, for which machine code is never frozen. unix32: the unix
port of 32 bits, for what reads the heap's table. What this machine lacks is skipped with a line
that says how to get it; with CI=true that is a failure.

The C module changes only how the heap is read, so that of the common files only those of
WITH_MODULE run with it; all do, and the long campaigns have their whole length, with SOAK=1 in the
environment (`make soak`).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import boards

_SUMMARY = re.compile(r"^harness: (\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
_MARKER = re.compile(r"^# targets:(.*)$", re.MULTILINE)
_EVERYWHERE = frozenset(("unix", "frozen", "qemu", "cpython"))
_KNOWN = {*_EVERYWHERE, *boards.BOARDS}
_AT_ONCE = 4  # many of them wait for most of their time
# What measures the heap, decides by what was measured, or sends it.
WITH_MODULE = {
    *("agent", "exhaustion", "forecast", "full_tables", "invariants", "leases", "memory"),
    *("memory_profile", "pressure", "requests", "starvation", "thresholds", "uplink"),
}


def targets_of(file: Path) -> frozenset[str]:
    """Where a test file runs: its `# targets:` line, one of the first five, else everywhere."""
    match = _MARKER.search("\n".join(file.read_text().splitlines()[:5]))
    named = frozenset(match[1].split()) if match else _EVERYWHERE
    if not named <= _KNOWN:
        sys.exit(f"{file.name}: no such target: {' '.join(sorted(named - _KNOWN))}")
    if boards.SOAK or file.stem.removeprefix("test_") in WITH_MODULE:
        return named | {name for name in boards.BOARDS if name.removesuffix("-native") in named}
    return named


def test_files(target: str, text: str = "") -> list[Path]:
    files = sorted(boards.HERE.glob("test_*.py"))
    return [file for file in files if text in file.stem and target in targets_of(file)]


@dataclass(frozen=True)
class Result:
    file: Path
    output: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def run_file(board: boards.Board, file: Path, timeout: float) -> Result:
    started = time.monotonic()
    output = board.run(file, timeout).replace("\r\n", "\n")
    seconds = time.monotonic() - started
    match = _SUMMARY.search(output)
    # Without its last line the file did not come to its end, whatever had passed until then.
    passed, failed, skipped = map(int, match.groups()) if match else (output.count("\nok "), 1, 0)
    if not match:
        output += "the file did not come to its end\n"
    elif output[match.end() :].strip():
        failed += 1  # the interpreter had more to say after the tests: it crashed
    if passed + failed + skipped == 0:
        failed = 1
        output += "no test in this file\n"
    return Result(file, output, passed, failed, skipped, seconds)


def report(target: str, result: Result) -> None:
    """One line for a file that is well; all it printed for one that is not."""
    counts = f"{result.passed} passed"
    if result.failed:
        counts += f", {result.failed} FAILED"
    print(f"{target:13} {result.file.stem:28} {counts} ({result.seconds:.1f} s)", flush=True)
    if result.failed:
        print("".join(f"  | {line}\n" for line in result.output.splitlines()), end="")
    else:
        for line in result.output.splitlines():
            if line.startswith("skip "):
                print("  " + line)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=" ".join(boards.BOARDS))
    parser.add_argument("-k", default="", metavar="TEXT", help="only files with this in their name")
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0 if boards.SOAK else 240.0,  # fifteen times what any takes with a core
        help="seconds for each file",
    )
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(boards.BOARDS)
    if unknown:
        parser.error(f"no such target: {' '.join(sorted(unknown))}")

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no QEMU behind either
    passed = failed = skipped = 0
    to_run = []
    for target in options.targets or boards.BOARDS:
        try:
            board = boards.BOARDS[target]()
        except boards.Unavailable as why:
            print(f"{target:13} skipped: {why}", flush=True)
            if os.environ.get("CI") == "true":
                failed += 1
            else:
                skipped += 1
            continue
        to_run += [(file, target, board) for file in test_files(target, options.k)]
    to_run.sort(key=lambda each: each[0])  # by file: those that wait beside those that work
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = {
            pool.submit(run_file, board, file, options.timeout): target
            for file, target, board in to_run
        }
        try:
            for job in as_completed(jobs):
                result = job.result()
                report(jobs[job], result)
                passed += result.passed
                failed += result.failed
                skipped += result.skipped
        except KeyboardInterrupt:
            boards.stop_all()
            pool.shutdown(cancel_futures=True)
            print("interrupted")
            return 130
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while a firmware was being built
        sys.exit(130)
