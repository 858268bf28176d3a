"""What is defined in a text, by expressions of the language's family: functions, classes, headings.

They look at the beginnings of lines and are bounded, so no text can keep them busy. They know too little of a
language to be right always; a definition that is missed costs rank, not answers.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

MAX_DEFINITIONS = 5_000
"""Definitions of a file that are known."""

_JS = r"(?:export[ \t]+)?(?:default[ \t]+)?(?:declare[ \t]+)?(?:abstract[ \t]+)?(?:async[ \t]+)?"
_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|open|override|async|inline|export|"
    r"data|partial|virtual|readonly|const|extern|unsafe|suspend|case|implicit|lazy|default)[ \t]+){0,6}"
)

_SOURCES: dict[str, str] = {
    "python": (
        r"^[ \t]{0,40}(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)"
        r"|^([A-Za-z_]\w*)(?:[ \t]*:[^=\n]{1,100})?[ \t]*=[^=]"
    ),
    "script": (
        rf"^[ \t]{{0,40}}{_JS}(?:function\*?|class|interface|type|enum|namespace|module)[ \t]+([\w$]+)"
        r"|^(?:export[ \t]+)?(?:const|let|var)[ \t]+([\w$]+)"
        rf"|^[ \t]{{1,8}}{_MODIFIERS}(?:(?:get|set)[ \t]+)?"
        r"(?!(?:if|for|while|switch|catch|return|function)\b)([\w$#]+)[ \t]*\([^;\n]{0,200}\{[ \t]*\r?$"
    ),
    "go": r"^func[ \t]+(?:\([^)\n]{0,100}\)[ \t]*)?(\w+)|^(?:type|var|const)[ \t]+(\w+)",
    "rust": (
        r"^[ \t]{0,40}(?:pub(?:\([^)\n]{0,40}\))?[ \t]+)?(?:(?:default|async|unsafe|const|extern)[ \t]+){0,4}"
        r"(?:fn|struct|enum|trait|type|mod|union|const|static|macro_rules!)[ \t]+(\w+)"
        r"|^[ \t]{0,40}impl(?:<[^>\n]{0,80}>)?[ \t]+(?:[\w:<>', ]{1,80}[ \t]for[ \t]+)?(\w+)"
    ),
    "braces": (
        rf"^[ \t]{{0,40}}{_MODIFIERS}(?:template[ \t]*<[^>\n]{{0,100}}>[ \t]*)?"
        r"(?:class|struct|enum|interface|namespace|union|record|object|trait|protocol|extension|fun|func|function|def|"
        r"typedef|#define)[ \t]+"
        r"(?:class[ \t]+)?(\w+)"
        r"|^[ \t]{0,8}(?!(?:return|else|if|for|while|switch|case|new|throw|delete|using|await|goto)\b)"
        r"(?:[\w:<>\[\],~?.]{1,60}[ \t]+[*&]{0,2}){1,6}((?:\w+::)?~?\w+)[ \t]*\([^;\n]{0,200}\r?$"
    ),
    "ruby": r"^[ \t]{0,40}(?:def(?:p|macro|module|struct)?|class|module)[ \t]+(?:self\.)?([\w?!.:]+)",
    "lua": r"^[ \t]{0,40}(?:local[ \t]+)?function[ \t]+([\w.:]+)|^(?:local[ \t]+)?(\w+)[ \t]*=[ \t]*function",
    "shell": r"^[ \t]{0,8}(?:function[ \t]+)?([\w-]+)[ \t]*\([ \t]*\)|^function[ \t]+([\w-]+)",
    "lisp": r"^[ \t]{0,8}\(def[\w-]*[ \t]+([^\s()]{1,80})",
    "sql": r"^[ \t]{0,8}(?i:create)[ \t]+(?:\w+[ \t]+){0,3}?"
    r"(?i:table|view|index|function|procedure|trigger|type)[ \t]+"
    r"(?i:if[ \t]+not[ \t]+exists[ \t]+)?([\w.\"`]+)",
    "markdown": r"^#{1,6}[ \t]+(.{1,120})",
    "sections": r"^\[+([^\]\n]{1,100})\]|^([A-Za-z_][\w.-]{0,80})[ \t]*:",
    "schema": r"^[ \t]{0,8}"
    r"(?:message|service|rpc|enum|type|input|interface|union|scalar|resource|module|variable)[ \t]+\"?(\w+)",
    "haskell": r"^(\w+)[ \t]*::|^(?:data|newtype|type|class|instance|module)[ \t]+(\w+)",
    "make": r"^([\w./-]{1,80})[ \t]*:(?!=)",
}

_FAMILIES: dict[str, str] = {
    "python": "py pyi pyx bzl star",
    "script": "js jsx ts tsx mjs cjs mts cts vue svelte",
    "go": "go",
    "rust": "rs",
    "braces": "c h cc cpp cxx hh hpp hxx m mm java cs kt kts swift scala groovy gradle php dart d zig v sol",
    "ruby": "rb rake ex exs cr",
    "lua": "lua",
    "shell": "sh bash zsh ksh fish",
    "lisp": "el lisp cl clj cljs cljc scm rkt",
    "sql": "sql",
    "markdown": "md markdown mdx rst",
    "sections": "toml ini cfg conf yaml yml properties",
    "schema": "proto graphql gql tf hcl thrift",
    "haskell": "hs elm purs ml mli",
    "make": "mk",
}
_BY_ENDING = {ending: family for family, endings in _FAMILIES.items() for ending in endings.split()}
_BY_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "justfile": "make",
    "rakefile": "ruby",
    "gemfile": "ruby",
}
_PATTERNS: dict[str, re.Pattern[str]] = {}


class Definition(msgspec.Struct, frozen=True, gc=False):
    """Where something is defined. `line` counts from 0, `indent` in characters."""

    name: str
    line: int
    indent: int


def family_of(path: str) -> str:
    """Return the family of a file's language; "" if it is not known."""
    name = path.rpartition("/")[2].lower()
    return _BY_NAME.get(name) or _BY_ENDING.get(name.rpartition(".")[2], "")


def find_definitions(text: str, family: str, starts: Sequence[int]) -> list[Definition]:
    """Return the definitions in a text, in its order. `starts`: where its lines begin."""
    if family not in _SOURCES:
        return []
    pattern = _PATTERNS.get(family)
    if pattern is None:
        pattern = _PATTERNS[family] = re.compile(_SOURCES[family], re.MULTILINE)
    found: list[Definition] = []
    for match in pattern.finditer(text):
        name = match[match.lastindex or 0].strip()
        begin = match.start()
        indent = len(match[0]) - len(match[0].lstrip(" \t"))
        found.append(Definition(name[:120], bisect_right(starts, begin) - 1, indent))
        if len(found) == MAX_DEFINITIONS:
            break
    return found
