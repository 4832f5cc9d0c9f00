"""The site builds strictly, needs no network, and names everything that is public."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from places import REPO

import boardwarden

_FETCHED = re.compile(r"""<(?:script|link|img)[^>]*(?:src|href)=["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    done = subprocess.run(
        [*command, "-f", str(REPO / "tools/mkdocs.yml")],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_the_network(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    assert [page.name for page in pages if _FETCHED.search(page.read_text())] == []


def test_the_reference_lists_all_public_names_of_the_host(site):
    text = (site / "api/host.html").read_text()
    assert [name for name in boardwarden.__all__ if f'id="boardwarden.{name}"' not in text] == []


def test_the_reference_lists_all_functions_of_the_board(site):
    text = (site / "api/board.html").read_text()
    places = {"application": {"run"}}
    for module in ("api", "policy.decisions"):
        source = (REPO / f"device/warden/{module.replace('.', '/')}.py").read_text()
        places[module] = set(re.findall(r"^def ([a-zA-Z]\w*)", source, re.MULTILINE))
    source = (REPO / "device/warden/public.py").read_text()
    for line in re.findall(r'^        "(.+)",$', source, re.MULTILINE):  # _PLACES
        module, *names = line.split()
        places[module] = set(names)
    for module, members in places.items():
        assert [name for name in members if f'id="warden.{module}.{name}"' not in text] == []
    assert sum(map(len, places.values())) > 30
