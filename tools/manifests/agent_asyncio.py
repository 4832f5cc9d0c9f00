"""Freezes the agent and asyncio, for a firmware with what that needs: tools/bench/asyncio_board."""

include("$(MPY_DIR)/extmod/asyncio")
include("../../device/manifest.py")
