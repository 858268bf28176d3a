"""Searches folders for the passages that answer a question.

Theory of operation. For each phrasing and folder, the index gives the chunks that words alone put first; the
rules of `ranking` order them, and the phrasings are fused. The texts of the best chunks are then read from
their files. A file that is not what was indexed any more is laid over the index as it is now, reported as
changed, and the search is repeated; so every passage is in its file as it was found.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from time import monotonic

from parley_daemon.adapters.context.frames import FindNames, Search
from parley_daemon.adapters.context.worker.database import ChunkRow, Database
from parley_daemon.adapters.context.worker.indexer import Indexer
from parley_daemon.adapters.context.worker.overlay import Laid, Overlay
from parley_daemon.adapters.context.worker.places import Place, Places
from parley_daemon.adapters.context.worker.ranking import Candidate, choose_terms, fuse, weigh
from parley_daemon.adapters.context.worker.sources.chunking import split_lines
from parley_daemon.adapters.context.worker.sources.reading import read_file, read_same
from parley_daemon.adapters.context.worker.words import Question
from parley_daemon.ports.context import ContextError, Found, IndexState, NamedPlace, Passage

CANDIDATES = 120
"""Chunks of a folder that the rules order, for each phrasing."""

MAX_ROWS = 50_000
"""Chunks that are looked through when filters leave out most of them."""

MAX_TERMS = 16
"""Words of a phrasing that are looked up: the rarest ones."""

MAX_NAMES = 5_000
"""Chunks in which a name is looked for."""

ROUNDS = 3
_WORD = re.compile(r"\w+")

_STATES: tuple[IndexState, ...] = ("none", "indexing", "partial", "ready")


class Searcher:
    """Answers searches. Used by one thread."""

    def __init__(self, indexer: Indexer, left_out: tuple[str, ...]) -> None:
        self._indexer = indexer
        self._overlay = Overlay()
        self._places = Places(indexer, self._overlay, left_out)

    def search(self, request: Search) -> tuple[Found, bool]:
        """Return the answer, and whether a folder was not looked at completely yet.

        Raises:
            ContextError: see there.
        """
        begun = monotonic()
        places = self._places.folders(request.scope, request.documents)
        questions = [Question(query) for query in request.queries[:4]]
        singles = self._places.single_files(request.scope, request.documents, places)
        passages: list[Passage] = []
        for number in range(ROUNDS):
            rankings = [self._rank(places, singles, question) for question in questions]
            passages, is_current = self._read(fuse(rankings), places, singles, request)
            if is_current or number == ROUNDS - 1:
                break
        states: list[IndexState] = [place.root.state for place in places]
        if not passages and states and all(state == "none" for state in states):
            raise ContextError(places[0].root.problem or f"{places[0].shown} cannot be searched.")
        state: IndexState = min(states, key=_STATES.index) if states else "ready"
        is_first = any(place.root.scanned_at is None and place.root.problem is None for place in places)
        return Found(tuple(passages), state, (monotonic() - begun) * 1000), is_first

    def find_names(self, request: FindNames) -> tuple[list[NamedPlace], bool]:
        """Return files or definitions by name, and whether a folder was not looked at completely yet."""
        places = self._places.folders(request.scope, ())
        found: list[tuple[tuple[int, ...], NamedPlace]] = []
        for place in places:
            reader = place.root.reader()
            if reader is None:
                continue
            try:
                if request.kind == "file":
                    found += _find_files(reader.paths(), request.text, place)
                else:
                    found += _find_symbols(reader, request.text, place)
            except sqlite3.Error as error:
                place.root.note_failure(error)
        found.sort(key=lambda one: (one[0], one[1].path, one[1].line))
        is_first = any(place.root.scanned_at is None and place.root.problem is None for place in places)
        return [one for _, one in found[: request.limit]], is_first

    # ------------------------------------------------------------------------------ what fits

    def _rank(self, places: Sequence[Place], singles: dict[str, Laid], question: Question) -> list[Candidate]:
        """Return the chunks that fit one phrasing, the best first."""
        if not question.terms:
            return []
        found: dict[tuple[str, int], Candidate] = {}
        for place in places:
            for row, score in self._find(place, question):
                real = f"{place.root.path}/{row.path}"
                found.setdefault(
                    (real, row.first), Candidate(f"{place.shown}/{row.path}", place.shown, row, score)
                )
        if singles:
            laid = list(singles.values())
            counts = dict.fromkeys(question.terms, 1)
            by_row = {id: path for path, one in singles.items() for id in one.chunks}
            for row, score in self._overlay.score(laid, question.terms, counts, 1_000):
                path = by_row[row.id]
                found[path, row.first] = Candidate(path, "", row, score)
        return weigh(list(found.values()), question)

    def _find(self, place: Place, question: Question) -> list[tuple[ChunkRow, float]]:
        reader = place.root.reader()
        counts, total = dict.fromkeys(question.terms, 1), 1_000
        terms: Sequence[str] = question.terms
        found: list[tuple[ChunkRow, float]] = []
        if reader is not None:
            try:
                counts, limit, total = place.root.count_words(reader, question.terms)
                terms = choose_terms(question.terms, counts, limit, MAX_TERMS)
                rows = CANDIDATES
                while terms:
                    scored = reader.search(terms, rows)
                    found = _visible(place, reader, scored)
                    if len(found) >= CANDIDATES // 5 or len(scored) < rows or rows >= MAX_ROWS:
                        break
                    rows *= 20
            except sqlite3.Error as error:
                place.root.note_failure(error)
        laid = [one for path, one in place.laid.items() if one is not None and place.filter.allows(path)]
        if laid:
            words = list(dict.fromkeys([*terms, *[one for one in question.terms if counts.get(one, 0) == 0]]))
            found += self._overlay.score(laid, words, counts, total)
        return found

    # ------------------------------------------------------------------------------ what is there

    def _read(
        self, ranking: Sequence[Candidate], places: Sequence[Place], singles: dict[str, Laid], request: Search
    ) -> tuple[list[Passage], bool]:
        """Return passages with their texts, and whether all of their files are as they were indexed."""
        by_shown = {place.shown: place for place in places}
        texts: dict[str, Laid | None] = dict(singles)
        lines: dict[str, list[str]] = {}
        room, is_current = request.max_bytes, True
        passages: list[Passage] = []
        for one in ranking:
            if len(passages) >= request.limit or room <= 0:
                break
            if one.path not in texts:
                texts[one.path], is_same = self._current(by_shown[one.root], one)
                is_current = is_current and is_same
            laid = texts[one.path]
            if laid is None or laid.hash != one.row.hash:
                continue
            if one.path not in lines:
                lines[one.path] = split_lines(laid.text)
            passage = _cut(one, lines[one.path], room)
            if passage is None:
                continue
            room -= len(passage.text.encode("utf-8", "replace"))
            passages.append(passage)
        return passages, is_current

    def _current(self, place: Place, one: Candidate) -> tuple[Laid | None, bool]:
        """Return the text of a file, and whether it is the one that was indexed."""
        path = one.row.path
        if path in place.laid:
            return place.laid[path], True
        text = read_same(place.root.path, path, one.row.hash)
        if text is not None:
            return Laid(text, one.row.hash, {}), True
        file = read_file(place.root.path, path)
        self._indexer.notice(f"{place.root.path}/{path}")
        is_text = file is not None and file.reason is None
        place.laid[path] = self._overlay.lay(path, file.text, file.hash) if file and is_text else None
        return place.laid[path], False


def _visible(
    place: Place, reader: Database, scored: Sequence[tuple[int, float]]
) -> list[tuple[ChunkRow, float]]:
    """Return those of the chunks that are alive, may be seen, and are not laid over."""
    found: list[tuple[ChunkRow, float]] = []
    for at in range(0, len(scored), 500):
        some = scored[at : at + 500]
        rows = reader.chunks([id for id, _ in some])
        for id, score in some:
            row = rows.get(id)
            if row is not None and row.path not in place.laid and place.filter.allows(row.path):
                found.append((row, score))
        if len(found) >= CANDIDATES:
            break
    return found


def _cut(one: Candidate, lines: list[str], room: int) -> Passage | None:
    """Return the lines of a chunk, as many of them as there is room for; None: for too few of them."""
    first, last = one.row.first, min(one.row.last, len(lines))
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    size = 0
    end = first
    while end < last:
        size += len(lines[end].encode("utf-8", "replace")) + 1
        if size - 1 > room:
            break
        end += 1
    if end == first or (end < last and end - first < 5):
        return None
    text = "\n".join(lines[first:end])
    return Passage(one.path, one.root, first + 1, end, text, one.row.hash, round(one.score, 6))


def _find_symbols(reader: Database, text: str, place: Place) -> list[tuple[tuple[int, ...], NamedPlace]]:
    wanted = text.lower()
    word = next(iter(_WORD.findall(wanted)), "")
    found: list[tuple[tuple[int, ...], NamedPlace]] = []
    if not word:
        return found
    for path, names in reader.chunks_with_names(word, MAX_NAMES):
        if not place.filter.allows(path):
            continue
        for one in names.split():
            name, _, line = one.rpartition(":")
            if name.lower().startswith(wanted):
                found.append(
                    ((len(name),), NamedPlace(name, f"{place.shown}/{path}", place.shown, int(line) + 1))
                )
    return found


def _find_files(paths: Iterable[str], text: str, place: Place) -> list[tuple[tuple[int, ...], NamedPlace]]:
    wanted = text.lower()
    found: list[tuple[tuple[int, ...], NamedPlace]] = []
    for path in paths:
        lower = path.lower()
        if wanted not in lower or not place.filter.allows(path):
            continue
        name = lower.rpartition("/")[2]
        order = 0 if name.startswith(wanted) else 1 if wanted in name else 2
        shown = f"{place.shown}/{path}"
        found.append(((order, len(path)), NamedPlace(path.rpartition("/")[2], shown, place.shown)))
    return found
