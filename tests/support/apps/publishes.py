"""Has a connection to a broker of its own, over which the agent sends, too.

PORT: the broker's; BOARD_ID; CLIENT: a class of umqtt_like; CONTROL: "1" where hosts may control;
OBSERVE_KEY, CONTROL_KEY: in hex, or none;
WILL: the topic of a last will of its own; SECURE: "1" for TLS, and its name as user and password,
who may do nothing but what the agent does. It publishes "beat" on "app/out", and prints what it
gets on "app/in".
"""

import asyncio
import os
import ssl
import sys
from binascii import unhexlify

import warden

sys.path.append(__file__.rpartition("/tests/support/")[0] + "/firmware_tests")

import umqtt_like


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


async def main():
    name = os.getenv("BOARD_ID")
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
    warden.start(interval_ms=100, budget_permille=1000, link=link)
    connect(client)
    while True:
        await asyncio.sleep_ms(10)  # here the agent runs
        try:
            if client.sock is None:
                connect(client)
            client.check_msg()
            client.publish(b"app/out", b"beat")
        except OSError:  # umqtt.simple leaves the rest to us
            client.sock = None


asyncio.run(main())
