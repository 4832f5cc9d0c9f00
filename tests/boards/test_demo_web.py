"""`make demo-web`: one command, three simulated boards, a user who may control."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

from places import REPO
from web_client import Client

LIMIT_S = 60.0


def test_one_command_shows_three_boards_to_the_user_whom_it_names():
    command = ["make", "--no-print-directory", "demo-web", "PAGE=127.0.0.1:0"]
    process = subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said = ""
        while "the page is at" not in said:  # before it, what make sets up
            line = process.stdout.readline()
            assert line, said
            said += line
        password = re.search(r"sign in as demo with the password (\S+)\n", said)[1]
        url, port = re.search(r"the page is at (http://127.0.0.1:(\d+)/);", said).groups()
        client = Client(url, port)
        assert client.login("demo", password)[2] == {"user": "demo", "right": "control"}
        names = ("leaky_gateway", "blocking_station", "station")
        here = re.compile(r'"name":"sim:(\w+).py","state":"(?:well|warned|critical)"')
        deadline = time.monotonic() + LIMIT_S
        while sorted(here.findall(text := client.get("/api/fleet/events")[2])) != sorted(names):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)  # to look takes time, too
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(LIMIT_S)
        process.stdout.close()
