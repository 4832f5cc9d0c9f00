"""Coverage is of what CPython runs, host and schema, in every process that is measured."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import REPO

coverage = pytest.importorskip("coverage")

PYPROJECT = str(REPO / "pyproject.toml")
# What coverage.py does in each process that Python starts (its pth file).
MEASURED = "import coverage; coverage.process_startup()"


def _config() -> coverage.Coverage:
    return coverage.Coverage(config_file=PYPROJECT, data_file=None)


def _left_out() -> list[Path]:
    patterns = _config().get_option("run:omit")
    assert isinstance(patterns, list)
    return [file for file in _sources() if any(fnmatch.fnmatch(str(file), p) for p in patterns)]


def _sources() -> list[Path]:
    return [file for room in ("host", "shared_schema") for file in REPO.glob(f"{room}/**/*.py")]


def test_each_omit_pattern_matches_existing_files_from_any_folder() -> None:
    patterns = _config().get_option("run:omit")
    assert isinstance(patterns, list)
    for pattern in patterns:
        assert pattern.startswith("*")
        assert any(fnmatch.fnmatch(str(file), pattern) for file in _left_out()), pattern


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the folder in which a process of another folder, which did nothing, left its data."""
    config = coverage.Coverage(config_file=PYPROJECT, data_file=str(tmp_path / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPO)
        process_config = config.config.serialize()
    environment = {**os.environ, "COVERAGE_PROCESS_CONFIG": process_config}
    subprocess.run([sys.executable, "-c", MEASURED], cwd=tmp_path, env=environment, check=True)
    return tmp_path


def _measured(data: Path) -> Iterator[Path]:
    """Yield the files that the processes of a folder of data have measured."""
    for file in data.glob("data*"):
        found = coverage.CoverageData(str(file))
        found.read()
        yield from (Path(name) for name in found.measured_files())


def test_a_process_in_another_folder_measures_the_same_files(data: Path) -> None:
    """It counts those that nobody imported, too: so it has to leave out the same ones."""
    measured = set(_measured(data))
    assert len(measured) > 100
    assert measured == {*_sources()} - {*_left_out()}


def test_no_file_that_only_micropython_runs_counts_as_untested(data: Path) -> None:
    """They would be most of what is missing, whatever the host's tests run."""
    measured = set(_measured(data))
    assert not any(file.is_relative_to(REPO / "device") for file in measured)
    assert [file.name for file in _left_out()] == ["loops_viper.py"]


def test_the_report_fails_when_little_was_measured(data: Path) -> None:
    run = [sys.executable, "-m", "coverage"]
    more = {"cwd": REPO, "capture_output": True, "text": True}
    place = [f"--rcfile={PYPROJECT}", f"--data-file={data / 'all'}"]
    subprocess.run([*run, "combine", *place, *data.glob("data*")], check=True, **more)  # type: ignore[call-overload]
    few = "--include=*/boardwarden/_*.py"  # to read all of them takes seconds
    report = subprocess.run([*run, "report", few, *place], **more)  # type: ignore[call-overload]
    assert report.returncode == 2, report.stderr
    assert f"fail-under={_config().get_option('report:fail_under'):.0f}" in report.stdout
