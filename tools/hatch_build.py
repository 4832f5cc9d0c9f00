"""Puts the board's sources into the wheel, where the simulated board of an installed package
imports them from, and what they take of a board's heap, which `deploy` looks up. Not into an
editable install: there they would be copies that grow stale beside the checkout, so `force-include`
in pyproject.toml, which knows no difference, will not do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_INTO_WHEEL = {
    "device/warden": "boardwarden/_device/warden",
    "shared_schema/warden_schema": "boardwarden/_device/warden_schema",
    "examples": "boardwarden/_device/examples",
    "bench/footprint.json": "boardwarden/_device/footprint.json",
}


class BoardSources(BuildHookInterface):  # type: ignore[misc]  # hatchling is there only in builds
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for source, place in _INTO_WHEEL.items():
                build_data["force_include"][str(Path(self.root) / source)] = place
