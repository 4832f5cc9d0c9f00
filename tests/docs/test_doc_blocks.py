"""Every code block of README and docs is run, page by page, in order, as a reader would.

What the page says to save is saved; a real board's address becomes a simulated one. A `text` block
is what the board's program before it prints.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from doc_blocks import PAGES, blocks, commands, in_lines
from doc_commands import Commands, check_make, check_options, cli, promtool
from doc_programs import Programs, is_fragment, whole
from places import REPO

from boardwarden import policy_file
from boardwarden.cli import serve

# What is no program, command or file, and why; by page and beginning.
NOT_RUN = {
    ("docs/wire.md", "    C0  escaped( payload"): "a drawing; golden vectors hold the code to it",
}
_BLOCK_PAGES = [page for page in PAGES if blocks(page)]
_MANIFEST_WORDS = re.compile(r"(include|module|package|freeze|require)\(")
_OUR_PATH = re.compile(
    r"(?:^|[ =])((?:tools|device|host|shared_schema|tests|firmware_tests|bench|examples|docs|warden"
    r"|warden_schema)/[\w./-]+)"
)
_BASES = ("", "device", "shared_schema")
_INLINE = re.compile(r"`([^`\n]+)`")
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("page", _BLOCK_PAGES, ids=lambda page: str(page.relative_to(REPO)))
async def test_every_code_block_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = blocks(page)
    deploys = any(
        command.words[:2] == ["boardwarden", "deploy"]
        for block in found
        if block.kind == "console"
        for command in commands(block.text)
    )
    async with Programs(tmp_path, monkeypatch.setenv) as programs:
        with Commands(programs, deploys) as shell:
            for block, after in zip(found, [*found[1:], None], strict=True):
                try:
                    await _do(block, after, programs, shell)
                except Exception as error:
                    raise AssertionError(f"{block}: {error}") from error


async def _do(block, after, programs, shell):
    if block.kind == "python":
        shown = after.text.splitlines() if after and after.kind == "text" else []
        await _python(block, shown, programs)
    elif block.kind == "console":
        for command in commands(block.text):
            await shell.do(command)
    elif block.kind == "toml":
        assert block.name, "it is saved under no name"
        (programs.folder / block.name).write_text(block.text)
        policy_file.load(programs.folder / block.name)
    elif block.kind == "yaml":
        _prometheus(block.text, programs.folder)
    elif block.kind != "text":
        place = str(block.page.relative_to(REPO))
        assert any(place == page and block.text.startswith(text) for page, text in NOT_RUN), (
            f"nothing is known of a block of kind {block.kind!r}"
        )


async def _python(block, shown, programs):
    _lint(whole(block.text))
    imported = set(re.findall(r"^(?:import|from) (\w+)", block.text, re.MULTILINE))
    if _MANIFEST_WORDS.match(block.text):
        _manifest(block.text)
    elif "warden" in imported:
        await programs.board(block, shown)
    elif "boardwarden" in imported or is_fragment(block.text):
        await programs.host(block)
    else:
        raise AssertionError("neither the board's nor the host's, as far as its imports tell")


def _lint(text):
    """No name is unknown or unused, not in what runs seldom either."""
    ruff = Path(sys.executable).with_name("ruff")
    builtins = ["--config", 'builtins=["include", "module"]']  # of manifests
    done = subprocess.run(
        [ruff, "check", "-q", "--isolated", "--select", "E9,F", *builtins, "-"],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _manifest(text):
    """It includes a manifest that is here, where its reader has it."""
    included = re.findall(r'include\("(?:…|\.\./boardwarden)/([^"]+)"', text)
    assert included
    assert all((REPO / path).is_file() for path in included), text


def _prometheus(text, folder):
    (target,) = yaml.safe_load(text)["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == serve.serve.__defaults__[1]  # where `serve` listens
    checker = promtool()
    assert checker or os.environ.get("CI") != "true", "CI has no promtool"
    if checker:
        (folder / "prometheus.yml").write_text(text)
        subprocess.run([checker, "check", "config", "prometheus.yml"], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```sh\nls\n```\n", "of kind 'sh'"),
        ("```\nls\n```\n", "of kind ''"),
        ("Text.\n\n    ls\n", "of kind 'indented'"),
        ("```python\nprint(1)\n```\n", "neither the board's nor the host's"),
        ("```console\n$ ls\n```\n", "nothing is known of the command ls"),
        ("```console\n$ boardwarden look\n```\n", "has no command look"),
        ("```console\n$ make nothing\n```\n", "nothing"),
        ("```toml\n[limits]\n```\n", "saved under no name"),
    ],
)
async def test_every_block_is_of_a_known_kind(text, why, tmp_path, monkeypatch):
    page = REPO / "docs" / "no-such-page.md"
    (block,) = in_lines(page, text.split("\n"))
    async with Programs(tmp_path, monkeypatch.setenv) as programs:
        with Commands(programs, False) as shell, pytest.raises(AssertionError, match=why):
            await _do(block, None, programs, shell)


# --- what the prose says ----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_commands_and_files_named_in_the_prose_exist(page):
    options = cli()
    for text in _INLINE.findall(page.read_text(encoding="utf-8")):
        for path in _OUR_PATH.findall(text):
            assert any((REPO / base / path).exists() for base in _BASES), text
        if re.match(r"make( |$)", text) and "-C" not in text:
            check_make(shlex.split(text)[1:])
        if text.startswith("boardwarden ") and "COMMAND" not in text:
            words = re.sub(r"[\[\]…]", " ", text.removeprefix("boardwarden "))
            check_options(shlex.split(words), options)


def test_the_hosts_page_has_every_command_and_no_unknown_option():
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    inline = " ".join(_INLINE.findall(text))
    options = cli()
    known = set().union(*options.values())
    missing = [name for name in options if name and not re.search(rf"\b{name}\b", inline)]
    assert missing == []
    # `--base` is of tools/make_package.py.
    assert set(re.findall(r"(?<!\w)--[a-z][a-z-]+", inline)) - known - {"--base"} == set()


def test_the_readme_begins_with_what_goes_wrong_a_picture_and_two_commands():
    text = (REPO / "README.md").read_text(encoding="utf-8")
    opening = text.split("\n\n")[1].replace("\n", " ")
    wrong, does = opening.split(". ")
    assert all(word in wrong for word in ("run out of memory", "stall", "reboot", "REPL"))
    assert all(word in does for word in ("measures", "acts", "mirrors"))
    marks = ["![", "`make demo`", "`make test`", "## On the board", "## On the host"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert text.index("`make demo`") < text.index("\n## ")


def test_links_in_the_readme_exist():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", readme)]
    assert len(targets) > 5
    assert [path for path in targets if ":" not in path and not (REPO / path).exists()] == []
    folders = re.findall(r"^\| `(\w+)/` \|", readme, re.MULTILINE)
    assert len(folders) > 5
    assert [folder for folder in folders if not (REPO / folder).is_dir()] == []
