"""The lines in boot.py or main.py that start the agent: added at the top, and found again exactly.

Everything here is bytes in, bytes out; what the user wrote is never touched.
"""

from __future__ import annotations

import re

FILES = ("main.py", "boot.py")
_BEGIN = "# boardwarden: begin (`boardwarden deploy --remove` takes this out"
_MADE = ", and the file with it)\n"
_THERE = ")\n"
_END = "# boardwarden: end\n"
_STARTS = re.compile(rb"^[^#\n]*\bwarden\.start\(", re.MULTILINE)


def block(uses_asyncio: bool, made: bool) -> bytes:
    """Return the lines that start the agent, whatever happens to it.

    uses_asyncio: the application does, so it is imported first, and the agent runs as a task of
    it; made: there was no such file before.
    """
    asyncio = "    import asyncio  # first: then the agent runs as one of its tasks\n"
    return (
        _BEGIN
        + (_MADE if made else _THERE)
        + "try:\n"
        + (asyncio if uses_asyncio else "")
        + "    import warden\n\n"
        + "    warden.start()\n"
        + "except Exception as error:  # what follows runs all the same\n"
        + '    print("boardwarden:", error)\n'
        + _END
    ).encode()


_BLOCKS = tuple(block(asyncio, made) for asyncio in (False, True) for made in (False, True))


def with_start(text: bytes | None, uses_asyncio: bool) -> bytes:
    """Return a file with the start lines at its top; None stands for a file that is not there."""
    return block(uses_asyncio, text is None) + (text or b"")


def without_start(text: bytes) -> bytes | None:
    """Return a file as it was before with_start(); None: it was not there.

    Raises ValueError where the lines were changed since, and are not known for sure.
    """
    for lines in _BLOCKS:
        if lines in text:
            rest = text.replace(lines, b"", 1)
            return None if not rest and _MADE.encode() in lines else rest
    if _BEGIN.encode() in text:
        raise ValueError("its lines between `# boardwarden: begin` and `end` were changed")
    return text


def starts(text: bytes) -> bool:
    """Tell whether a file starts the agent, by our lines or the user's."""
    return _STARTS.search(text) is not None
