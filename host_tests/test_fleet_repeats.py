"""The service's log: of ten thousand lines of one kind a few are printed, the rest counted."""

import io
import logging
from collections.abc import Iterator

import pytest

from twinslot.service.repeats import SHOWN, SPAN, CountingHandler


class Printed:
    """A logger with its handler, a clock that tests move, and the lines that were printed."""

    def __init__(self) -> None:
        self.now = 100.0
        self._text = io.StringIO()
        self.handler = CountingHandler(lambda: self.now)
        self.handler.setStream(self._text)
        self.log = logging.getLogger("test-of-repeats")
        self.log.propagate = False
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self._text.getvalue().splitlines()


@pytest.fixture
def printed() -> Iterator[Printed]:
    made = Printed()
    yield made
    made.log.removeHandler(made.handler)


def test_of_one_kind_the_first_lines_are_printed_and_the_rest_counted(printed: Printed) -> None:
    for number in range(10_000):
        printed.log.warning("peer %d hung up", number)
    assert printed.lines == [f"peer {number} hung up" for number in range(SHOWN)]
    printed.log.warning("another kind")
    assert printed.lines[SHOWN:] == ["another kind"]
    printed.now += SPAN
    printed.log.warning("peer %d hung up", 7)
    assert printed.lines[SHOWN + 1 :] == [
        f"{10_000 - SHOWN} more like this: peer 0 hung up",
        "peer 7 hung up",
    ]


def test_what_was_counted_is_told_at_the_end_at_the_latest(printed: Printed) -> None:
    for _ in range(SHOWN + 3):
        printed.log.warning("again")
    printed.handler.close()
    assert printed.lines[-1] == "3 more like this: again"
    assert len(printed.lines) == SHOWN + 1


def test_tracebacks_are_counted_too(printed: Printed) -> None:
    for _ in range(100):
        try:
            raise ValueError("always the same")
        except ValueError:
            printed.log.exception("failed")
    printed.handler.close()
    assert sum(line == "Traceback (most recent call last):" for line in printed.lines) == SHOWN
    assert printed.lines[-1] == f"{100 - SHOWN} more like this: failed"


def test_a_library_that_puts_all_it_tells_into_the_statement_is_bounded_too(
    printed: Printed,
) -> None:
    for number in range(5000):
        printed.log.warning(f"from port {number}")
    assert len(printed.lines) <= 1000 + SHOWN
