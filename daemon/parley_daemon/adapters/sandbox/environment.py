"""The environment of commands: an allow-list, and folders of their own for temporary files and caches."""

from collections.abc import Iterable, Mapping

_NAMES = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        # Where tools and their packages are.
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYENV_ROOT",
        "NVM_DIR",
        "VOLTA_HOME",
        "GOPATH",
        "GOROOT",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "JAVA_HOME",
        "ANDROID_HOME",
        "M2_HOME",
        "GEM_HOME",
        "SDKMAN_DIR",
        "DOTNET_ROOT",
        "NIX_PATH",
        "NIX_PROFILES",
    ]
)


_FIXED = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "HISTFILE": "/dev/null",
}

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def usual_variables(daemon: Mapping[str, str]) -> dict[str, str]:
    """Return what every program may have of the daemon's environment: where things are, and the language."""
    kept = {name: value for name, value in daemon.items() if name in _NAMES or name.startswith("LC_")}
    return {"PATH": _DEFAULT_PATH, **kept}


def make_environment(
    daemon: Mapping[str, str], temporary: str, names: Iterable[str], more: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a command.

    Args:
        daemon: the environment of the daemon, of which only names that are allowed are kept.
        temporary: the folder for temporary files, as the command sees it.
        names: what the configuration allows beside the list.
        more: what the command gets beside all that.
    """
    return {
        **usual_variables(daemon),
        **{name: daemon[name] for name in names if name in daemon},
        **_FIXED,
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), temporary),
        "XDG_CACHE_HOME": f"{temporary}/.cache",
        "npm_config_cache": f"{temporary}/.cache/npm",
        "YARN_CACHE_FOLDER": f"{temporary}/.cache/yarn",
        **more,
    }
