"""Names of files that tools never change, wherever they lie: git's own files, and the policy of a project.

What git reads from its folder can start programs (hooks, `core.fsmonitor`, filters), so a change there would
run later, outside of any sandbox. File systems take different spellings for the same name: macOS and Windows
ignore the case, HFS+ ignores some invisible characters, NTFS ignores dots and blanks at the end, and has
short names and streams. All spellings count, on every system.
"""

from collections.abc import Sequence

PROTECTED_NAMES = {
    ".git": "git's own files are changed by git only",
    "git~1": "git's own files are changed by git only",
    ".parley": "a project's rules for tools are changed by people only",
}
"""By the name in lower case, why nothing at or below it is changed."""

_IGNORED_BY_HFS = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF], ""
)


def find_protected(names: Sequence[str]) -> str | None:
    """Return why a path is never changed, the reason as a clause; None: its names do not protect it."""
    for name in names:
        plain = name.translate(_IGNORED_BY_HFS).partition(":")[0].rstrip(". ").casefold()
        if plain in PROTECTED_NAMES:
            return PROTECTED_NAMES[plain]
    return None
