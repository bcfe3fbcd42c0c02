"""A log that strangers cannot fill: of lines of one kind the first are printed, the rest counted.

Lines are of one kind when one statement of the program makes them, whatever it tells.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SHOWN = 5  # lines of one kind in each span
SPAN = 60.0  # seconds
_KINDS = 1000  # more are not told apart: a library may put what it tells into the statement


@dataclass
class _Kind:
    record: logging.LogRecord
    until: float
    lines: int = 0


class CountingHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Prints to standard error. `clock` returns seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._counting = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, or count it. What was counted is told with the first line of later."""
        now = self._clock()
        with self._counting:
            self._tell(now)
            name = (record.name, record.levelno, str(record.msg))
            if name not in self._kinds and len(self._kinds) >= _KINDS:
                name = ("", 0, "")
            kind = self._kinds.setdefault(name, _Kind(record, now + SPAN))
            kind.lines += 1
            if kind.lines <= SHOWN:
                super().emit(record)

    def close(self) -> None:
        """Tell what was counted."""
        with self._counting:
            self._tell(float("inf"))
        super().close()

    def _tell(self, now: float) -> None:
        for name, kind in [*self._kinds.items()]:
            if now < kind.until:
                continue
            del self._kinds[name]
            if kind.lines > SHOWN:
                record = logging.makeLogRecord({**vars(kind.record), "exc_info": None})
                record.exc_text = record.stack_info = None
                record.msg = f"{kind.lines - SHOWN} more like this: {kind.record.getMessage()}"
                record.args = ()
                super().emit(record)
