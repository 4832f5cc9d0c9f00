"""The agent beside asyncio, whose part in C the module beside this file turns on."""

include("$(MPY_DIR)/extmod/asyncio")
include("../../../device/manifest.py")
