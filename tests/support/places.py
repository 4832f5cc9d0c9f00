"""Where the files are that tests read: the repository's, and those of tests/support."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
REPO = SUPPORT.parents[1]
APPS = SUPPORT / "apps"  # programs that simulated boards run
FAKES = SUPPORT / "fakes"  # modules of MicroPython that CPython lacks
