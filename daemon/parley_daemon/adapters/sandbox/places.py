"""Which files and folders commands must not see, and what the daemon's own are."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

SECRETS = (
    # Keys and passwords.
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".oci",
    ".vault-token",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".password-store",
    ".1password",
    ".config/gcloud",
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".config/op",
    ".config/git/credentials",
    ".config/containers",
    ".config/rclone",
    ".config/sops",
    ".config/doctl",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".terraform.d/credentials.tfrc.json",
    ".local/share/keyrings",
    ".local/share/python_keyring",
    "Library/Keychains",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".nuget/NuGet/NuGet.Config",
    ".composer/auth.json",
    ".config/composer/auth.json",
    ".config/pip/pip.conf",
    ".pip/pip.conf",
    ".subversion/auth",
    ".s3cfg",
    ".boto",
    ".config/hcloud",
    ".config/heroku",
    ".config/netlify",
    ".local/share/com.vercel.cli",
    ".config/.wrangler",
    ".fly",
    ".kaggle",
    ".cache/huggingface/token",
    ".huggingface",
    ".config/keepassxc",
    ".config/Bitwarden",
    ".config/Bitwarden CLI",
    # Other programs that talk with models.
    ".claude/.credentials.json",
    ".config/github-copilot",
    ".gemini",
    ".local/share/opencode/auth.json",
    ".local/share/crush",
    ".aider.conf.yml",
    ".continue/config.yaml",
    ".continue/config.json",
    # What people have typed, and where they are logged in.
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
    ".sqlite_history",
    ".rediscli_history",
    ".node_repl_history",
    ".local/share/atuin",
    ".local/share/fish",
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/Signal",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
    ".config/Slack",
    ".config/discord",
    ".local/share/TelegramDesktop",
    ".var/app",
    "snap/firefox/common",
    "snap/chromium/common",
    ".claude.json",
    ".codex/auth.json",
)
"""Paths below home that commands cannot read."""

_SERVICES = ("/run", "/var/snap/lxd")
"""Folders with the sockets of services that would act for a command outside of the sandbox."""

SYSTEM_LINKS = ("/run/current-system", "/run/opengl-driver", "/run/systemd/resolve")
"""Folders in `/run` that programs need: of NixOS, and that with the addresses of name servers."""


def find_secrets(home: Path | None = None) -> list[str]:
    """Return the secret files and folders of a home that exist, resolved."""
    home = home or Path.home()
    return [os.path.realpath(home / name) for name in SECRETS if os.path.lexists(home / name)]


def find_services() -> list[str]:
    """Return the folders with the sockets of services that exist, resolved."""
    return sorted({os.path.realpath(path) for path in _SERVICES if os.path.isdir(path)})


def widen_to_own_folder(path: Path) -> str:
    """Return the folder of a file of the daemon if only the daemon uses it, else the file; resolved.

    A folder is better, because the daemon may replace its files while a command runs.
    """
    folder = path.parent
    try:
        is_own = folder.stat().st_mode & 0o077 == 0 and folder.resolve() not in (Path.home(), Path("/tmp"))
    except OSError:
        is_own = False
    return os.path.realpath(folder if is_own else path)


def is_below(path: str, folder: str) -> bool:
    """Return whether a resolved path is a resolved folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def find_conflict(hidden: Iterable[str], writable: Sequence[str]) -> tuple[str, str] | None:
    """Return the first hidden path that lies below a writable folder, and that folder."""
    return next(((one, root) for one in hidden for root in writable if is_below(one, root)), None)
