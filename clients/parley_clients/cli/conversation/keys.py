"""The keys of the prompt, besides those of prompt_toolkit (Emacs keys, history, completion)."""

from collections.abc import Callable
from dataclasses import dataclass

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.filters import is_searching
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys as Key

# Shift-Enter and Ctrl-Enter of terminals that tell them apart (CSI u, and xterm's modifyOtherKeys) are
# Alt-Enter: they begin a new line.
for _code in ("13;2u", "13;5u", "27;2;13~", "27;5;13~"):
    ANSI_SEQUENCES[f"\x1b[{_code}"] = (Key.Escape, Key.ControlM)


@dataclass
class Keys:
    """What keys do. Each function is called without arguments."""

    on_submit: Callable[[], None]
    on_interrupt: Callable[[], None]
    on_end: Callable[[], None]
    on_edited: Callable[[], None]
    on_editor: Callable[[], None]
    on_suspend: Callable[[], None]


def make_key_bindings(keys: Keys, buffer: Buffer) -> KeyBindings:
    """Return the key bindings of the prompt with this buffer."""

    def enter(event: KeyPressEvent) -> None:
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # take the chosen completion; the next Enter sends
        elif buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            keys.on_submit()

    def begin_line(event: KeyPressEvent) -> None:
        buffer.insert_text("\n")

    def end(event: KeyPressEvent) -> None:
        if buffer.text:
            buffer.delete()
        else:
            keys.on_end()

    def complete(event: KeyPressEvent) -> None:
        state = buffer.complete_state
        if state is not None and len(state.completions) > 1:
            buffer.complete_next()
        else:
            event.app.create_background_task(_complete(buffer))

    bindings = KeyBindings()
    # Ctrl-J is Enter too: what is typed before the prompt is there arrives with line feeds.
    typing = ~is_searching  # Ctrl-R searches the history, with keys of its own
    for key in ("enter", "c-j"):
        bindings.add(key, filter=typing)(enter)
        bindings.add("escape", key, filter=typing)(begin_line)
    bindings.add("c-c", filter=typing)(_without_event(keys.on_interrupt))
    bindings.add("<sigint>")(_without_event(keys.on_interrupt))
    bindings.add("c-d", filter=typing)(end)
    bindings.add("tab", filter=typing)(complete)
    bindings.add("s-tab", filter=typing)(_without_event(buffer.complete_previous))
    bindings.add("c-x", "c-e")(_without_event(keys.on_editor))
    bindings.add("c-z")(_without_event(keys.on_suspend))
    return bindings


async def _complete(buffer: Buffer) -> None:
    """Insert the only completion, or what all have in common, and show the choices that follow.

    `Buffer.start_completion` would do nothing while the choices for the last typed key are being found.
    """
    document = buffer.document
    event = CompleteEvent(completion_requested=True)
    found = [one async for one in buffer.completer.get_completions_async(document, event)]
    if buffer.document != document or not found:
        return
    if len(found) == 1:
        buffer.apply_completion(found[0])
    else:
        buffer.insert_text(get_common_complete_suffix(document, found))
    buffer.start_completion()


def _without_event(function: Callable[[], None]) -> Callable[[KeyPressEvent], None]:
    def handle(event: KeyPressEvent) -> None:
        function()

    return handle
