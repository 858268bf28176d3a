"""Which files are not indexed because of their names: secrets, and lists that programs have written."""

import re

_LIST_SECRET_NAMES = """
.netrc _netrc .npmrc .pypirc .pgpass .my.cnf .htpasswd .git-credentials .vault-token .s3cfg .boto
.dockercfg .envrc credentials credentials.json credentials.toml client_secret.json service-account.json
secring.gpg kubeconfig .bash_history .zsh_history .python_history .psql_history .mysql_history
.sqlite_history .node_repl_history terraform.tfvars terraform.tfstate terraform.tfstate.backup
"""
_SECRET_NAMES = frozenset(_LIST_SECRET_NAMES.split())
_LIST_SECRET_FOLDERS = """
.ssh .gnupg .aws .azure .kube .docker .oci .password-store .1password
"""
_SECRET_FOLDERS = frozenset(_LIST_SECRET_FOLDERS.split())
_SECRET = re.compile(
    r"\.env(?:\..+)?|.+\.env|.+\.(?:pem|key|p8|p12|pfx|jks|keystore|kdbx|ppk|gpg|pgp|age|ovpn|keytab|tfvars)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)[^.]*|(?:secret|secrets)\.(?:json|ya?ml|toml|ini|env|txt|properties)"
)
_HARMLESS = re.compile(r"\.env\.(?:example|sample|template|dist|defaults?)|.+\.pub")

_LIST_GENERATED_NAMES = """
package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock cargo.lock poetry.lock uv.lock
pdm.lock pipfile.lock go.sum go.work.sum composer.lock gemfile.lock mix.lock flake.lock podfile.lock
packages.lock.json gradle.lockfile
"""
_GENERATED_NAMES = frozenset(_LIST_GENERATED_NAMES.split())
_GENERATED = re.compile(r".+\.(?:min\.js|min\.css|map|lock)")

_PRIVATE_KEY = re.compile(r"^-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]{40}", re.MULTILINE)


def find_reason(path: str) -> str | None:
    """Return why a file is left out because of its path below the root: secret, or generated."""
    *folders, name = path.lower().split("/")
    if not _HARMLESS.fullmatch(name) and (name in _SECRET_NAMES or _SECRET.fullmatch(name)):
        return "secret"
    if any(folder in _SECRET_FOLDERS for folder in folders):
        return "secret"
    return "generated" if name in _GENERATED_NAMES or _GENERATED.fullmatch(name) else None


def has_private_key(text: str) -> bool:
    """Return whether a text has a private key in it."""
    return "PRIVATE KEY-----" in text and _PRIVATE_KEY.search(text) is not None


_GENERATED_MARK = re.compile(
    r"(?i)@generated|do not edit|auto-?generated|generated (?:by|from|with|code|file|automatically)|"
    r"automatically generated"
)


def is_generated_text(text: str) -> bool:
    """Return whether a text says at its beginning that a program has written it."""
    return any(_GENERATED_MARK.search(line[:200]) for line in text[:600].split("\n", 5)[:5])
