"""Property tests take the same examples each time, so that a failure is the change's fault."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import command_environment
import forked
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,  # the machine may be busy; pytest-timeout ends what hangs
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _boards_and_compilers_are_not_measured() -> None:
    """Coverage starts in each process that Python starts, and nearly all of them are boards."""
    command_environment.measure_commands_only()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated board has its files where it is started, and may tell the next one there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _fork_server_ends_with_the_tests() -> Iterator[None]:
    yield
    forked.stop_server()


@pytest.fixture
async def no_leftovers() -> AsyncIterator[None]:
    """End every command with its test, however that went."""
    from cli_process import kill_started

    yield
    await kill_started()


# What this process ignores, all that the tests start would ignore: Ctrl-C, where a shell has
# started `make test &`, and the end of the terminal under nohup, which this one does not mind.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
