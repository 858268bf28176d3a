"""What an approval of a command is bound to."""

import os
from pathlib import Path

from parley_daemon.adapters.tools.commands.scripts import MAX_BYTES, hash_named_files


def named(command: str, folder: Path) -> list[str]:
    return [
        os.path.relpath(path, os.path.realpath(folder)) for path, _ in hash_named_files(command, str(folder))
    ]


def test_scripts_are_found_in_other_folders_in_quotes_and_in_options(tmp_path: Path) -> None:
    script = tmp_path / "a/b/x.sh"
    script.parent.mkdir(parents=True)
    script.write_text("echo one\n", "utf-8")
    for command in (
        "cd a/b && ./x.sh",
        "cd a; cd b; ./x.sh",
        "bash -c 'cd a/b; ./x.sh'",
        "bash --rcfile=a/b/x.sh -i",
        "sh < a/b/x.sh",
    ):
        assert named(command, tmp_path) == ["a/b/x.sh"], command


def test_files_beyond_the_limits_cannot_be_changed_unnoticed_either(tmp_path: Path) -> None:
    names = [f"f{number:02}" for number in range(30)]
    for name in names:
        (tmp_path / name).write_text(name, "utf-8")
    large = tmp_path / "large"
    large.write_bytes(bytes(MAX_BYTES + 1))
    command = " ".join(["cat", *names, "large"])
    shown = dict(hash_named_files(command, str(tmp_path)))
    assert len(shown) == len(names) + 1
    (tmp_path / names[-1]).write_text("other", "utf-8")
    with large.open("r+b") as file:
        file.write(b"x")
    later = dict(hash_named_files(command, str(tmp_path)))
    changed = [os.path.basename(path) for path in shown if shown[path] != later[path]]
    assert changed == [names[-1], "large"]


def test_a_name_that_is_not_utf_8_can_be_sent_as_json(tmp_path: Path) -> None:
    target = os.fsencode(tmp_path) + b"/\xff.sh"
    with open(target, "wb") as file:
        file.write(b"true\n")
    os.symlink(target, tmp_path / "x.sh")
    assert named("./x.sh", tmp_path) == ["\\xff.sh"]


def test_any_number_of_folders_and_words_is_looked_for_within_a_bound(tmp_path: Path) -> None:
    # Without a bound, the product of both would take hours.
    assert hash_named_files("cd a;" * 10_000 + " ".join(map(str, range(1_000))), str(tmp_path)) == ()


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert named(f"cat pipe /dev/null {tmp_path}", tmp_path) == []
