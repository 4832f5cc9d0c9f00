"""What `boardwarden boards --broker` prints, and an uptime in what a board sends; no broker."""

import msgpack
import pytest
from typer.testing import CliRunner

from boardwarden._protocol.link import frame
from boardwarden.cli.app import app
from boardwarden.doctor import boards
from boardwarden.doctor.boards import BrokerBoard
from warden_schema import ids


def test_a_brokers_silent_board_is_explained_and_its_uptime_is_shown(monkeypatch):
    async def two(address, uptime):
        assert (address, uptime) == ("mqtt://b", True)
        return [
            BrokerBoard("a", "mqtt://b/a", None, "0.1.0", "esp32", silent_s=32.0),
            BrokerBoard("b", "mqtt://b/b", True, "0.1.0", "esp32", uptime_s=7380.0),
        ]

    monkeypatch.setattr("boardwarden.cli.doctor.broker_boards", two)
    shown = CliRunner().invoke(app, ["boards", "--broker", "mqtt://b", "--uptime"])
    lines = [line.split() for line in shown.output.splitlines()]
    assert lines[0] == ["board", "is", "agent", "machine", "policy", "up"]
    assert lines[1] == ["a", "silent", "for", "32", "s", "0.1.0", "esp32", "–", "–"]
    assert lines[2] == ["b", "online", "0.1.0", "esp32", "–", "2", "h", "3", "min"]
    assert lines[3][:2] == ["silent:", "it"]
    assert "gone or asleep, or its loop is blocked" in shown.output


@pytest.mark.parametrize(
    ("message", "uptime_s"),
    [
        ([ids.SAMPLE, 1, [99, 5, 1000, *[None] * 22]], 99.0),
        ([ids.SAMPLE, 1, [99, 5, 0, *[None] * 22]], None),  # stopped: it is of any time
        ([ids.SAMPLE, 1, [None] * 25], None),
        ([ids.SAMPLE, 1, [-1, 5, 1000]], None),
        *(([ids.SAMPLE, 1, []], None), ([ids.SAMPLE], None), ([ids.ALIVE, 1], None)),
    ],
)
def test_an_uptime_is_read_from_a_sample_that_makes_sense(message, uptime_s):
    framed = frame(msgpack.packb([ids.ALIVE, 7])) + frame(msgpack.packb(message))
    assert boards._uptime_in(framed) == uptime_s
