"""What deploy chooses, of made-up figures and heaps."""

import json

import pytest
from places import REPO

from boardwarden.deploy import choosing
from boardwarden.deploy.choosing import Footprint, Heap, Names, Option

TAKES = {
    ("files", "deciding"): Footprint(70_000, 0),
    ("files", "watching"): Footprint(40_000, 0),
    ("bytecode", "deciding"): Footprint(66_000, 0),
    ("bytecode", "watching"): Footprint(39_000, 0),
    ("romfs", "deciding"): Footprint(38_000, 0),
    ("romfs", "watching"): Footprint(22_000, 0),
}
BOTH = choosing.states(None)


def heap(free, largest=None, bits=32, names=None):
    return Heap(free, free, free if largest is None else largest, bits, names)


def best(free, romfs=False, installed=None, asked="", states=BOTH):
    ways = choosing.ways(True, romfs, installed, asked)
    options = choosing.in_order(ways, states, heap(free), TAKES)
    fit = choosing.fitting(options)
    return (fit[0].way, fit[0].state) if fit else None


@pytest.mark.parametrize(
    ("free", "romfs", "chosen"),
    [
        (105_000, False, ("files", "deciding")),  # a third of it remains, and no byte more
        (104_999, False, ("bytecode", "deciding")),
        (98_999, False, ("files", "watching")),
        (59_999, False, ("bytecode", "watching")),
        (58_499, False, None),
        (105_000, True, ("romfs", "deciding")),
        (57_000, True, ("romfs", "deciding")),
        (56_999, True, ("romfs", "watching")),
        (32_999, True, None),
    ],
)
def test_the_best_that_leaves_a_third(free, romfs, chosen):
    assert best(free, romfs) == chosen


def test_it_stays_where_it_is_if_that_fits():
    assert best(105_000, True, installed="files") == ("files", "deciding")
    assert best(60_000, True, installed="files") == ("romfs", "deciding")


def test_the_user_may_ask_for_one():
    assert best(105_000, True, asked="files") == ("files", "deciding")
    assert best(105_000, False, asked="bytecode") == ("bytecode", "deciding")
    assert choosing.ways(False, True, None, "files") == ["bytecode"]  # there is no machine code
    assert best(60_000, True, asked="files", states=("deciding",)) is None


def test_on_64_bits_nothing_is_known_and_nothing_refused():
    (option,) = choosing.in_order(["files"], ("deciding",), heap(1000, bits=64), TAKES)
    assert (option.takes_bytes, option.fits) == (None, None)
    assert choosing.fitting([option]) == [option]
    assert "not known" in choosing.takes(option, heap(1000, bits=64), None)


def test_the_pool_of_names_grows_by_doubling():
    """As the unix port of 32 bits has it: 20 places, of 7 bytes, then 40, and so on."""
    assert Names(1, 13).growth(7) == (0, 0)
    assert Names(1, 13).growth(8) == (304, 304)
    assert Names(1, 13).growth(47) == (304, 304)
    assert Names(1, 13).growth(48) == (304 + 592, 592)
    assert Names(5, 600).growth(21) == (24 + 640 * 7 + 8, 24 + 640 * 7 + 8)


def test_a_block_that_is_not_there_in_one_piece():
    figure = {("files", "deciding"): Footprint(10_000, 100)}
    few = heap(100_000, largest=500, names=Names(1, 20))
    (option,) = choosing.in_order(["files"], ("deciding",), few, figure)
    assert option.fits is False
    why = choosing.refusal(option, few, 5000, None)
    assert why.startswith("The agent needs a block of 592 B and the largest that is free has 500 B")
    assert "frozen into the firmware it takes 4.9 KB" in why


def test_what_is_said():
    option = Option("files", "deciding", 52 * 1024, 128 * 1024, 0, True)
    assert choosing.takes(option, heap(180 * 1024), 20 * 1024) == (
        "The agent takes 52 KB of the 180 KB of heap that are free, as files; frozen into the "
        "firmware it would take 20 KB."
    )
    small = Option("romfs", "watching", 22 * 1024, 8 * 1024, 0, False)
    assert choosing.refusal(small, heap(30 * 1024), 16 * 1024, None) == (
        "The agent takes 22 KB of the 30 KB of heap that are free even if it only watches, in the "
        "ROMFS partition, and leaves 8.0 KB, less than a third; frozen into the firmware it takes "
        "16 KB (docs/guides/firmware.md), `--force` goes on all the same"
    )
    none = Option("files", "deciding", 70 * 1024, -40 * 1024, 0, False)
    assert "and does not fit; `warden.start(protect=False)` in main.py has it watch only" in (
        choosing.refusal(none, heap(30 * 1024), 16 * 1024, "main.py")
    )


def test_the_figures_are_those_that_were_counted():
    counted = json.loads((REPO / "bench" / "footprint.json").read_text())
    found = choosing.footprints()
    ways = (choosing.FILES, choosing.BYTECODE, choosing.ROMFS, choosing.FROZEN)
    states = (*choosing.STATES, choosing.RUN)
    assert set(found) == {(way, state) for way in ways for state in states}
    for (way, state), figure in found.items():
        assert figure.bytes == counted[f"unix32/{way}/{state}"]
        assert figure.names == counted[f"unix32/{way}/{state}/names"] > 0


def test_an_agent_that_runs_the_application_takes_more_where_it_decides():
    counted = {"deciding": 80_000, "watching": 45_000, "run": 91_000}
    found = choosing.figures_of({f"unix32/files/{name}": size for name, size in counted.items()})
    runs = choosing.with_run(found)
    assert runs["files", "deciding"].bytes == 91_000
    assert runs["files", "watching"].bytes == 45_000
