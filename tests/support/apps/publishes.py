"""Has a connection to a broker of its own, over which the agent sends, too.

PORT: the broker's; BOARD_ID; CLIENT: a class of umqtt_like; CONTROL: "1" where hosts may control;
OBSERVE_KEY, CONTROL_KEY: in hex, or none;
WILL: the topic of a last will of its own; SECURE: "1" for TLS, and its name as user and password,
who may do nothing but what the agent does; PACE_MS: of its loop, ten times as much between samples;
AWAY_S: when it first finds that its broker is gone, so many seconds pass on the board's clock, with
a sample in each and an event every hundred, before it tries to connect again. It publishes "beat"
on "app/out", and prints what it gets on "app/in".
"""

import asyncio
import os
import ssl
import sys
from binascii import unhexlify

import warden

sys.path.append(__file__.rpartition("/tests/support/")[0] + "/firmware_tests")

import umqtt_like
from warden.runner import Runner


def on_message(topic, message):
    print("app got", message.decode())


def key(name):
    text = os.getenv(name)
    return unhexlify(text) if text else None


def connect(client):
    client.connect()
    if not client.user:
        client.subscribe(b"app/in")
    print("connected")


def pass_s(seconds):
    """Have the board's clock go on; what the agent does in each second, it does."""
    agent = Runner.current.agent
    for second in range(seconds):
        agent.clock.start_ms -= 1000
        agent.clock.poll_now = True
        agent.poll()
        if second % 100 == 0:
            agent.policy.events.post("policy", None, str(second))
    print("away for", seconds)


async def main():
    name = os.getenv("BOARD_ID")
    pace_ms = int(os.getenv("PACE_MS") or 10)
    client = getattr(umqtt_like, os.getenv("CLIENT"))(
        name, "127.0.0.1", int(os.getenv("PORT")), keepalive=60
    )
    if os.getenv("SECURE") == "1":
        client.user = client.pswd = name
        make_socket = client.make_socket
        client.make_socket = lambda: ssl.wrap_socket(make_socket())
    if os.getenv("WILL"):
        client.set_last_will(os.getenv("WILL"), b"gone")
    link = warden.MqttLink(
        client, name, key("OBSERVE_KEY"), key("CONTROL_KEY"), os.getenv("CONTROL") == "1"
    )
    client.set_callback(on_message)
    warden.start(interval_ms=10 * pace_ms, budget_permille=1000, link=link)
    connect(client)
    away_s = int(os.getenv("AWAY_S", "0"))
    while True:
        await asyncio.sleep_ms(pace_ms)  # here the agent runs
        try:
            if client.sock is None:
                connect(client)
            client.check_msg()
            client.publish(b"app/out", b"beat")
        except OSError:  # umqtt.simple leaves the rest to us
            client.sock = None
            pass_s(away_s)
            away_s = 0


asyncio.run(main())
