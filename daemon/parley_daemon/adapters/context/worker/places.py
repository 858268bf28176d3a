"""The folders and single files that a search covers, with the texts that are laid over them."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from parley_daemon.adapters.context.frames import Document
from parley_daemon.adapters.context.worker.indexer import Indexer
from parley_daemon.adapters.context.worker.overlay import MAX_TEXT, Laid, Overlay
from parley_daemon.adapters.context.worker.roots import Root, find_refusal
from parley_daemon.adapters.context.worker.scopes import Filter, allows_file
from parley_daemon.adapters.context.worker.sources.exclusion import find_reason
from parley_daemon.adapters.context.worker.sources.reading import read_file
from parley_daemon.ports.context import ContextError, ContextScope, hash_text

MAX_FILES = 200
"""Single files of a scope that are searched."""


class Place(msgspec.Struct, frozen=True):
    """A folder of a scope. `shown` is its path there. `laid`: texts in place of files, by path."""

    root: Root
    shown: str
    filter: Filter
    laid: dict[str, Laid | None]


class Places:
    """Finds what a search covers. `left_out`: folders that are in no index."""

    def __init__(self, indexer: Indexer, overlay: Overlay, left_out: tuple[str, ...]) -> None:
        self._indexer = indexer
        self._overlay = overlay
        self._left_out = left_out

    def folders(self, scope: ContextScope, documents: Sequence[Document]) -> list[Place]:
        """Return the folders of a scope, the innermost first; all of them begin to be indexed.

        Raises:
            ContextError: there is nothing to search.
        """
        places: list[Place] = []
        refusal: str | None = None
        for shown in scope.roots:
            real = os.path.realpath(shown)
            problem = find_refusal(real, os.environ, self._left_out)
            if problem is None and not os.path.isdir(real):
                problem = f"{shown} is not a folder."
            if problem is not None:
                refusal = refusal or problem
                continue
            if any(place.root.path == real for place in places):
                continue
            root = self._indexer.use(real)
            place = Place(root, shown.rstrip("/"), Filter(scope, shown, real), {})
            self._lay_documents(place, documents)
            places.append(place)
        if refusal is not None and not places and not scope.files:
            raise ContextError(refusal)
        # The deepest first: a file of nested folders belongs to the innermost one.
        return sorted(places, key=lambda place: -place.root.path.count("/"))

    def _lay_documents(self, place: Place, documents: Sequence[Document]) -> None:
        """Let open documents take the place of their files."""
        reader = place.root.reader()
        for document in documents:
            if not document.path.startswith(f"{place.root.path}/"):
                continue
            path = document.path[len(place.root.path) + 1 :]
            if find_reason(path) is not None or path.startswith(".git/") or len(document.text) > MAX_TEXT:
                continue
            known = None
            if reader is not None:
                try:
                    known = reader.known_file(path)
                except sqlite3.Error as error:
                    place.root.note_failure(error)
            if known is None and os.path.lexists(document.path):
                continue  # git ignores it, or it is not indexed yet
            if known is not None and known.hash is None:
                continue
            hash = hash_text(document.text)
            place.laid[path] = self._overlay.lay(path, document.text, hash)

    def single_files(
        self, scope: ContextScope, documents: Sequence[Document], places: Sequence[Place]
    ) -> dict[str, Laid]:
        """Return the single files of a scope that lie in none of its folders."""
        texts = {document.path: document.text for document in documents}
        found: dict[str, Laid] = {}
        for path in scope.files[:MAX_FILES]:
            real = os.path.realpath(path)
            if not allows_file(scope, path, real) or any(
                real.startswith(f"{place.root.path}/") and self._is_known(place, real) for place in places
            ):
                continue
            folder, name = os.path.split(real)
            text = texts.get(real)
            if text is None:
                file = read_file(folder, name)
                if file is None or file.reason not in (None, "generated"):
                    continue
                found[path] = self._overlay.lay(name, file.text, file.hash)
            elif len(text) <= MAX_TEXT:
                found[path] = self._overlay.lay(name, text, hash_text(text))
        return found

    def _is_known(self, place: Place, real: str) -> bool:
        path = real[len(place.root.path) + 1 :]
        if path in place.laid:
            return place.filter.allows(path)
        reader = place.root.reader()
        with suppress(sqlite3.Error):
            known = None if reader is None else reader.known_file(path)
            return known is not None and known.hash is not None and place.filter.allows(path)
        return False
