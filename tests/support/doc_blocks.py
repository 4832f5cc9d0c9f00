"""The code blocks of README and docs: where they are, their kind, the name they are saved under."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from places import REPO

PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
_FENCE = re.compile(r" *(```+|~~~+)(.*)")
_SAVED_AS = re.compile(r"[Ss]ave\s+(?:it|this)\s+as\s+`([^`]+)`")
_NAMED_INSIDE = re.compile(r"# (\S+\.\w+)\n")


class Block(NamedTuple):
    """A code block. `kind` is what is behind the fence; of one without it is "indented"."""

    page: Path
    line: int
    kind: str
    text: str
    name: str  # that it is to be saved as; "" where the page names none

    def __str__(self):
        return f"{self.page.relative_to(REPO)}:{self.line}"


class Command(NamedTuple):
    """A command of a console block, and the lines that it is said to print."""

    words: list[str]
    shown: list[str]


def blocks(page):
    """Return the code blocks of a page, in order."""
    return list(in_lines(page, page.read_text(encoding="utf-8").split("\n")))


def in_lines(page, lines):
    """Yield the code blocks of a page's lines."""
    before = []  # the prose since the last block
    at = 0
    while at < len(lines):
        begin = at
        fence = _FENCE.fullmatch(lines[at])
        if fence:
            at = _closing(lines, at, fence[1])
            body = lines[begin + 1 : at]
        elif lines[at].startswith("    ") and _stands_alone(before):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            body = lines[begin:at]
        else:
            before.append(lines[at])
            at += 1
            continue
        text = "".join(line + "\n" for line in body)
        saved = _SAVED_AS.findall("\n".join(before)) or _NAMED_INSIDE.match(text)
        name = "" if not saved else saved[-1] if isinstance(saved, list) else saved[1]
        yield Block(page, begin + 1, fence[2].strip() if fence else "indented", text, name)
        before = []
        at += 1


def _closing(lines, at, fence):
    for end in range(at + 1, len(lines)):
        if lines[end].strip() == fence:
            return end
    raise AssertionError(f"the fence in line {at + 1} is never closed")


def _stands_alone(before):
    """Tell whether an indented line begins a block, and does not go on with a list's item."""
    if before and before[-1].strip():
        return False
    prose = [line for line in before if line.strip()]
    return not prose or not re.match(r"\s|[-*] |\d+\. ", prose[-1])


def commands(text):
    """Return the commands of a console block; each begins with "$ ", and may go on after a \\."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append(Command(shlex.split(line[2:], comments=True), []))
        else:
            assert found, f"output without a command: {line!r}"
            found[-1].shown.append(line)
    return found


def prints(shown, printed):
    """Tell whether lines were printed as they are shown, in order; "…" stands for anything."""
    rest = iter(" ".join(line.split()) for line in printed.splitlines())
    return all(any(_pattern(line).fullmatch(real) for real in rest) for line in shown)


def _pattern(line):
    return re.compile(
        ".*".join(re.escape(part.strip()) for part in " ".join(line.split()).split("…"))
    )
