"""A job until its end, look by look; whoever shows it brings a View.

A service that is away for a while, such as one being restarted, is waited for.
"""

import re
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from twinslot.client import report
from twinslot.client.clients import Clients, translated
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.errors import FleetError, InterruptedByUserError, UnreachableError
from twinslot.formats import aws, document
from twinslot.text import natural, printable

PATIENCE = 60  # seconds that the service may be away
_AWAY = 0.5  # seconds between two tries to reach it
WAITING, RECEIVING = "waiting", "receiving"
_RECEIVED = re.compile(r"(\d{1,9})/(\d{1,9})")  # blocks; in a job's details
_MOST_NAMED = 12  # boards that ended alike


class WatchTimeoutError(FleetError):
    """The time is over and boards are not done yet."""

    exit_code = 5


@dataclass(frozen=True)
class Board:
    """The state of one board's part in the job; `percent` of the package that it has."""

    progress: report.Progress
    percent: int

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


def stage(progress: report.Progress) -> str:
    """A state in one or two words, which many boards share."""
    if progress.ended:
        return progress.status
    if progress.status == "QUEUED":
        return WAITING
    return "self-test" if "self_test" in progress.details else RECEIVING


def stages(boards: Sequence[Board]) -> dict[str, list[Board]]:
    """The boards by their stage, those that have ended last, the good ones first of these."""
    found: dict[str, list[Board]] = defaultdict(list)
    for board in boards:
        found[stage(board.progress)].append(board)
    order = (WAITING, RECEIVING, "self-test", aws.SUCCEEDED)
    known = {name: place for place, name in enumerate(order)}
    return {name: found[name] for name in sorted(found, key=lambda n: (known.get(n, 9), n))}


def summary(boards: Sequence[Board]) -> Iterator[str]:
    """The end of a job in lines of at most 80 characters: how many boards, and which failed why."""
    good = sum(board.progress.status == aws.SUCCEEDED for board in boards)
    yield f"{good} of {len(boards)} boards SUCCEEDED"
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for board in boards:
        if board.progress.status != aws.SUCCEEDED:
            name = stage(board.progress)
            alike[name, board.progress.details.get("cause", "")].append(board.progress.thing)
    for (name, cause), things in sorted(alike.items(), key=lambda item: -len(item[1])):
        more = f" and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else ""
        head = f"  {len(things):>3} {name}{f', {cause}' if cause else ''}: "
        names = ", ".join(printable(thing) for thing in things[:_MOST_NAMED])
        yield from textwrap.wrap(
            names + more, report.WIDTH, initial_indent=head, subsequent_indent=" " * 6
        )


def watch(config: Config, job_id: str, timeout: float | None, view: View) -> bool:
    """Show a job until all its executions have ended, and no more come; True when all SUCCEEDED.

    A job in stages, or one that is scheduled, is not over while things wait for their turn.

    `timeout` in seconds. Raises WatchTimeoutError, UnreachableError when the service stays away
    for PATIENCE, RefusedError for an unknown job, FleetError for one that is no board's, and
    InterruptedByUserError at Ctrl-C: the job goes on.
    """
    boards: list[Board] = []
    over = False
    try:
        with view:
            for boards, over in _looks(config, job_id, timeout, view.tell):
                if over and not boards:
                    raise FleetError(f"job {job_id} is no board's: its executions were deleted")
                view.show(boards)
                if over:
                    break
            _sum_up(boards, view)
    except KeyboardInterrupt as error:
        raise InterruptedByUserError(
            f"interrupted; job {job_id} goes on: `fleet watch {job_id}` shows it, `fleet cancel "
            f"{job_id} --force` ends it"
        ) from error
    if not over:
        raise WatchTimeoutError(f"job {job_id} has not ended within {timeout} s")
    return all(board.progress.status == aws.SUCCEEDED for board in boards)


def watch_all(
    config: Config,
    job_id: str,
    timeout: float | None,
    views: Callable[[], View],
    say: Callable[[str], None],
) -> bool:
    """Watch a job, and then the one that brings the full package to boards that it failed on.

    True when every board SUCCEEDED in one of the two. views: makes the place where a job is shown;
    the rest as of `watch`.
    """
    if watch(config, job_id, timeout, views()):
        return True
    clients = connect(config)
    followed = _executions(clients, document.full_job(job_id))
    if not followed:
        return False  # nothing was refused for being small
    full = document.full_job(job_id)
    say(f"job {full}: the full package, for boards that could not take the smaller one")
    ended = _executions(clients, job_id)
    failed = {thing for thing, one in ended.items() if one.status != aws.SUCCEEDED}
    return watch(config, full, timeout, views()) and failed <= followed.keys()


def last(clients: Clients, job_id: str, thing: str) -> report.Progress:
    """The last execution on a thing of a job, or of the one with the full package after it."""
    followed = _executions(clients, document.full_job(job_id))
    return followed.get(thing) or _executions(clients, job_id)[thing]


def _executions(clients: Clients, job_id: str) -> dict[str, report.Progress]:
    """The executions of a job by thing, none of an unknown job."""
    try:
        return {one.thing: one for one in report.of_job(clients, job_id)}
    except clients.iot.exceptions.ResourceNotFoundException:
        return {}


def _sum_up(boards: Sequence[Board], view: View) -> None:
    if len(boards) > 1:
        for line in summary(boards):
            view.tell(line)


def _looks(
    config: Config, job_id: str, timeout: float | None, tell: Callable[[str], None]
) -> Iterator[tuple[list[Board], bool]]:
    """The boards of the job and whether it is over, again and again until the time is."""
    end = None if timeout is None else time.monotonic() + timeout
    clients: Clients | None = None
    away_since: float | None = None
    while end is None or time.monotonic() < end:
        try:
            with translated():
                clients = clients or connect(config)
                found = _look(clients, job_id)
        except UnreachableError as error:
            clients = None  # a service that was started again may listen elsewhere
            if away_since is None:
                away_since = time.monotonic()
                tell(f"{error}; waiting for it")
            elif time.monotonic() - away_since > PATIENCE:
                raise
        else:
            away_since = None
            yield found
        time.sleep(_AWAY if clients is None else clients.pause)


def _look(clients: Clients, job_id: str) -> tuple[list[Board], bool]:
    served = clients.served(job_id)
    boards = [
        Board(progress, _percent(progress, served.get(progress.thing)))
        for progress in sorted(report.of_job(clients, job_id), key=lambda one: natural(one.thing))
    ]
    return boards, all(board.progress.ended for board in boards) and not _goes_on(clients, job_id)


def _goes_on(clients: Clients, job_id: str) -> bool:
    """Whether the job will have more executions: it waits for its time, or rolls out."""
    job = clients.iot.describe_job(jobId=job_id)["job"]
    return job["status"] == "SCHEDULED" or bool(job.get("isConcurrent"))


def _percent(progress: report.Progress, served: tuple[int, int] | None) -> int:
    """How much of the package a board has: as the service has served it, or as the board says."""
    done, size = served or (0, 0)
    if not done:
        told = _RECEIVED.fullmatch(progress.details.get("receive", ""))
        done, size = (int(told[1]), int(told[2])) if told else (0, 0)
    if not done and (progress.status == aws.SUCCEEDED or "self_test" in progress.details):
        return 100
    return min(100, 100 * done // size) if size else 0
