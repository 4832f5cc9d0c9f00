"""The imports run one way: no module knows who uses it, and there is no circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from places import REPO

HOST = REPO / "host" / "boardwarden"
BOARD = REPO / "device" / "warden"

# Lowest first. A module imports from its own layer and those before it; a folder stands for all
# that is in it. A module that no layer names is an error: say where it belongs.
HOST_LAYERS = [
    ["errors", "_paths", "_clock"],
    ["transport"],
    ["_protocol.messages", "_protocol.link"],
    ["_protocol.keys"],
    ["_protocol.diagnosis"],
    ["_protocol.subscription", "_protocol.requests"],
    ["_protocol.shared_stream"],
    ["_protocol"],  # the session, which composes the rest
    ["models"],
    ["crashes", "grants", "history", "keys"],
    ["_quantities"],
    ["_conversion"],
    ["_status"],
    ["_mirror"],
    ["policy"],
    ["policy_file"],
    ["board"],
    ["sync"],
    ["__init__"],
    ["render"],
    ["_program"],
    ["policy_on_board", "deploy"],
    ["doctor"],
    ["undo_file"],
    ["rollout"],
    ["recording"],
    ["plot_data", "replaying"],
    ["plot_picture"],
    ["_fake_policy"],
    ["testing"],  # knows how the host reads, so that it can answer; only tests use it
    ["serve", "web", "tui", "demo"],
    ["cli"],
    ["__main__"],
]
# The agent and the policy wire the modules of the middle, which do not import each other.
BOARD_MIDDLE = [
    *["sensors.load", "sensors.memory", "sensors.network", "sensors.capabilities", "history"],
    *["governor", "uplink", "policy.events", "policy.leases", "policy.operations"],
    *["policy.sessions", "policy.meters", "policy.thresholds"],
]
BOARD_LAYERS = [
    ["stand_in"],
    ["errors", "checks", "sample", "metered_file", "wear"],
    ["sensors.lock", "sensors.threads", "sensors.wlan", "sensors.system_heap"],
    ["sensors.heap_viper", "sensors.heap_thumb_viper"],
    ["gate", "link.stream", "link.tcp", "link.terminal", "link.mqtt"],
    ["link.tls", "link.mqtt_as"],
    ["sensors.find_table", "clock", "tables", "policy.lease_handle"],
    ["sensors.storage", "policy.decision_lock", "policy.deadlines"],
    ["policy.operation", "policy.forecast"],
    BOARD_MIDDLE,
    ["runner", "running"],
    ["policy.block_watch", "policy.memory_profile"],
    ["policy.pressure", "stored_policy", "counted_socket", "guard", "history_reader"],
    ["policy_file", "trend_report"],
    ["policy.policy", "requests", "host_session", "board_mps2"],
    ["hosts_message"],
    ["host_connection", "mqtt_session"],
    ["hosts"],
    ["link.brakes", "link.keys"],
    ["keyed_hosts", "keyed_mqtt"],
    ["mqtt_setup"],
    ["agent", "board", "policy_setup"],
    ["detect", "setup"],
    ["retained"],
    ["last_boot"],
    ["crashes"],
    ["crash_setup"],
    ["application"],
    ["crash_report", "budgets", "hardware_watchdog", "by_dupterm"],
    ["hang_stopper"],
    ["sleep", "task_watchdog", "duties"],
    ["duties_setup", "stop_setup"],
    ["watchdog_setup"],
    ["policy.decisions", "extras"],
    ["policy.publish"],
    ["launch", "public"],
    ["api", "__init__"],
    ["sensors", "link", "policy"],  # folders: they hold nothing themselves
]


def _modules(package: Path) -> dict[str, Path]:
    """Return the package's files by dotted name below it; a folder's __init__ is the folder."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        parts = parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts
        found[".".join(parts)] = file
    return found


def _resolved(node: ast.ImportFrom, package: str, name: str, is_folder: bool) -> str | None:
    """Return what a from-import names, dotted below the package; None if it is another's."""
    if node.level:
        inside = name.split(".") if name != "__init__" else []
        up = node.level - (1 if is_folder or name == "__init__" else 0)
        base = inside[: len(inside) - up] if up else inside
        return ".".join([*base, *(node.module.split(".") if node.module else [])])
    if node.module == package:
        return ""
    if node.module and node.module.startswith(package + "."):
        return node.module.removeprefix(package + ".")
    return None


def _imports(package: Path, name: str, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that one of them imports, wherever in it that is."""
    file = modules[name]
    folder = file.name == "__init__.py" and name != "__init__"
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(package.name + "."):
                    yield alias.name.removeprefix(package.name + ".")
                elif alias.name == package.name:
                    yield "__init__"
        elif isinstance(node, ast.ImportFrom):
            target = _resolved(node, package.name, name, folder)
            if target is None:
                continue
            for alias in node.names:
                inner = f"{target}.{alias.name}" if target else alias.name
                yield inner if inner in modules else target or "__init__"


@cache
def _graph(package: Path) -> dict[str, set[str]]:
    modules = _modules(package)
    return {name: set(_imports(package, name, modules)) - {name} for name in modules}


def _layer(name: str, layers: list[list[str]]) -> int | None:
    for number, members in enumerate(layers):
        if name in members:
            return number
    folder = name.partition(".")[0]
    return None if folder == name else _layer(folder, layers)


def _upward(graph: dict[str, set[str]], layers: list[list[str]]) -> list[str]:
    found = []
    for name, targets in graph.items():
        own = _layer(name, layers)
        for target in targets:
            theirs = _layer(target, layers)
            if own is not None and theirs is not None and theirs > own:
                found.append(f"{name} imports {target}, which is above it")
    return found


BOTH = pytest.mark.parametrize("package", [HOST, BOARD], ids=["host", "board"])


def test_every_module_of_the_host_has_its_layer() -> None:
    assert [name for name in _graph(HOST) if _layer(name, HOST_LAYERS) is None] == []


def test_the_import_graph_has_known_imports() -> None:
    """Else the tests here would hold for nothing."""
    assert _graph(HOST)["board"] >= {"_protocol.session", "_mirror", "transport", "models"}
    assert _graph(HOST)["_protocol.session"] >= {"_protocol.link", "transport.base", "errors"}
    assert _graph(HOST)["__init__"] >= {"board", "sync", "errors"}


@BOTH
def test_no_module_imports_from_a_layer_above(package: Path) -> None:
    layers = HOST_LAYERS if package == HOST else BOARD_LAYERS
    assert _upward(_graph(package), layers) == []


@BOTH
def test_no_modules_import_each_other_in_a_circle(package: Path) -> None:
    list(
        TopologicalSorter(_graph(package)).static_order()
    )  # raises CycleError, which names the circle


def test_no_other_part_imports_from_the_command_line() -> None:
    found = {
        name: [target for target in targets if target.partition(".")[0] == "cli"]
        for name, targets in _graph(HOST).items()
        if name.partition(".")[0] != "cli"
    }
    assert {name for name, targets in found.items() if targets} == {"__main__"}


def test_documents_and_examples_name_no_private_module() -> None:
    shown = [REPO / "README.md", *(REPO / "docs").rglob("*.md"), *(REPO / "examples").glob("*.py")]
    imports = re.compile(r"(?<!_)boardwarden\._[a-z]|from boardwarden import (?:\w+, )*_[a-z]")
    assert [file.name for file in shown if imports.search(file.read_text("utf-8"))] == []


def test_the_architecture_names_files_that_there_are() -> None:
    """Those with a folder or an ending: of other words only people know what they mean."""
    text = (REPO / "docs" / "architecture.md").read_text("utf-8")
    picture = text.split("~~~")[1]
    in_text = re.findall(r"`(\w+(?:/\w+)*(?:\.py|/)|\w+(?:/\w+)+)`", text.replace(picture, ""))
    in_picture = re.findall(r"[\w/]*\w(?:\.py|/)(?![\w/])", picture)
    assert len(in_text) > 30
    assert len(in_picture) > 10
    there = [
        f"/{file.relative_to(REPO).with_suffix('').as_posix()}"
        for room in ("host", "device", "shared_schema", "tests", "docs", "examples")
        for file in REPO.joinpath(room).rglob("*")
    ]
    for name in {*in_text, *in_picture}:
        ending = "/" + name.removesuffix("/").removesuffix(".py")
        assert any(each.endswith(ending) for each in there), name


def test_the_middle_modules_of_the_board_do_not_import_each_other() -> None:
    middle = set(BOARD_MIDDLE)
    found = {name: _graph(BOARD)[name] & middle for name in middle & set(_graph(BOARD))}
    assert not any(found.values()), found


def test_host_and_board_do_not_import_each_other() -> None:
    for package, other in ((HOST, "warden"), (BOARD, "boardwarden")):
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                assert other not in [name.partition(".")[0] for name in names], file


def test_the_schema_imports_neither_host_nor_board() -> None:
    for file in (REPO / "shared_schema" / "warden_schema").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                top = (node.module or "").partition(".")[0]
                assert top in {"micropython", "warden_schema", "array", "struct", ""}, file


def test_the_board_imports_its_modules_by_their_full_names():
    """Of a relative import the whole name would be made when it runs, and stay in the heap."""
    relative = re.compile(r"^\s*from \.", re.MULTILINE)
    files = sorted((REPO / "device").rglob("warden/**/*.py"))
    assert len(files) > 40
    assert [file.name for file in files if relative.search(file.read_text("utf-8"))] == []
