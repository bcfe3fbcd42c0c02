"""Calls for many boards at once, where a service has no call for all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 10
"""Calls on their way at the same time: as many as connections that botocore keeps open."""


def each(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the results of a call for each item, in the order of the items.

    Raises the error of the first item that has one; what was not begun by then is left out.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [pool.submit(call, item) for item in items]
        try:
            return [done.result() for done in calls]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
