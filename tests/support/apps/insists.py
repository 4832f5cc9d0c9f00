"""An application with a policy of its own, set as most do: at its start."""

import sys

import warden

if "alone" in sys.argv:  # with no host, ever: print what holds
    warden.start(interval_ms=1000, max_operations=8, link=False)
else:
    import asyncio

    warden.start(interval_ms=1000, max_operations=8)
warden.threshold("memory", 100, 200)
warden.set_limits(max_operations=7)
upload = warden.session("upload")
if "alone" in sys.argv:
    watched = [[each.metric, each.warn, each.action] for each in warden.thresholds()]
    quotas = (upload.memory, upload.storage, upload.operations)
    print(warden.status()["wanted_interval_ms"], watched, quotas)
else:

    async def main():
        while True:
            await asyncio.sleep_ms(20)

    asyncio.run(main())
