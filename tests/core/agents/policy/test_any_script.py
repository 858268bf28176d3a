"""Scripts from a grammar in the real bash: it runs nothing that the reader did not list.

The only PATH has recording stubs. So whatever bash runs is written down, with its arguments.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.core.agents.policy.commands import parse_command
from parley_daemon.core.agents.policy.matching import levels
from parley_daemon.core.agents.policy.shell import read_script
from tests.support.examples import examples

BASH = shutil.which("bash")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BASH is None, reason="needs bash"),
]

PROGRAMS = ("ls", "git", "rm", "make", "env", "timeout", "nice", "nohup", "xargs", "a1", "b.c", "2x")
STUB = """#!{bash}
printf '%s\\0' "${{0##*/}}" "$@" > "$STUB_LOG/$$"
case "${{0##*/}}" in
  env|nohup) "$@" ;;
  nice) if [[ $1 == -n ]]; then shift 2; fi; "$@" ;;
  timeout) if [[ $1 =~ ^[0-9]+[smhd]?$ ]]; then shift; "$@"; fi ;;
esac
"""

WORDS = r"""
-x --y=z a b c '' "" 'a_b' "c_d" 'a'b a"b"c 'a;b' "&&" '$x' "$x" $x ${x} $(rm_a) `rm_b` \\; \\a 'a\\' "a\\"b"
"\\$x" "a\\b" ~ ~/a * ? [ab] {a,b} {1..2} a=b x=1 -n 5 2 ! !! # #c a#b a~b a^ $'rm' $"rm" <(rm) é 'é'
if then fi { } ( ) [[ ]] time eval exec alias export command cd true echo printf %1 & =ls
"""
words = st.sampled_from(
    [*PROGRAMS, *WORDS.replace("\\\\", "\\").split(), "'a b'", '"c d"', "$(rm a)", "a\\ b", "\t", "a\u00a0b"]
)
JOINTS = [";", "&&", "||", "|", "\n", " ; ", " && ", "&", "|&", ";;", "\n\n", " |\n", "&&\n", "\r\n"]
joints = st.sampled_from(JOINTS)
REDIRECTIONS = """
>/dev/null 2>/dev/null 2>&1 1>&2 </dev/null >out 2>out >&out &>out <in <<E >>/dev/null 3>/dev/null 2>&10
"""
redirections = st.sampled_from([*REDIRECTIONS.split(), "> /dev/null"])
READABLE = ["a", "-x", "'a b'", '"c d"', "'a;b'", '"&&"', "''", "a~b", '"a\\"b"', "'$x'", "x=1", "5"]


@st.composite
def commands(draw: st.DrawFn) -> str:
    first = draw(st.one_of(st.sampled_from(PROGRAMS), words))
    rest = draw(st.lists(st.one_of(words, redirections), max_size=4))
    return draw(st.sampled_from([" ", "  ", "\t"])).join([first, *rest])


@st.composite
def scripts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(commands(), min_size=1, max_size=4))
    text = parts[0]
    for part in parts[1:]:
        text += draw(joints) + part
    return text


@st.composite
def readable_scripts(draw: st.DrawFn) -> str:
    """Return a script of which most can be read."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        wrapper = draw(st.sampled_from(["", "", "env ", "nohup ", "nice -n 5 ", "timeout 5 "]))
        program = draw(st.sampled_from(["ls", "git", "rm", "make", "a1", "b.c", "'ls'", '"rm"', "2x"]))
        end = draw(st.sampled_from(["", " 2>&1", " >/dev/null", " 2>/dev/null", " </dev/null"]))
        lines.append(
            wrapper + " ".join([program, *draw(st.lists(st.sampled_from(READABLE), max_size=3))]) + end
        )
    text = lines[0]
    for line in lines[1:]:
        text += draw(st.sampled_from([";", "&&", " && ", "||", "|", "\n", " | ", ";\n", "&&\n"])) + line
    return text


def run_recorded(script: str) -> list[tuple[str, ...]]:
    """Run a script in bash; return the words of all programs that ran."""
    with tempfile.TemporaryDirectory() as folder:
        stubs, cwd, log = Path(folder, "bin"), Path(folder, "cwd"), Path(folder, "log")
        for one in (stubs, cwd, log):
            one.mkdir()
        for program in PROGRAMS:
            (stubs / program).write_text(STUB.format(bash=BASH), "utf-8")
            (stubs / program).chmod(0o755)
        environment = {
            "PATH": str(stubs),
            "STUB_LOG": str(log),
            "x": "rm",
            "HOME": str(cwd),
            "LC_ALL": "C.UTF-8",
        }
        subprocess.run(
            [str(BASH), "--norc", "--noprofile", "-c", script],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        # Each process has a file of its own: those of a pipeline write at the same time.
        calls = [one.read_bytes().split(b"\0")[:-1] for one in log.iterdir()]
        return [tuple([os.fsdecode(word) for word in call]) for call in calls]


def check(script: str) -> None:
    read = read_script(script)
    if read.problem is not None:
        return
    listed = {level.words for one in read.commands for level in levels(parse_command(one))}
    assert [words for words in run_recorded(script) if words not in listed] == []


@settings(max_examples=examples(60))
@given(scripts())
def test_bash_runs_nothing_that_was_not_listed(script: str) -> None:
    check(script)


@settings(max_examples=examples(60))
@given(readable_scripts())
def test_bash_runs_nothing_else_in_scripts_that_can_be_read(script: str) -> None:
    assert read_script(script).problem is None
    check(script)
