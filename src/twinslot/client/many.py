"""Calls for many boards at once, where a service has no call for all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 10
"""Calls on their way at the same time: as many as connections that botocore keeps open."""


Counted = Callable[[int, int], None]
"""It is told how many of how many calls are done."""


def unseen(_done: int, _every: int) -> None:
    """Count for nobody."""


def each(
    call: Callable[[Item], Result], items: Iterable[Item], counted: Counted = unseen
) -> list[Result]:
    """Return the results of a call for each item, in the order of the items.

    Raises the error of the first item that has one; what was not begun by then is left out.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [pool.submit(call, item) for item in items]
        results = []
        try:
            for done in calls:
                results.append(done.result())
                counted(len(results), len(calls))
            return results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
