"""Tables of programs: which can run anything, which only run another command, which are the same in kind."""

from typing import Final

from parley_daemon.core.agents.policy.shell import words_of

INTERPRETERS: Final = words_of(
    # shells, and what runs a command in another place or as somebody else
    "sh bash dash zsh fish ksh mksh csh tcsh ash rbash busybox toybox pwsh powershell nu xonsh",
    "sudo doas su pkexec run0 runuser setpriv chroot unshare nsenter bwrap firejail systemd-run machinectl",
    "command env nohup nice timeout xargs setsid stdbuf ionice chrt taskset time watch script expect",
    "unbuffer parallel flock strace ltrace gdb lldb valgrind perf ssh sshpass mosh docker podman nerdctl",
    "kubectl lxc tmux screen at batch crontab entr rlwrap dbus-run-session xvfb-run proot fakeroot",
    # interpreters and editors, which run the code that they are given
    "python pypy ipython node nodejs deno bun tsx ts-node ruby irb perl php lua luajit awk gawk mawk nawk",
    "sed tclsh wish osascript Rscript R julia ghci runghc scala groovy elixir iex erl escript clojure sbcl",
    "guile racket ocaml swift java jshell dotnet go-run m4 dc bc",
    "ed ex vi vim nvim view emacs nano less more man sqlite3 psql mysql mongosh redis-cli ftp gnuplot octave",
    # what fetches a program and runs it
    "npx pnpx bunx uvx pipx dlx",
)

RUNNERS: Final = words_of(
    "faketime catchsegv numactl prlimit cgexec gosu su-exec tini dumb-init setarch linux32 linux64 i386",
    "x86_64 uname26 flatpak-spawn sg newgrp chpst softlimit setlock daemonize start-stop-daemon systemd-cat",
    "systemd-inhibit hyperfine xterm konsole gnome-terminal caffeinate arch sandbox-exec trickle torsocks",
    "torify proxychains proxychains4 nix-shell dotenv",
)
"""Other programs that prepare something and run the command in their words, as does each whose name begins
with `ld-` or `ld.`, the loader of programs.
"""

SUBCOMMAND_RUNNERS: Final = words_of(
    "uv poetry pipenv pdm rye hatch conda mamba micromamba bundle direnv nix devbox npm pnpm yarn volta asdf",
    "mise rtx pyenv rbenv nodenv goenv jenv rustup cargo foreman flatpak toolbox distrobox rsync",
)
"""Programs that do so behind a subcommand: `uv run`."""

WITH_VALUE: Final = {
    "timeout": frozenset({"-k", "--kill-after", "-s", "--signal"}),
    "nice": frozenset({"-n", "--adjustment"}),
    "xargs": frozenset(
        {"-n", "--max-args", "-P", "--max-procs", "-L", "--max-lines", "-d", "--delimiter", "-s"}
    ),
    "env": frozenset({"-u", "--unset"}),
    "nohup": frozenset[str](),
}
"""Options whose value is the next word, by program. The programs are those that are unwrapped."""

WITHOUT_VALUE: Final = {
    "timeout": frozenset({"--foreground", "--preserve-status", "-v", "--verbose", "-p", "-f"}),
    "nice": frozenset[str](),
    "xargs": frozenset({"-0", "--null", "-r", "--no-run-if-empty", "-t", "--verbose", "-x", "--exit"}),
    "env": frozenset({"-i", "-", "--ignore-environment"}),
    "nohup": frozenset[str](),
}

GUARDED: Final[dict[str, tuple[str, ...]]] = {
    "git": (
        *("-c", "-C", "--config-env", "--exec-path", "--git-dir", "--work-tree", "--namespace"),
        *(
            "--output",
            "-O",
            "--open-files-in-pager",
            "--ext-diff",
            "--textconv",
            "--no-index",
            "--upload-pack",
        ),
        *("--receive-pack", "--exec", "-x", "--template", "--config", "--extcmd", "--run"),
    ),
    "find": ("-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre", "--hostname-bin", "-z", "--search-zip"),
    "grep": ("--devices",),
    "sort": ("-o", "--output", "--compress-program", "-T", "--temporary-directory"),
    "tar": (
        *("-I", "--use-compress-program", "--to-command", "--checkpoint-action", "-F", "--info-script"),
        *("--new-volume-script", "--rsh-command", "--rmt-command"),
    ),
    "make": ("-f", "--file", "--makefile", "-C", "--directory", "--eval", "-E", "-I", "--include-dir"),
    "cargo": ("--config", "-Z", "--manifest-path", "-C"),
    "go": (
        *("-exec", "-toolexec", "-o", "-overlay", "-C", "-vettool", "-modfile", "-ldflags", "-gccgoflags"),
        *("-compiler", "-pkgdir"),
    ),
    "pytest": (
        *("-p", "-c", "--config-file", "--rootdir", "--confcutdir", "-o", "--override-ini", "--basetemp"),
        "--pastebin",
    ),
    "ruff": ("--config", "-o", "--output-file"),
    "mypy": ("--config-file", "--python-executable", "--custom-typing-module", "--install-types"),
    "pyright": ("-p", "--project", "--pythonpath", "--venvpath", "--venv-path"),
    "npm": ("--prefix", "-C", "--script-shell", "--globalconfig", "--userconfig"),
    "pnpm": ("--prefix", "-C", "--dir", "--script-shell", "--shell-emulator"),
    "yarn": ("--cwd", "--use-yarnrc", "--script-shell"),
}
"""Options with which a program runs or writes something else, or does so elsewhere."""

RUNNING: Final[dict[str, tuple[str, ...]]] = {
    "git": (
        *(
            "-c",
            "--config-env",
            "--exec-path",
            "-O",
            "--open-files-in-pager",
            "--upload-pack",
            "--receive-pack",
        ),
        *("--exec", "-x", "--extcmd", "--config", "foreach", "run", "filter-branch", "difftool", "mergetool"),
    ),
    "find": ("-exec", "-execdir", "-ok", "-okdir"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre",),
    "sort": ("--compress-program",),
    "tar": (
        *("-I", "--use-compress-program", "--to-command", "--checkpoint-action", "-F", "--info-script"),
        *("--new-volume-script", "--rsh-command", "--rmt-command"),
    ),
    "make": ("--eval",),
    "go": ("-exec", "-toolexec"),
    "npm": ("--script-shell",),
}
"""Options and words with which a program runs another command, which cannot be seen for certain."""

LONGER_THAN_GUARDED: Final = frozenset({"--text", "--exclude", "--exit-code"})
"""Options of their own, although a guarded option begins like them."""

REMEMBERED: Final[dict[str, frozenset[str]]] = {
    "git": words_of("status diff log show blame ls-files ls-tree rev-parse describe shortlog add commit"),
    "npm": frozenset({"test", "run"}),
    "pnpm": frozenset({"test", "run"}),
    "yarn": frozenset({"test", "run"}),
    "cargo": words_of("build check test clippy fmt"),
    "go": words_of("build test vet fmt"),
    "make": frozenset(),
    "ruff": frozenset({"check", "format"}),
    "pytest": frozenset(),
    "mypy": frozenset(),
    "pyright": frozenset(),
    "ls": frozenset(),
}
"""Programs that do the same in kind with other arguments, with those of their subcommands for which that is
so. An empty set: the program itself.
"""
