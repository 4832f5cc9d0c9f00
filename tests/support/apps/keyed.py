"""Listens for hosts on the port that PORT names, with the keys that the environment has in hex.

Inside TLS where CERTIFICATE names a file, and CERTIFICATE_KEY that of its key.
Prints by how many ms its loop was late, whenever that is more than 20 and more than before.
"""

import asyncio
import os
from binascii import unhexlify
from time import ticks_diff, ticks_ms

import warden


def key(name):
    text = os.getenv(name)
    return unhexlify(text) if text else None


def tls():
    if not os.getenv("CERTIFICATE"):
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.getenv("CERTIFICATE"), os.getenv("CERTIFICATE_KEY"))
    return context


async def main():
    warden.start(
        interval_ms=100,
        budget_permille=1000,
        link=warden.TcpServer(
            int(os.getenv("PORT")),
            key=key("OBSERVE_KEY"),
            control_key=key("CONTROL_KEY"),
            open=os.getenv("OPEN") == "1",
            ssl_context=tls(),
        ),
    )
    warden.allocate(warden.MEMORY, 512, owner="secret", ttl_ms=None)
    print("listening")
    worst = 20
    while True:
        began = ticks_ms()
        await asyncio.sleep_ms(10)
        late = ticks_diff(ticks_ms(), began) - 10
        if late > worst:
            worst = late
            print("late", worst)


asyncio.run(main())
