"""Prints what the agent says of its board ten times a second, for a test to compare."""

import asyncio

import warden


async def main():
    warden.start(interval_ms=500)
    while True:
        found = warden.status()
        print(
            "STATUS",
            "boot_id={}".format(found["board"]["boot_id"]),
            "uptime_s={}".format(found["cpu"]["uptime_s"]),
            "interval_ms={}".format(found["interval_ms"]),
            "total_bytes={}".format(found["memory"]["total_bytes"]),
            "live_bytes={}".format(found["memory"]["live_bytes"]),
            "dropped_frames={}".format(found["overhead"]["dropped_frames"]),
            "tasks={}".format(found["cpu"]["active_tasks"]),
            "threads={}".format(found["cpu"]["active_threads"]),
            "available=" + "+".join(str(row["available_bytes"]) for row in found["storage"]),
        )
        await asyncio.sleep_ms(100)


asyncio.run(main())
