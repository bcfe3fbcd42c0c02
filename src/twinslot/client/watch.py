"""A job until its end, look by look; whoever shows it brings a View.

A service that is away for a while, such as one being restarted, is waited for.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from twinslot.client import report
from twinslot.client.clients import Clients, translated
from twinslot.config import Config
from twinslot.errors import FleetError, InterruptedByUserError, UnreachableError
from twinslot.formats import aws

PATIENCE = 60  # seconds that the service may be away
POLL = 0.5  # seconds between two looks


class WatchTimeoutError(FleetError):
    """The time is over and boards are not done yet."""

    exit_code = 5


@dataclass(frozen=True)
class Board:
    """The state of one board's part in the job; bytes of the package."""

    progress: report.Progress
    served: int
    size: int

    @property
    def percent(self) -> int:
        """How much of the package was served."""
        return 100 * self.served // self.size if self.size else 0

    @property
    def words(self) -> str:
        """Where the board is, for people."""
        return phase(self.progress)


class View(AbstractContextManager[object], Protocol):
    """The place where a job is shown: entered before the first look, left after the last."""

    def tell(self, text: str) -> None:
        """Show a sentence about the service."""

    def show(self, boards: Sequence[Board]) -> None:
        """Show how far the boards are now."""


def phase(progress: report.Progress) -> str:
    """A state in words, with what the board says about it."""
    details = progress.details
    if progress.ended:
        said = [details[name] for name in ("reason", "cause", "detail") if name in details]
        return ": ".join([progress.status, *said])
    if progress.status == "QUEUED":
        return "waiting for the board"
    if "self_test" in details:
        return f"self-test {details['self_test']}"
    return "receiving"


def watch(config: Config, job_id: str, timeout: float | None, view: View) -> bool:
    """Show a job until all its executions have ended; True when all of them aws.SUCCEEDED.

    `timeout` in seconds. Raises WatchTimeoutError, UnreachableError when the service stays away
    for PATIENCE, RefusedError for an unknown job, FleetError for one that is no board's, and
    InterruptedByUserError at Ctrl-C: the job goes on.
    """
    try:
        with view:
            for boards in _looks(config, job_id, timeout, view.tell):
                if not boards:
                    raise FleetError(f"job {job_id} is no board's: its executions were deleted")
                view.show(boards)
                if all(board.progress.ended for board in boards):
                    return all(board.progress.status == aws.SUCCEEDED for board in boards)
    except KeyboardInterrupt as error:
        raise InterruptedByUserError(
            f"interrupted; job {job_id} goes on: `fleet watch {job_id}` shows it, `fleet cancel "
            f"{job_id} --force` ends it"
        ) from error
    raise WatchTimeoutError(f"job {job_id} has not ended within {timeout} s")


def _looks(
    config: Config, job_id: str, timeout: float | None, tell: Callable[[str], None]
) -> Iterator[list[Board]]:
    """The state of the job, again and again until the time is over."""
    end = None if timeout is None else time.monotonic() + timeout
    clients: Clients | None = None
    away_since: float | None = None
    while end is None or time.monotonic() < end:
        try:
            with translated():
                clients = clients or Clients(config)
                boards = _look(clients, job_id)
        except UnreachableError as error:
            clients = None  # a service that was started again may listen elsewhere
            if away_since is None:
                away_since = time.monotonic()
                tell(f"{error}; waiting for it")
            elif time.monotonic() - away_since > PATIENCE:
                raise
        else:
            away_since = None
            yield boards
        time.sleep(POLL)


def _look(clients: Clients, job_id: str) -> list[Board]:
    served = clients.served(job_id)
    return [
        Board(progress, served["things"].get(progress.thing, {}).get("bytes", 0), served["size"])
        for progress in report.of_job(clients, job_id)
    ]
