"""Says what is wrong with the configuration file: which setting, in which line, and what it may be.

Theory of operation. Validation names a setting by its path, in which `[...]` stands for any name of a table.
The names are found by validating the tables one at a time. The line is found by parsing beginnings of the
file: the setting is in the first statement after which the parsed beginning has it. So it does not matter how
a setting is written: in a table, with a dotted name, or inline.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

Path = Sequence[str | int]

_TOML_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
}


def describe_syntax_error(message: str) -> str:
    """Rewrite "Expected '=' (at line 3, column 5)" as ", line 3: Expected '='."."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    what = message[: found.start()] if found else message
    line = f", line {found[1]}" if found and found[1] else ", at its end"
    return f"{line}: {what}."


def describe_invalid_setting(text: str, kind: type[msgspec.Struct]) -> str:
    """Return what is wrong with the first invalid setting of a file, in the words of TOML.

    `text` is the file, which is valid TOML. `kind` is what it should be, and is not. The result is like
    ", line 2: attempts must be an integer of 1 or more.".
    """
    data = tomllib.loads(text)
    what, path = _find_problem(data, kind)
    if unknown := re.fullmatch(r"Object contains unknown field `([^`]+)`", what):
        return f"{find_line(text, [*path, unknown[1]])}: there is no setting {unknown[1]} here."
    name = _name(path)
    if missing := re.fullmatch(r"Object missing required field `([^`]+)`", what):
        problem = f"lacks {missing[1]}"
    elif bound := re.fullmatch(r"Expected `(\w+)` ([<>])= ([\d.]+)", what):
        direction = "more" if bound[2] == ">" else "less"
        problem = f"must be {_TOML_TYPES[bound[1]]} of {bound[3].removesuffix('.0')} or {direction}"
    elif wrong := re.fullmatch(r"Expected `([^`]+)`, got `\w+`", what):
        kinds = [_TOML_TYPES[one] for one in wrong[1].split(" | ") if one in _TOML_TYPES]
        problem = f"must be {' or '.join(kinds)}"
    elif value := re.fullmatch(r"Invalid enum value '(.*)'", what, re.S):
        *others, last = [f'"{one}"' for one in _find_choices(kind, path)]
        problem = f'cannot be "{value[1]}"; use {", ".join(others)} or {last}'
    else:
        problem = f"is invalid: {what}"
    return f"{find_line(text, path)}: {name} {problem}."


def find_line(text: str, path: Path) -> str:
    """Return the line of the statement that sets a path, as ", line 3"; "" if the file does not have it.

    Names are compared without regard to case and "_", because settings of models may be written `topP` or
    `top_p`. If the file lacks the end of the path, the line is that of the longest beginning it has.
    """
    lines = text.split("\n")
    while path and not _has(tomllib.loads(text), path):
        path = path[:-1]
    if not path:
        return ""
    low, high = 0, len(lines)  # a statement ends with line `low`, and the file up to there lacks the path
    while high - low > 1:
        middle = (low + high) // 2
        end, data = _parse_beginning(lines, middle)
        if _has(data, path):
            high = middle
        else:
            low = end
    return f", line {high}"


def _parse_beginning(lines: Sequence[str], count: int) -> tuple[int, Mapping[str, Any]]:
    """Parse the first `count` lines and the rest of the statement that they end in; return the last line."""
    for end in range(count, len(lines)):
        try:
            return end, tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            pass  # it ends inside of a statement
    return len(lines), tomllib.loads("\n".join(lines))


def _has(data: object, path: Path) -> bool:
    for step in path:
        key = _find_key(data, step)
        if key is None:
            return False
        data = cast("Any", data)[key]
    return True


def _find_key(data: object, step: str | int) -> str | int | None:
    if isinstance(data, list) and isinstance(step, int):
        return step if step < len(cast("list[object]", data)) else None
    if not isinstance(data, dict) or isinstance(step, int):
        return None
    names = cast("dict[str, object]", data)
    if step in names:
        return step
    return next((name for name in names if _plain(name) == _plain(step)), None)


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()


def _name(path: Path) -> str:
    if not path:
        return "the file"
    *above, last = path
    if isinstance(last, int):
        return f"each value of {above[-1]}"
    if len(path) == 2 and above[0] in ("providers", "models"):
        return f"{above[0]}.{last}" if re.fullmatch(r"[\w-]+", last) else f'{above[0]}."{last}"'
    return last


def _find_problem(data: dict[str, Any], kind: type[msgspec.Struct]) -> tuple[str, list[str | int]]:
    """Return what is wrong in the words of msgspec, and the path with the names that stand for `[...]`."""
    what, path = _validate(data, kind)
    steps: list[str | int] = []
    for name, entry in re.findall(r"\.([^.\[\]]+)|\[(\.\.\.|\d+)\]", path):
        if entry != "...":
            steps.append(name or int(entry))
            continue
        table = _get(data, steps)
        for key, value in cast("dict[str, object]", table).items():
            reduced = _replace(data, steps, {key: value})
            if _validate(reduced, kind) == (what, path):
                data = reduced
                steps.append(key)
                break
    return what, steps


def _validate(data: object, kind: type[msgspec.Struct]) -> tuple[str, str]:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        return what, path.rstrip("`")
    return "", ""


def _get(data: Any, path: Path) -> object:
    for step in path:
        data = data[step]
    return data


def _replace(data: Any, path: Path, value: object) -> Any:
    if not path:
        return value
    return {**data, path[0]: _replace(data[path[0]], path[1:], value)}


def _find_choices(kind: type[msgspec.Struct], path: Path) -> Sequence[object]:
    """Return the values that the setting of a path may have."""
    info: Any = msgspec.inspect.type_info(kind)
    for step in path:
        match info:
            case msgspec.inspect.StructType():
                info = next(field.type for field in info.fields if field.encode_name == step)
            case msgspec.inspect.DictType():
                info = info.value_type
            case msgspec.inspect.ListType():
                info = info.item_type
            case _:
                pass
        if isinstance(info, msgspec.inspect.UnionType):
            info = next(one for one in info.types if not isinstance(one, msgspec.inspect.NoneType))
    return cast("msgspec.inspect.LiteralType", info).values
