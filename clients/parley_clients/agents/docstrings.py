"""Docstrings as descriptions of tools: the text, and what it says of each parameter."""

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"(Args|Arguments|Parameters|Params|Returns|Return|Yields|Raises|Examples?|Notes?):?")
_PARAMETER_SECTIONS = ("Args", "Arguments", "Parameters", "Params")
_UNDERLINE = re.compile(r"-{3,}")
_GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY = re.compile(r"(\w+)\s*(?::.*)?")
_FIELD = re.compile(r":(param|type|returns?|rtype|raises?)(?:\s+[^:]*?)?(\w*)\s*:\s*(.*)")


@dataclass
class Docstring:
    """`text` is what the docstring says of the function, `parameters` what it says of each parameter."""

    text: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_docstring(docstring: str) -> Docstring:
    """Read a docstring in the style of Google (`Args:`), numpy (underlined headings) or Sphinx (`:param x:`).

    Sections about results and exceptions are for programmers and are left out.
    """
    read, text, section, name = Docstring(), [""] * 0, "", ""
    lines = inspect.cleandoc(docstring).split("\n")
    for number, line in enumerate(lines):
        below = lines[number + 1].strip() if number + 1 < len(lines) else ""
        heading = _SECTION.fullmatch(line)
        is_numpy = _UNDERLINE.fullmatch(below) is not None
        field_line = _FIELD.match(line)
        if heading and (line.endswith(":") or is_numpy):
            section, name = heading.group(1) + (" " if is_numpy else ""), ""
        elif field_line:
            section, name = ":", field_line.group(2) if field_line.group(1) == "param" else ""
            _add(read, name, field_line.group(3))
        elif section.rstrip() in _PARAMETER_SECTIONS:
            name = _read_parameter(read, section, name, line)
        elif section == ":":
            _add(read, name, line)
        elif not section:
            text.append(line)
    read.text = "\n".join(text).strip()
    return read


def _read_parameter(read: Docstring, section: str, name: str, line: str) -> str:
    """Take a line of a section of parameters; return the name of the parameter that it is about."""
    if section.endswith(" "):
        begins = None if line.startswith(" ") or not line.strip() else _NUMPY.fullmatch(line.strip())
        if begins is None or _UNDERLINE.fullmatch(line.strip()):
            _add(read, name, line)
            return name
        return begins.group(1)
    indent = len(line) - len(line.lstrip())
    begins = _GOOGLE.fullmatch(line.strip()) if 0 < indent <= 4 else None
    if begins is None:
        _add(read, name, line)
        return name
    _add(read, begins.group(1), begins.group(2))
    return begins.group(1)


def _add(read: Docstring, name: str, text: str) -> None:
    if name and text.strip():
        read.parameters[name] = f"{read.parameters.get(name, '')} {text.strip()}".strip()
