"""mip installs the agent by package.json: mpremote's, and MicroPython's own over HTTP."""

import functools
import http.server
import importlib
import json
import os
import subprocess
import sys
import threading

import pytest
from places import REPO
from repl_board import ReplBoard

from boardwarden.transport.sim import find_micropython

PACKAGE = REPO / "device" / "package.json"
RUNS = "import warden; warden.start(link=False); print(warden.status()['memory']['total_bytes'])"


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        return importlib.import_module("make_package")


def runs_from(lib):
    """Start the agent from a folder that has nothing else."""
    done = subprocess.run(
        [find_micropython(), "-c", RUNS],
        env={**os.environ, "MICROPYPATH": f"{lib}:.frozen"},
        cwd=lib,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.strip().isdigit() or done.stdout + done.stderr


def test_package_json_is_up_to_date(tool, capsys):
    assert tool.main(["--check"]) == 0, capsys.readouterr().out
    urls = json.loads(PACKAGE.read_text())["urls"]
    assert len(urls) > 30
    assert all((PACKAGE.parent / address).is_file() for _, address in urls)


def test_package_json_can_be_made_for_another_url(tool):
    urls = json.loads(tool.package("github:you/boardwarden"))["urls"]
    assert ["warden/api.py", "github:you/boardwarden/device/warden/api.py"] in urls
    schema = "github:you/boardwarden/shared_schema/warden_schema/codec.py"
    assert ["warden_schema/codec.py", schema] in urls


def test_mip_on_the_board_installs_the_agent_over_http(tmp_path):
    install_over_http(REPO, "device/package.json", tmp_path / "lib")
    assert runs_from(tmp_path / "lib") is True


def install_over_http(folder, file, lib):
    """Serve a folder, and have mip on a board install what a file in it says."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/{file}"
            program = f"import mip; mip.install({address!r}, target={str(lib)!r})"
            done = subprocess.run(
                [find_micropython(), "-c", program], capture_output=True, text=True, timeout=50
            )
        finally:
            server.shutdown()
            thread.join()
    assert done.stdout.endswith("Done\n"), done.stdout + done.stderr


def test_mip_on_the_board_installs_compiled_files(tmp_path):
    """As `make mpy` leaves it: a folder for a web server, with a package.json of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        folder = importlib.import_module("build_mpy").build(["any"], tmp_path / "mpy")["any"]
    install_over_http(folder, "package.json", tmp_path / "lib")
    assert (tmp_path / "lib" / "warden" / "decide.mpy").is_file()
    assert runs_from(tmp_path / "lib") is True


def test_mpremote_installs_the_agent_from_a_checkout(tmp_path):
    with ReplBoard(tmp_path, "posix") as board:
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", board.port, "resume",
             "mip", "install", str(PACKAGE)],
            capture_output=True,
            text=True,
            timeout=55,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs_from(tmp_path / "lib") is True
