"""A job until its end, as bars on a terminal and as lines elsewhere (client.watch.View).

The bars are drawn from the blocks that the service has served, because boards report their
progress seldom.
"""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from twinslot.cli.say import say
from twinslot.client.watch import Board, View
from twinslot.text import printable


def progress_view(console: Console | None = None) -> View:
    """The view that fits where the output goes. console: standard output's, unless it is given."""
    console = console or Console()
    return _Bars(console) if console.is_terminal else _Lines(say)


class _Bars:
    """One bar for each board."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[words]}", markup=False),  # a board's own
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, text: str) -> None:
        self._console.print(printable(text), soft_wrap=True, markup=False, highlight=False)

    def show(self, boards: Sequence[Board]) -> None:
        for board in boards:
            name = printable(board.progress.thing)
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=100, words="")
            words = printable(board.words)
            self._bars.update(self._tasks[name], completed=board.percent, words=words)


class _Lines:
    """One line for each change, and for each tenth of the package."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._shown: dict[str, str] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, boards: Sequence[Board]) -> None:
        for board in boards:
            name, words = board.progress.thing, board.words
            if words == "receiving":
                words = f"receiving {board.percent // 10 * 10} %"
            if self._shown.get(name) != words:
                self._shown[name] = words
                self.tell(f"{name}  {words}")
