"""Freezes asyncio and nothing of ours: on the 32-bit unix port the agent is loaded from files."""

include("$(MPY_DIR)/extmod/asyncio")
