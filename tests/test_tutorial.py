"""docs/tutorial.md: its files are saved and its commands for the simulated board run, in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from cli_process import run

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILES = {"python": "greenhouse.py", "toml": "warden.toml"}


def _on_hardware(words: list[str]) -> bool:
    return words[0] != "boardwarden" or "/dev/ttyACM0" in words or words[1] == "boards"


async def test_what_the_tutorial_says_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {}
    for kind, text in _BLOCK.findall(TUTORIAL.read_text()):
        if kind in _FILES:
            Path(_FILES[kind]).write_text(text)
            continue
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            if _on_hardware(words):
                continue
            done = await run(*words[1:])
            assert done.status == 0, (line, done.out, done.err)
            told[" ".join(words[1:3])] = done.out
    assert len(told) > 8
    assert Path("night.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"trim memory +0 +[1-9]", told["replay night.sqlite"])
    assert "50 %  70 %      40 %" in told["thresholds --board"]
