"""A real mosquitto on loopback, which a test can end, start again at its port, and hold still."""

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from free_ports import free_port

LIMIT_S = 10.0
_CONFIG = """\
listener {port} 127.0.0.1
persistence false
log_dest stderr
log_type all
"""


def need_mosquitto():
    """Return mosquitto's path; skip the test where it is not installed; in CI fail."""
    found = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no mosquitto here (Debian: apt-get install mosquitto)")
    assert found, "CI has no mosquitto"
    return found


class Mosquitto:
    """A broker on a free port of 127.0.0.1: `with Mosquitto(tmp_path) as broker:`.

    more: lines of its configuration; without any it lets everybody in; config: the other lines. Its
    log is `folder/mosquitto.log`.
    """

    def __init__(self, folder, more="allow_anonymous true\n", config=_CONFIG):
        self._folder = folder
        self._config = config + more
        self._process = None
        self.port = free_port()
        self.address = f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        """Start it, and wait until it accepts connections."""
        assert self._process is None
        # As root it would become the user mosquitto, who may not read a test's files.
        user = "user root\n" if os.geteuid() == 0 else ""
        config = self._folder / "mosquitto.conf"
        config.write_text(self._config.format(port=self.port) + user)
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [need_mosquitto(), "-c", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + LIMIT_S
        while True:
            assert self._process.poll() is None, self.log()
            try:
                socket.create_connection(("127.0.0.1", self.port), LIMIT_S).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)

    @property
    def pid(self):
        """Its process's number."""
        return self._process.pid

    def stop(self, how=signal.SIGTERM):
        """End it, if it runs; SIGKILL is a power cut."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self.resume()
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self):
        """End it as a power cut does."""
        self.stop(signal.SIGKILL)

    def hold(self):
        """Stop the process: the kernel goes on to accept what fits into the sockets' buffers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Let a held process go on."""
        self._process.send_signal(signal.SIGCONT)

    def log(self):
        """Return what it has logged."""
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
