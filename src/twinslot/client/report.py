"""The results of updates, and the reports of boards: for `fleet status` and `fleet watch`."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.client import many
from twinslot.client.clients import Clients
from twinslot.client.shadow import Reported
from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.text import natural, printable

WIDTH = 80  # characters
MOST_LISTED = 20
"""With more boards than these, `fleet status` counts instead."""

_PAGES = {"PageSize": 250}  # things; AWS gives no more
_FIRST_DETAILS = ("reason", "detail", "cause", "version")
_NOT_KNOWN = "-"
_MOST_COUNTED = 8  # different values of which each has a line of its own
_ORIGINS = {"local": "by file", "person": "by rollback", "cable": "by cable"}
_HEADS = ("BOARD", "VERSION", "SEEN", "STATE", "CAUSE", "JOB")
_WIDEST = (20, 22, 12, 11, 14, WIDTH)  # characters of a column


@dataclass(frozen=True)
class Progress:
    """One execution: a job on a thing. Times are Unix seconds; `details` as the board set them."""

    thing: str
    job: str
    status: str
    details: Mapping[str, str]
    queued_at: int
    started_at: int | None
    updated_at: int
    description: str = ""

    @property
    def ended(self) -> bool:
        """True once nothing can change it any more."""
        return self.status in aws.TERMINAL


@dataclass(frozen=True)
class Board:
    """A thing: what it says of itself, and its updates, the newest first."""

    reported: Reported | None
    updates: Sequence[Progress]

    @property
    def seen(self) -> int | None:
        """When it last said anything, of itself or of an update (Unix seconds)."""
        moments = [u.updated_at for u in self.updates if u.status in aws.REPORTABLE]
        if self.reported is not None:
            moments.append(self.reported.at)
        return max(moments, default=None)

    @property
    def cause(self) -> str:
        """Why its last update failed, in a word; "" if it did not."""
        if self.reported is not None:
            return self.reported.cause
        return self.updates[0].details.get("cause", "") if self.updates else ""

    @property
    def version(self) -> str:
        """The running version, and the one who brought it, if that was no job."""
        found = self.reported
        if found is None or not found.version:
            return _NOT_KNOWN
        sequence = "" if found.sequence is None else f" ({found.sequence})"
        return f"{found.version}{sequence} {_ORIGINS.get(found.origin, '')}".rstrip()


def of_job(clients: Clients, job_id: str, counted: many.Counted = many.unseen) -> list[Progress]:
    """The executions of a job, by thing. Raises botocore's ClientError for an unknown job.

    counted: of the boards that were asked about one at a time.
    """
    description = _description(clients, job_id)
    executions = clients.executions(job_id, counted)
    return [Progress(job=job_id, description=description, **one) for one in executions]


def of_fleet(
    clients: Clients,
    newest: int,
    counted: many.Counted = many.unseen,
    only: Sequence[str] = (),
) -> dict[str, Board]:
    """Every thing with its report, and its `newest` executions.

    newest: as `Clients.newest` counts; counted: as of `of_job`; only: of these things. Raises
    FleetError for one of them that the service does not know.
    """
    things = _known(clients, only) if only else _every(clients)
    found = [*clients.newest(newest, things, counted)]
    jobs = [*dict.fromkeys(job for job, _ in found)]
    texts = many.each(lambda job: _description(clients, job), jobs)
    described = dict(zip(jobs, texts, strict=True))
    updates: dict[str, list[Progress]] = {thing: [] for thing in things}
    for job, one in found:
        progress = Progress(job=job, description=described[job], **one)
        updates[progress.thing].append(progress)
    reports = clients.reports(things, counted)
    order = only or sorted(updates, key=natural)
    return {thing: Board(reports.get(thing), updates[thing]) for thing in order}


def _every(clients: Clients) -> list[str]:
    pages = clients.iot.get_paginator("list_things").paginate(PaginationConfig=_PAGES)
    return [thing["thingName"] for page in pages for thing in page["things"]]


def _known(clients: Clients, things: Sequence[str]) -> Sequence[str]:
    """The same things. Raises FleetError with those that the service does not know."""

    def is_known(thing: str) -> bool:
        try:
            clients.iot.describe_thing(thingName=thing)
        except clients.iot.exceptions.ResourceNotFoundException:
            return False
        return True

    known = many.each(is_known, things)
    unknown = [thing for thing, is_there in zip(things, known, strict=True) if not is_there]
    if unknown:
        raise FleetError(f"the service knows no board {', '.join(unknown)}")
    return things


def _description(clients: Clients, job_id: str) -> str:
    description: str = clients.iot.describe_job(jobId=job_id)["job"].get("description", "")
    return description


def as_json(boards: Mapping[str, Board]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        thing: {
            "seen": board.seen,
            "reported": None if board.reported is None else vars(board.reported),
            "updates": [vars(progress) for progress in board.updates],
        }
        for thing, board in boards.items()
    }


def as_table(boards: Mapping[str, Board], now: float) -> Iterable[str]:
    """A line of at most WIDTH characters for each board; `now` in Unix seconds."""
    rows = [_HEADS, *(_row(thing, board, now) for thing, board in boards.items())]
    rows = [tuple(map(printable, row)) for row in rows]
    columns = zip(zip(*rows, strict=True), _WIDEST, strict=True)
    widths = [min(max(map(len, column)), most) for column, most in columns]
    for row in rows:
        cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield _cut("  ".join(cells)).rstrip()


def as_counts(boards: Mapping[str, Board]) -> Iterable[str]:
    """How many boards run which version, and what became of their last updates."""
    yield f"{len(boards)} boards; --all lists them"
    newest = [board.updates[0].status if board.updates else _NOT_KNOWN for board in boards.values()]
    yield from _counted("version", (board.version for board in boards.values()))
    yield from _counted("state", newest)
    yield from _counted("cause", (board.cause or _NOT_KNOWN for board in boards.values()))


def as_text(boards: Mapping[str, Board], now: float) -> Iterable[str]:
    """All that is known of each board, in lines of at most WIDTH characters."""
    for thing, board in boards.items():
        yield _cut(thing if board.updates else f"{thing}  no update yet")
        if board.reported is not None:
            yield from _report(board, board.reported, now)
        for progress in board.updates:
            age = ago(now - progress.updated_at)
            yield _cut(f"  {progress.status:<12} {progress.job}  {progress.description}  {age}")
            yield from details(progress, indent=4)


def details(progress: Progress, indent: int) -> Iterable[str]:
    """The status details, those for people first, wrapped to WIDTH characters."""
    names = [name for name in _FIRST_DETAILS if name in progress.details]
    names += [name for name in progress.details if name not in _FIRST_DETAILS]
    for name in names:
        yield from _wrapped(name, progress.details[name], indent)


def ago(seconds: float) -> str:
    """How long ago something was, in one unit."""
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            amount = int(seconds // length)
            plural = "s" if unit == "day" and amount > 1 else ""
            return f"{amount} {unit}{plural} ago"
    return f"{max(0, int(seconds))} s ago"


def _row(thing: str, board: Board, now: float) -> tuple[str, ...]:
    seen = _NOT_KNOWN if board.seen is None else ago(now - board.seen)
    status, job = (
        (board.updates[0].status, board.updates[0].job)
        if board.updates
        else (_NOT_KNOWN, _NOT_KNOWN)
    )
    return thing, board.version, seen, status, board.cause or _NOT_KNOWN, job


def _report(board: Board, said: Reported, now: float) -> Iterable[str]:
    """Return the report of a board as lines, without the fields that it left out."""
    runs = f"{board.version}, said {ago(now - said.at)}"
    on = [said.micropython and f"MicroPython {said.micropython}", said.chip]
    parts = [said.agent and f"agent {said.agent}", said.boot and f"boot.py {said.boot}"]
    parts.append(" on ".join(part for part in on if part))
    free = [
        "" if said.room is None else f"{said.room} KB of files",
        f"{said.spare} KB more for an application" if said.spare else "",
        "" if said.heap is None else f"{said.heap} bytes of heap",
    ]
    last = [said.result, said.cause, said.detail]
    trusts = "" if not said.keys else f"set {said.keys}, digest {said.digest}"
    lines = {"runs": runs, "software": _listed(parts), "free": _listed(free), "keys": trusts}
    lines["last"] = ": ".join(part for part in last if part)
    for name, text in lines.items():
        yield from _wrapped(name, text, 2)


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def _wrapped(name: str, text: str, indent: int) -> Iterable[str]:
    first = f"{' ' * indent}{_cut(name, WIDTH // 4):<10} "
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
    )


def _counted(name: str, values: Iterable[str]) -> Iterable[str]:
    """How often each value is there, the most frequent first; the rest of many in one line."""
    counts = Counter(values).most_common()
    rest = sum(count for _, count in counts[_MOST_COUNTED:])
    for value, count in [*counts[:_MOST_COUNTED], *([("others", rest)] if rest else [])]:
        yield f"{name:<9} {_cut(value, 40):<40} {count:>7}"
        name = ""


def _cut(line: str, width: int = WIDTH) -> str:
    line = printable(line)
    return line if len(line) <= width else line[: width - 3] + "..."
