"""What a terminal shows of the output of a program: as much of a terminal as the command line uses.

Understood are line feeds, carriage returns, movements of the cursor, and erasing. Colours and modes are
ignored. Characters are taken to be one column wide.
"""

import re

_ESCAPE = re.compile(r"\x1b(?:\[([?>]?)([\d;]*)([A-Za-z])|\][^\x07]*\x07|[=>78])")


class Screen:
    """A screen of this size. `lines` are its lines, without what has scrolled away, which is in `history`."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._row = self._column = 0
        self._wraps = True
        self._cells = [[" "] * columns for _ in range(rows)]
        self.history: list[str] = []
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The lines, without trailing blanks."""
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        """All lines, those that have scrolled away first."""
        return "\n".join([*self.history, *self.lines])

    def feed(self, output: str) -> None:
        """Show more output."""
        output, self._rest = self._rest + output, ""
        position = 0
        while position < len(output):
            char = output[position]
            if char == "\x1b":
                found = _ESCAPE.match(output, position)
                if found is None:
                    self._rest = output[position:] if len(output) - position < 40 else ""
                    return
                self._control(found)
                position = found.end()
                continue
            self._put(char)
            position += 1

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._feed_line()
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char >= " ":
            if self._column == self._columns:
                self._column = 0
                self._feed_line()
            self._cells[self._row][self._column] = char
            self._column += 1

    def _feed_line(self) -> None:
        if self._row + 1 < self._rows:
            self._row += 1
        else:
            self.history.append("".join(self._cells.pop(0)).rstrip())
            self._cells.append([" "] * self._columns)

    def _control(self, found: "re.Match[str]") -> None:
        private, numbers, name = found.groups()
        if name is None or private:
            return
        count = int(numbers.partition(";")[0] or (0 if name in "JK" else 1))
        match name:
            case "A":
                self._row = max(0, self._row - count)
            case "B":
                self._row = min(self._rows - 1, self._row + count)
            case "C":
                self._column = min(self._columns - 1, self._column + count)
            case "D":
                self._column = max(0, self._column - count)
            case "K":
                begin, end = ((self._column, self._columns), (0, self._column + 1), (0, self._columns))[count]
                self._cells[self._row][begin:end] = [" "] * (end - begin)
            case "J":
                self._cells[self._row][self._column :] = [" "] * (self._columns - self._column)
                for row in range(self._row + 1, self._rows):
                    self._cells[row] = [" "] * self._columns
            case _:
                pass
