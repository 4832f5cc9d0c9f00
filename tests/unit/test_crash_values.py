"""What a traceback that a board sent becomes: frames, and the error as one line."""

from __future__ import annotations

import pytest

from boardwarden.crashes import CaughtException, Frame, Reset

_FRAMES = (Frame("main.py", 9, "main"), Frame("lib/net.py", 4, "send"))
_HEAD = "main.py:9 main\nlib/net.py:4 send\n"


@pytest.mark.parametrize(
    ("traceback", "frames", "error"),
    [
        (_HEAD + "OSError: [Errno 5] EIO\n", _FRAMES, "OSError: [Errno 5] EIO"),
        # A text of several lines, of which one looks like a frame.
        (_HEAD + "ValueError: no\nmain.py:3 f\n\n", _FRAMES, "ValueError: no main.py:3 f"),
        (_HEAD + "ValueError: at 12:30\nor so\n", _FRAMES, "ValueError: at 12:30 or so"),
        ("ValueError: \n\nlow\n", (), "ValueError:   low"),
        # Cut to fit: the first frame has lost its beginning, or all of it but a word.
        ("net.py:4 send\nKeyError: k\n", (Frame("net.py", 4, "send"),), "KeyError: k"),
        ("4 send\nmain.py:9 main\nKeyError: k\n", _FRAMES[:1], "KeyError: k"),
        ("_to_task\nKeyError: k\nl\n", (), "KeyError: k l"),
        # It could not be printed: its name is all there is.
        (_HEAD + "Weird\n", _FRAMES, "Weird"),
        ("Weird\n", (), "Weird"),
        ("", (), ""),
        # A syntax error's line has no function.
        ("app.py:7\nSyntaxError: invalid\n", (Frame("app.py", 7),), "SyntaxError: invalid"),
    ],
)
def test_a_traceback_has_frames_and_then_an_error_of_one_line_or_more(
    traceback: str, frames: tuple[Frame, ...], error: str
) -> None:
    for value in (CaughtException("task", traceback=traceback), Reset(traceback=traceback)):
        assert (value.frames, value.error) == (frames, error)
        assert value.traceback == traceback
