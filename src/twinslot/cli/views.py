"""A job until its end, as bars on a terminal and as lines elsewhere (client.watch.View).

The bars are drawn from the blocks that the service has served, because boards report their
progress seldom. Of more boards than the screen has room for, the bars count how many are where, and
only boards that end badly are named.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)

from twinslot.cli.say import say
from twinslot.client.many import Counted
from twinslot.client.watch import RECEIVING, Board, View, stages
from twinslot.formats import aws
from twinslot.text import printable

MOST_BARS = 20
_NAME, _BAR, _PART = 24, 24, 10  # characters of the columns
_OTHER_LINES = 4  # of a screen, for the command and what is said about the service


def progress_view(console: Console | None = None) -> View:
    """The view that fits where the output goes. console: standard output's, unless it is given."""
    console = console or Console()
    return _Bars(console) if console.is_terminal else _Lines(say)


@contextlib.contextmanager
def counting(what: str, console: Console | None = None) -> Iterator[Counted]:
    """Show on a terminal how many of many calls are done, and remove that at the end.

    what: the things that are counted; console: standard error's, unless it is given, so that
    standard output has the result alone. Of few calls nothing is shown.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn(what, markup=False), BarColumn(bar_width=_BAR), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=None, visible=False)

        def counted(done: int, every: int) -> None:
            bars.update(task, completed=done, total=every, visible=every > MOST_BARS)

        yield counted


@contextlib.contextmanager
def measuring(what: str, console: Console | None = None) -> Iterator[Counted]:
    """Show on a terminal how far a work is that takes seconds, and remove that at the end.

    what: the work; console: as of `counting`.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn(what, markup=False), BarColumn(bar_width=_BAR), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=None, visible=False)
        yield lambda done, every: bars.update(task, completed=done, total=every, visible=True)


class _Failures:
    """The boards that have ended badly since the last look."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self, boards: Iterable[Board]) -> list[Board]:
        found = [
            board
            for board in boards
            if board.progress.ended
            and board.progress.status != aws.SUCCEEDED
            and board.progress.thing not in self._told
        ]
        self._told.update(board.progress.thing for board in found)
        return found


class _Bars:
    """One bar for each board; of many boards one for each stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[part]}", markup=False),
            TextColumn("{task.fields[words]}", markup=False),  # a board's own
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._failures = _Failures()

    def __enter__(self) -> "_Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, text: str) -> None:
        self._console.print(printable(text), soft_wrap=True, markup=False, highlight=False)

    def show(self, boards: Sequence[Board]) -> None:
        if len(boards) > min(MOST_BARS, self._console.height - _OTHER_LINES):
            self._show_many(boards)
            return
        for board in boards:
            self._bar(board.progress.thing, board.percent, f"{board.percent:>3} %", board.words)

    def _show_many(self, boards: Sequence[Board]) -> None:
        for board in self._failures.new(boards):
            self.tell(f"{board.progress.thing}  {board.words}")
        found = stages(boards)
        for name in {*found, *self._tasks}:
            there = found.get(name, [])
            words = ""
            if name == RECEIVING and there:
                words = f"{sum(board.percent for board in there) // len(there)} % each"
            part = f"{len(there)} of {len(boards)}"
            self._bar(name, 100 * len(there) / len(boards), part, words)

    def _bar(self, name: str, percent: float, part: str, words: str) -> None:
        name = _cut(printable(name), _NAME)
        room = self._console.width - max(map(len, (name, *self._tasks))) - _BAR - _PART - 3
        words = _cut(printable(words), max(room, _NAME))
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=100, part=part, words=words)
        self._bars.update(self._tasks[name], completed=percent, part=part, words=words)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


class _Lines:
    """One line for each change, and for each tenth of the package; of many boards their number."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._shown: dict[str, str] = {}
        self._failures = _Failures()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, boards: Sequence[Board]) -> None:
        if len(boards) > MOST_BARS:
            for board in self._failures.new(boards):
                self.tell(f"{board.progress.thing}  {board.words}")
            counts = [f"{len(there)} {name}" for name, there in stages(boards).items()]
            self._tell_change("", ", ".join(counts))
            return
        for board in boards:
            words = board.words
            if words == RECEIVING:
                words = f"receiving {board.percent // 10 * 10} %"
            self._tell_change(f"{board.progress.thing}  ", words)

    def _tell_change(self, of: str, words: str) -> None:
        if self._shown.get(of) != words:
            self._shown[of] = words
            self.tell(f"{of}{words}")
