"""The names that others build on, and that each says what it is."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import inspect
import pickle
import re
from pathlib import Path

import pytest
from doc_programs import board_names
from places import REPO

import boardwarden
from boardwarden import Board, Status, SyncBoard, errors, grants, models
from boardwarden.cli.app import MODULES
from boardwarden.deploy.compiler import agent_version


def test_dunder_all_lists_exactly_the_public_names() -> None:
    shown_to_checkers = {
        (alias.name, node.module)
        for node in ast.walk(ast.parse(Path(boardwarden.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert shown_to_checkers == set(boardwarden._MODULES.items())  # type: ignore[attr-defined]
    assert set(boardwarden.__all__) == {name for name, _ in shown_to_checkers}
    assert set(boardwarden.__all__) <= set(dir(boardwarden))
    for name in boardwarden.__all__:
        assert getattr(boardwarden, name) is not None
    with pytest.raises(AttributeError, match="'boardwarden' has no attribute 'nothing'"):
        boardwarden.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_both_lists_of_the_deciding_names_are_equal() -> None:
    lists = {
        "public.py": (r"deciding = \(([^)]*)\)", r"\w+"),
        "policy/publish.py": (r"_PUBLIC = ((?:.|\n)*?)    for name", r'"(\w+)"'),
    }
    found = []
    for file, (pattern, name) in lists.items():
        text = (REPO / "device" / "warden" / file).read_text(encoding="utf-8")
        listed = re.search(pattern, re.sub(r"  # .*", "", text))
        assert listed is not None
        found.append(re.findall(name, listed[1]))
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == len(set(found[0])) == 30


@pytest.mark.parametrize(
    ("public", "again"), [("watchdog", "watch_again"), ("checkin", "check_in_again")]
)
def test_what_is_called_again_after_a_stop_has_the_arguments_of_the_public_function(
    public: str, again: str
) -> None:
    arguments = {}
    for file in ("watchdog_setup", "hang_stopper"):
        text = (REPO / "device" / "warden" / f"{file}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name in (public, again):
                node.args.args = [each for each in node.args.args if each.arg != "self"]
                arguments[node.name] = ast.unparse(node.args)
    assert arguments[public] == arguments[again]


def test_an_application_can_wait_for_each_event_that_is_documented_or_posted() -> None:
    board = REPO / "device" / "warden"
    text = (board / "policy" / "decisions.py").read_text(encoding="utf-8")
    listed = re.search(r"_EVENTS = const\(([^)]*)\)", text)
    assert listed is not None
    known = set(re.findall(r"\w+", listed[1]))
    page = (REPO / "docs" / "board.md").read_text(encoding="utf-8")
    table = page[page.index("| event | subject |") :].split("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    posted = set()
    for file in board.rglob("*.py"):
        calls = r'(?:events|self)\.(?:post|add)\(\s*"(\w+)"'
        posted |= set(re.findall(calls, file.read_text(encoding="utf-8")))
    assert known == documented
    assert posted <= known
    assert len(posted) > 10


def test_every_error_is_public_and_a_board_error() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and "Error" not in name
    } | {"AddressError", "BoardError", "ConnectError", "RequestError"}
    assert kinds <= set(boardwarden.__all__)
    assert all(issubclass(getattr(errors, name), boardwarden.BoardError) for name in kinds)


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if inspect.isclass(kind)])
def test_an_error_goes_from_one_process_to_another(kind: type[errors.BoardError]) -> None:
    error = kind("Why.")
    vars(error)["value"] = 7
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert (str(arrived), vars(arrived)) == ("Why.", vars(error))


def test_the_tree_drawn_in_errors_is_the_class_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+)(  |$)", line):
            depth = len(match[1])
            above = [entry for entry in above if entry[0] < depth]
            drawn[match[2]] = above[-1][1] if above else "Exception"
            above.append((depth, match[2]))
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in kinds}


def test_every_model_is_frozen_with_a_default_for_each_field() -> None:
    found = {**vars(models), **vars(grants)}.values()
    kinds = [kind for kind in found if dataclasses.is_dataclass(kind)]
    assert len(kinds) >= 20
    for kind in kinds:
        assert isinstance(kind, type)
        kind()
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_the_status_has_the_fields_of_the_design() -> None:
    status = Status(storage=(models.Storage(),)).to_dict()
    memory = (
        "total_bytes used_bytes available_bytes live_bytes largest_free_block_bytes usage "
        "fragmentation low_water_bytes"
    )
    assert list(status["memory"]) == memory.split()
    cpu = "usage active_threads active_tasks loop_lag_s loop_lag_worst_s uptime_s"
    assert list(status["cpu"]) == cpu.split()
    storage = "mount total_bytes used_bytes available_bytes usage block_bytes agent_writes"
    assert list(status["storage"][0]) == storage.split()
    assert list(status["network"]) == ["connected", "rssi_dbm", "sent_bytes", "received_bytes"]
    overhead = "cpu bytes_per_s dropped_frames budget bad_frames faults"
    assert list(status["overhead"]) == overhead.split()
    board = "machine firmware port unique_id boot_id reset_cause protocol agent boots crash_free_s"
    assert list(status["board"]) == board.split()
    rest = (
        "memory cpu storage network overhead system_heap interval_s wanted_interval_s "
        "last_updated board age_s"
    )
    assert status["system_heap"] is None
    heap = Status(system_heap=models.SystemHeap()).to_dict()["system_heap"]
    assert list(heap) == ["free_bytes", "largest_free_block_bytes", "low_water_bytes"]
    assert set(status) == set(rest.split())


def test_the_board_has_the_names_of_the_design() -> None:
    names = """address status capabilities fragmentation history connected asleep link trends
        wait_sample updates changes console ping start_monitoring stop_monitoring fetch_history
        collect interrupt close
        allocations operations sessions thresholds limits meters events recent_events
        allocate release lease begin complete cancel operation can_execute set_limits set_threshold
        metering exceptions resets restarts restart_count synced safe_mode leave_safe_mode
        memory_profiles stored_policy gaps fetch_gap
        save_policy forget_policy"""
    assert set(names.split()) <= set(dir(Board))
    assert set(names.split()) <= set(dir(SyncBoard))


def test_names_in_the_documents_exist() -> None:
    for name in ("host.md", "mapping.md"):
        text = (REPO / "docs" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"`board\.(\w+)", text)) <= set(dir(Board))
        named = set(re.findall(r"`@?(?:async with )?warden\.(\w+)", text))
        assert named - {"toml", "policy"} <= board_names()  # those two are files
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    assert set(MODULES) <= set(re.findall(r"[\w-]+", text))


def test_every_public_name_has_a_docstring() -> None:
    for name in boardwarden.__all__:
        kind = getattr(boardwarden, name)
        assert inspect.getdoc(kind), name
        if inspect.isclass(kind) and kind.__module__.startswith("boardwarden"):
            inherited = kind.__mro__ if kind in (Board, SyncBoard) else (kind,)
            members = {name: value for each in inherited for name, value in vars(each).items()}
            for attribute, value in members.items():
                if not attribute.startswith("_") and (
                    callable(value) or isinstance(value, property)
                ):
                    assert value.__doc__, f"{name}.{attribute}"


def test_the_version_is_the_newest_in_the_changelog() -> None:
    """Until the first release there is only what is unreleased."""
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings
    assert released[:1] in ([], [importlib.metadata.version("boardwarden")])


def test_agent_and_host_have_one_version() -> None:
    assert agent_version() == importlib.metadata.version("boardwarden")
