"""The live view with a keyboard: what each key does, and what is told when it cannot."""

from __future__ import annotations

import pytest

pytest.importorskip("textual")

from tui_boards import busy_board, feed_of, live, screen, text, until, watching

from boardwarden import Status
from boardwarden.errors import PortMissing
from boardwarden.testing import FakeBoard
from warden_schema import ids


@pytest.fixture
def board():
    """Return a board that has something of everything."""
    return busy_board()


def notified(app):
    """Return what was told in a corner, all of it."""
    return " ".join(notification.message for notification in app._notifications)


def asked(board, operation):
    """Return the arguments of each time that a board was asked something."""
    return [arguments for each, arguments in board.done if each == operation]


# --- what is shown ------------------------------------------------------------------------------


async def test_figures_follow_the_board(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        board.sample(free_bytes=120_000, live_bytes=60_000, cpu_permille=777)
        await until(pilot, lambda: "78 %" in text(pilot.app))
        assert "live 59 KB" in text(pilot.app)
        assert "used 117 KB (50 %)" in text(pilot.app)
        assert "up 11 s · connected" in screen(pilot.app)[0]


@pytest.mark.parametrize("size", [(10, 4), (60, 15), (80, 19), (79, 24)])
async def test_a_too_small_terminal_shows_the_size_needed(board, size):
    feed, _ = feed_of(board)
    async with watching(feed, size=size) as pilot:
        await live(pilot, feed, board, 3)
        for key in "1234567cx?":
            await pilot.press(key)
        assert len(screen(pilot.app)) == size[1]
        assert len(pilot.app.screen_stack) == 1
        assert asked(board, ids.COLLECT) == []
        if size[0] > 40:
            assert f"This terminal has {size[0]} columns and {size[1]} lines." in text(pilot.app)
            assert "The live view needs 80 and 20" in text(pilot.app)
        assert "operations" not in text(pilot.app)
        await pilot.resize_terminal(80, 20)
        await until(pilot, lambda: "[1 ops]" in text(pilot.app))
        assert "This terminal has" not in text(pilot.app)
        await pilot.press("q")
        assert pilot.app.return_value == 0


async def test_the_view_fills_a_large_terminal(board):
    feed, _ = feed_of(board)
    async with watching(feed, size=(200, 60)) as pilot:
        await live(pilot, feed, board, 3)
        assert len(screen(pilot.app)) == 60


async def test_a_question_mark_shows_the_keys_until_one_closes_them(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: "? Keys" in screen(pilot.app)[-1])
        for close in ("escape", "question_mark", "q"):
            await pilot.press("question_mark")
            await until(pilot, lambda: "what it does" in text(pilot.app))
            assert "sample more or less often, also after you leave" in text(pilot.app)
            assert "leave, with exit status 0 or 130" in text(pilot.app)
            await pilot.press("c", "x")
            assert asked(board, ids.COLLECT) == []
            await pilot.press(close)
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1)
            assert pilot.app.is_running


async def test_at_80_by_24_no_reason_and_no_key_is_cut_off():
    bare, other = FakeBoard(), FakeBoard()
    bare.values.update(cpu_permille=None, loop_lag_worst_ms=None, largest_free_block_bytes=None)
    bare.rows = []
    bare.capabilities = bytes([0, 0, 2, 3, 3, 0, 0, 5, *[0] * 6])
    feed, second = feed_of(bare)[0], feed_of(other, "tcp://192.0.2.7:8765")[0]
    async with watching(feed, second) as pilot:
        await until(pilot, lambda: feed.connected and second.connected)
        lines = screen(pilot.app)
        left, right = (
            " ".join(" ".join(line[part].split()) for line in lines)
            for part in (slice(1, 38), slice(41, 79))
        )
        reason = "the C module _warden, which reads the allocation table, is not in this firmware"
        assert f"largest free block – {reason}" in left
        assert "cpu – the application has not started asyncio" in right
        assert "lag max – the application has not started asyncio" in right
        assert "storage – nothing is mounted" in right
        assert " lost, 0 dropped" in right
        assert lines[-1].split()[-2:] == ["?", "Keys"]
        await pilot.press("7")
        await until(pilot, lambda: "agent 0.1.0, protocol" in text(pilot.app))


async def test_the_memory_graph_has_an_axis_and_the_thresholds_lines(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await live(pilot, feed, board, 8)
        lines = [line[1:38] for line in screen(pilot.app)[2:9]]
        assert lines[0].startswith("crit 90 %┤─")
        assert lines[1].startswith("warn 75 %┤┄")
        assert lines[-1].startswith("        0┤")
        board.policy.drop(ids.THRESHOLD, 0)
        await until(pilot, lambda: "   234 KB┤" in text(pilot.app))
        assert "warn 75" not in text(pilot.app)


async def test_old_figures_show_their_age(board, monkeypatch):
    feed, _ = feed_of(board)
    other, _ = feed_of(busy_board(), "tcp://192.0.2.7:8765")
    async with watching(feed, other) as pilot:
        await until(pilot, lambda: feed.connected and other.connected)

        def age(seconds):
            monkeypatch.setattr(Status, "age_s", property(lambda status: seconds))

        age(0)
        await until(pilot, lambda: " old" not in text(pilot.app))
        age(75)
        await until(pilot, lambda: "figures 1 min 15 s old" in screen(pilot.app)[0])
        assert any("tcp://" in line and "figures 1 min" in line for line in screen(pilot.app)[1:4])


async def test_all_panels_are_shown_when_the_terminal_grows(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        assert "4 thresholds ─" not in text(pilot.app)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "4 thresholds ─" in text(pilot.app))
        assert "6 console ─" in text(pilot.app)


async def test_keys_choose_the_panel(board):
    board.interval_s = 0.05  # meters come with samples
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        for key, word in (("2", "cpu_time"), ("tab", "position [x]"), ("7", "fakeboard")):
            await pilot.press(key)
            await until(pilot, lambda w=word: w in text(pilot.app))
        await pilot.press("tab", "tab", "shift+tab", "tab")
        await until(pilot, lambda: "[1 ops]" in text(pilot.app))


async def test_the_reason_of_a_missing_figure_is_shown():
    bare = FakeBoard()
    bare.values.update(cpu_permille=None, loop_lag_worst_ms=None)
    bare.rows = []
    bare.capabilities = bytes([0, 0, 2, 3, 3, 0, 0, 5, *[0] * 6])
    feed, _ = feed_of(bare)
    async with watching(feed, size=(160, 40)) as pilot:
        await until(pilot, lambda: feed.connected)
        assert "cpu      – the application has not started asyncio" in text(pilot.app)
        assert "lag max  – the application has not started asyncio" in text(pilot.app)
        assert "storage  – nothing is mounted" in text(pilot.app)
        assert "largest free block – the C module _warden" in text(pilot.app)
        assert "the board has not been asked for any decision yet" in text(pilot.app)


async def test_watching_requests_no_meters():
    """Asking for meters would: a board that nobody asked for a decision is left as it is."""
    bare = FakeBoard()
    feed, _ = feed_of(bare)
    async with watching(feed) as pilot:
        bare.sample()
        await until(pilot, lambda: feed.track.last("uptime", 1) == [11])
        assert asked(bare, ids.TELL_METERS) == []
        assert not bare.policy.used


async def test_console_text_is_neither_markup_nor_control_characters(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        board.print("\x1b[31mred [bold]not[/bold]\x1b[0")
        board.print("m\r\nnext \x07 line\r")
        board.print("\nlast\n")
        await pilot.press("6")
        await until(pilot, lambda: "last" in text(pilot.app))
        lines = [line.strip("│ ") for line in screen(pilot.app)]
        place = lines.index("red [bold]not[/bold]")
        assert lines[place : place + 3] == ["red [bold]not[/bold]", "next \ufffd line", "last"]


async def test_names_from_the_board_are_neither_markup_nor_control_characters():
    evil = "\x1b]0;a\x07[red]b[/] \x9b2J"
    board = busy_board()
    for kind, column in ((ids.LEASE, 3), (ids.OPERATION, 1), (ids.OPERATION, 5), (ids.METER, 1)):
        for row in board.policy.tables[kind].values():
            row[column] = evil
    board.policy.tables[ids.METER][1][5] = 99  # it blocks the loop: the title says so
    feed, _ = feed_of(board)
    seen = ""
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected and feed.board.meters is not None)
        for key, word in (
            *(("1", "[1 ops]"), ("x", "Cancel operation 3"), ("n", "[1 ops]")),
            *(("2", "cpu_time"), ("x", "End lease 7"), ("y", "has ended"), ("7", "version")),
        ):
            await pilot.press(key)
            await until(pilot, lambda word=word: word in text(pilot.app) + notified(pilot.app))
            seen += text(pilot.app)
        board.interval_s = 0.05  # meters come with samples
        await pilot.press("3")
        await until(pilot, lambda: "blocks the loop" in text(pilot.app))
        seen += text(pilot.app)
        told = notified(pilot.app)
    assert "3 tasks: [red]b[/]  blocks the loop" in seen
    assert "Cancel operation 3, [red]b[/] ?" in seen
    assert "End lease 7 of [red]b[/] ?" in seen
    assert not {char for char in seen + told if not char.isprintable()} - {"\n"}


async def test_the_cursor_stays_on_its_row_as_others_disappear(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await pilot.press("down", "down")
        await until(pilot, lambda: pilot.app._panels[0].chosen == "5")
        board.policy.drop(ids.OPERATION, 0)
        await until(pilot, lambda: len(feed.board.operations) == 2)
        assert pilot.app._panels[0].chosen == "5"
        board.policy.drop(ids.OPERATION, 2)
        await until(pilot, lambda: len(feed.board.operations) == 1)
        assert pilot.app._panels[0].chosen == "4"


async def test_an_old_agent_without_meters_shows_a_message(board):
    del board.answer[ids.TELL_METERS]
    feed, _ = feed_of(board)
    async with watching(feed, size=(120, 24)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "install a newer agent" in text(pilot.app))


# --- the link -----------------------------------------------------------------------------------


async def test_a_lost_link_is_shown_until_it_is_back(board):
    feed, transport = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        transport.refuse = PortMissing("gone")
        transport.cut()
        await until(pilot, lambda: "LINK LOST; the last sample came at" in text(pilot.app))
        assert screen(pilot.app)[0].rstrip().endswith("LINK LOST")
        await pilot.press("c")
        await until(pilot, lambda: "the board cannot be asked" in notified(pilot.app))
        assert asked(board, ids.COLLECT) == []
        transport.refuse = None
        await until(pilot, lambda: "LINK LOST" not in text(pilot.app))
        board.sample()  # on a busy machine the last one may be old by now
        await until(pilot, lambda: screen(pilot.app)[0].rstrip().endswith(" · connected"))


async def test_a_restart_is_shown(board):
    feed, transport = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("5")
        crash_lists = board.policy.crash_lists[ids.RESTART]
        crash_lists.append(
            [3, "exception", 1, 1, 13, 4, None, None, None, None, 0, b"KeyError: 1\n"]
        )
        board.restart()
        transport.cut()
        told = "the board restarted: KeyError: 1, after 4 s"
        await until(pilot, lambda: told in text(pilot.app))
        assert text(pilot.app).count("the board restarted") == 1
        await pilot.press("8")
        await until(pilot, lambda: "8 crashes: 2 unexpected resets" in text(pilot.app))
        assert "! reset after boot 13" in text(pilot.app)


async def test_a_missing_board_of_two_is_tried_again(board, monkeypatch):
    monkeypatch.setattr("boardwarden.tui.feed._AGAIN_S", 0.01)
    (first, _), (second, transport) = feed_of(board), feed_of(FakeBoard(), "/dev/ttyUSB7")
    transport.refuse = PortMissing("There is no port /dev/ttyUSB7.")
    async with watching(first, second) as pilot:
        assert "/dev/ttyUSB7" in text(pilot.app)
        assert "NOT CONNECTED" not in text(pilot.app)
        await pilot.press("n")
        await until(pilot, lambda: "NOT CONNECTED, trying again: There is no" in text(pilot.app))
        for key in ("c", "x", "plus", "7"):
            await pilot.press(key)  # nothing to ask
        transport.refuse = None
        await until(pilot, lambda: "NOT CONNECTED" not in text(pilot.app))
        await pilot.press("n")
        await until(pilot, lambda: screen(pilot.app)[0].startswith(" /dev/ttyACM0"))


# --- what the board is asked ----------------------------------------------------------------------


async def test_plus_and_minus_change_the_interval(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("plus")
        await until(pilot, lambda: "every 500 ms" in notified(pilot.app))
        await until(pilot, lambda: feed.board.status.interval_s == 0.5)
        await pilot.press("minus")
        await until(pilot, lambda: asked(board, ids.START_MONITORING) == [[500], [1000]])


async def test_c_collects_garbage_and_a_refusal_is_shown(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("c")
        await until(pilot, lambda: "Collected 9.8 KB." in notified(pilot.app))
        board.answer[ids.COLLECT] = lambda arguments: (
            ids.DENIED,
            ["collected", None, 1500, []],
        )
        await pilot.press("c")
        await until(pilot, lambda: "only just now; try again in 1.5 s" in notified(pilot.app))


async def test_x_ends_nothing_until_confirmed(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("2")
        await until(pilot, lambda: "cpu_time" in text(pilot.app))
        for key in ("n", "escape", "enter", "q"):
            await pilot.press("x")
            await until(pilot, lambda: "End lease 7 of upload?" in text(pilot.app))
            await pilot.press(key)
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        assert asked(board, ids.RELEASE) == []
        assert pilot.app.is_running


async def test_x_ends_the_chosen_lease(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("2", "down", "x")
        await until(pilot, lambda: "End lease 8 of map?" in text(pilot.app))
        await pilot.press("y")
        await until(pilot, lambda: asked(board, ids.RELEASE) == [[8]])
        await until(pilot, lambda: "Lease 8 has ended." in notified(pilot.app))
        assert [lease.id for lease in feed.board.allocations] == [7]


async def test_x_cancels_the_chosen_operation(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("x")
        await until(pilot, lambda: "Cancel operation 3, upload?" in text(pilot.app))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: asked(board, ids.CANCEL) == [[3]])
        await until(pilot, lambda: "was told to stop" in notified(pilot.app))


async def test_confirming_for_a_lease_that_has_ended_shows_so(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("2", "x")
        await until(pilot, lambda: "End lease 7" in text(pilot.app))
        board.policy.drop(ids.LEASE, 0)
        await pilot.press("y")
        await until(pilot, lambda: "it may have ended" in notified(pilot.app))


@pytest.mark.parametrize(("panel", "what"), [("1", "Operation 3"), ("2", "Lease 7")])
async def test_x_on_a_row_that_ended_since_it_was_drawn_asks_nothing(
    board, panel, what, monkeypatch
):
    monkeypatch.setattr("boardwarden.tui.app._REFRESH_S", 3600.0)  # it is drawn by until() only
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press(panel)
        await until(pilot, lambda: pilot.app._panel.chosen == what.split()[1])
        pilot.app.show = lambda: None
        for kind in (ids.OPERATION, ids.LEASE):
            board.policy.drop(kind, 0)
        while len(feed.board.allocations) + len(feed.board.operations) > 3:
            await pilot.pause(0.01)
        await pilot.press("x")
        await until(pilot, lambda: f"{what} has ended already." in notified(pilot.app))
        assert len(pilot.app.screen_stack) == 1


async def test_only_the_keys_of_a_question_work_while_it_is_open(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press("x")
        await until(pilot, lambda: "Cancel operation 3" in text(pilot.app))
        await pilot.press("c", "plus", "x", "2")
        assert screen(pilot.app)[-1].split() == ["y", "Yes", "n", "No"]
        await pilot.press("n")
        await until(pilot, lambda: "Collect" in screen(pilot.app)[-1])
        assert board.done == [] or {each for each, _ in board.done} <= {
            ids.TELL_METERS,
            ids.HISTORY_READ,
        }


async def test_x_on_another_panel_says_what_can_be_ended(board):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await pilot.press("4", "x")
        await until(pilot, lambda: "Choose an operation" in notified(pilot.app))


@pytest.mark.parametrize(("key", "result"), [("q", 0), ("ctrl+q", 0), ("ctrl+c", 130)])
async def test_each_key_that_quits_has_its_exit_status(board, key, result):
    feed, _ = feed_of(board)
    async with watching(feed) as pilot:
        await until(pilot, lambda: feed.connected)
        await pilot.press(key)
        assert pilot.app.return_value == result
