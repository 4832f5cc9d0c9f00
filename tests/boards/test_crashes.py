"""What ends on a board, as a host sees it: real MicroPython that fails in several ways."""

from __future__ import annotations

from cli_process import run
from places import APPS
from virtual_time import until

import boardwarden

CRASHES = f"sim:{APPS / 'crashes.py'}"


def line_of(word: str) -> int:
    """Return the line of the application that has this in it."""
    lines = (APPS / "crashes.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line)


async def test_what_ends_tasks_threads_and_callbacks_is_told_with_file_and_line() -> None:
    async with boardwarden.connect(CRASHES) as board:
        await until(lambda: len(board.exceptions) == 4, 10)
        found = {(each.kind, each.name): each for each in board.exceptions}
        assert set(found) == {
            ("task", "sensor"),
            ("task", "uploader"),
            ("thread", "reader"),
            ("callback", None),
        }
        sensor = found["task", "sensor"]
        assert sensor.error == "OSError: [Errno 5] EIO"
        assert [frame.function for frame in sensor.frames] == ["sensor", "measure"]
        assert sensor.frames[-1].file.endswith("crashes.py")
        assert sensor.frames[-1].line == line_of("OSError(5)")
        assert sensor.to_dict()["frames"][-1]["line"] == line_of("OSError(5)")
        assert found["thread", "reader"].frames[-1].line == line_of("int(word)")
        assert found["callback", None].frames[-1].line == line_of("event.name")

        def told() -> list[str | None]:
            return [event.detail for event in board.recent_events if event.kind == "exception"]

        await until(lambda: len(told()) == 3, 10)  # an event may come after the row
        assert sorted(map(str, told())) == [
            "reader: ValueError",
            "sensor: OSError",
            "uploader: OSError",
        ]


async def test_a_board_that_keeps_nothing_says_how_to_have_it_kept() -> None:
    shown = await run("crashes", "--board", "sim")
    assert "warden.run()" in shown.out
    assert (await run("safe", "--board", "sim")).out == "not in safe mode\n"
    assert (await run("safe", "--leave", "--board", "sim")).status != 0
