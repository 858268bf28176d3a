"""The command of `parley chat` that lists the sources of the last answer and opens one."""

from collections.abc import Sequence

from parley_clients.cli.conversation.outcomes import Context, OpenFile, Outcome, Show
from parley_clients.cli.errors import CommandError
from parley_clients.cli.steps import source_place, visible_line
from parley_clients.context.sources import Source

_EXCERPT = 60
_ORIGINS = {"reference": "you named it", "tool": "the model looked for it"}


def sources(context: Context, argument: str) -> Outcome:
    """List the sources of the last answer, or open one by its number or its id."""
    found = context.chat.sources()
    if not argument:
        if not found:
            return Show("The last answer has no sources.")
        rows = [_describe(number, one) for number, one in enumerate(found, 1)]
        return Show("\n".join([*rows, "/sources N opens one in $EDITOR, at its line."]))
    chosen = _choose(found, argument)
    place = chosen.find_place()
    return (
        Show(visible_line(chosen.url)) if place is None else OpenFile(place.path, place.line, place.problem)
    )


def _choose(found: Sequence[Source], argument: str) -> Source:
    if argument.isdecimal() and 1 <= int(argument) <= len(found):
        return found[int(argument) - 1]
    named = [one for one in found if one.id.lower() == argument.strip("[]").lower()]
    if not named:
        raise CommandError(f"The last answer has no source {visible_line(argument)}. /sources lists them.")
    return named[0]


def _describe(number: int, source: Source) -> str:
    id = "" if source.id == source.url else visible_line(source.id)
    words = next((line.strip() for line in source.text.splitlines() if line.strip()), "")
    notes = ["cited" if source.is_cited else "", _ORIGINS.get(source.origin or "", "")]
    place = source.find_place()
    if place is not None and place.problem is not None:
        notes.append(place.problem[0].lower() + place.problem[1:].rstrip("."))
    shown = [f"{number}", id, source_place(source.raw), ", ".join([note for note in notes if note])]
    excerpt = f"\n   {visible_line(words[:_EXCERPT])}" if words else ""
    return "  ".join([field for field in shown if field]) + excerpt
