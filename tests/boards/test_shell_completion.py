"""bash, zsh and fish complete what the installed command offers."""

import os
import shutil
import subprocess
import sysconfig

import pytest
from cli_process import LIMIT_S, run_and_wait
from command_environment import of_command

# By shell: a program that prints, one a line, what is offered for the words that it is given. The
# file `completion` beside it is what `boardwarden --show-completion SHELL` prints.
OFFERS = {
    "bash": '''
. ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_boardwarden_completion boardwarden; printf '%s\\n' "${COMPREPLY[@]}"''',
    # What _arguments and _files would show: only a line editor has them.
    "zsh": """
compdef() { }; _files() { }
_arguments() { print -r -- "$1" | sed 's/^[^(]*//' | grep -o '[( ]"[^"]*"' | tr -d '(" ' }
. ./completion; words=("$@"); CURRENT=$#
_boardwarden_completion""",
    "fish": """
source ./completion
complete --do-complete "$argv" | string replace --regex "\\t.*" ""
true""",
}


@pytest.mark.parametrize("shell", OFFERS)
def test_each_shell_completes_commands_options_addresses_and_words(shell, tmp_path):
    program = shutil.which(shell)
    if program is None and os.environ.get("CI") != "true":
        pytest.skip(f"no {shell} here (Debian: apt-get install {shell})")
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    (tmp_path / "completion").write_text(run_and_wait("--show-completion", shell).stdout)
    (tmp_path / "offers").write_text(OFFERS[shell])

    def offers(*words):
        done = subprocess.run(
            [program, "offers", "boardwarden", *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=tmp_path,
            env=of_command(PATH=path, HOME=str(tmp_path)),
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    assert offers("serv") == ["serve"]
    assert offers("status", "--js") == ["--json"]
    assert offers("status", "--board", "si") == ["sim"]
    assert offers("serve", "--board", "si") == ["sim"]
    assert offers("doctor", "si") == ["sim"]
    assert offers("alloc", "net") == ["network-bandwidth"]
    assert offers("thresholds", "loop_lag_w") == ["loop_lag_worst"]
