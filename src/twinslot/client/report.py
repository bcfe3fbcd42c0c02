"""The results of updates, read through the control API: for `fleet status` and `fleet watch`."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from twinslot.client.clients import Clients
from twinslot.formats import aws

WIDTH = 80  # characters

_FIRST_DETAILS = ("reason", "detail", "cause", "version")


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


def of_job(clients: Clients, job_id: str) -> list[Progress]:
    """The executions of a job, by thing. Raises botocore's ClientError for an unknown job."""
    description = clients.iot.describe_job(jobId=job_id)["job"].get("description", "")
    pages = clients.iot.get_paginator("list_job_executions_for_job").paginate(jobId=job_id)
    found = []
    for entry in (entry for page in pages for entry in page["executionSummaries"]):
        thing = entry["thingArn"].rpartition("/")[2]
        execution = clients.iot.describe_job_execution(jobId=job_id, thingName=thing)["execution"]
        started: datetime | None = execution.get("startedAt")
        found.append(
            Progress(
                thing=thing,
                job=job_id,
                status=execution["status"],
                details=execution["statusDetails"].get("detailsMap", {}),
                queued_at=int(execution["queuedAt"].timestamp()),
                started_at=None if started is None else int(started.timestamp()),
                updated_at=int(execution["lastUpdatedAt"].timestamp()),
                description=description,
            )
        )
    return found


def of_fleet(clients: Clients, newest: int) -> dict[str, list[Progress]]:
    """Every thing with its executions of the `newest` jobs, the newest first."""
    things: dict[str, list[Progress]] = {}
    for page in clients.iot.get_paginator("list_things").paginate():
        things.update((thing["thingName"], []) for thing in page["things"])
    jobs = clients.iot.get_paginator("list_jobs").paginate(PaginationConfig={"MaxItems": newest})
    for job in (job for page in jobs for job in page["jobs"]):
        for progress in of_job(clients, job["jobId"]):
            things.setdefault(progress.thing, []).append(progress)
    return things


def as_json(things: Mapping[str, Sequence[Progress]]) -> dict[str, Any]:
    """The same for scripts."""
    return {thing: [vars(progress) for progress in found] for thing, found in things.items()}


def as_text(things: Mapping[str, Sequence[Progress]], now: float) -> Iterable[str]:
    """Lines of at most WIDTH characters; `now` in Unix seconds."""
    if not things:
        yield "no boards yet: `fleet publish FILE BOARD --create-things` makes them known"
    for thing, found in things.items():
        yield _cut(thing if found else f"{thing}  no update yet")
        for progress in found:
            age = ago(now - progress.updated_at)
            yield _cut(f"  {progress.status:<12} {progress.job}  {progress.description}  {age}")
            yield from details(progress, indent=4)


def details(progress: Progress, indent: int) -> Iterable[str]:
    """The status details, those for people first, wrapped to WIDTH characters."""
    names = [name for name in _FIRST_DETAILS if name in progress.details]
    names += [name for name in progress.details if name not in _FIRST_DETAILS]
    for name in names:
        first = f"{' ' * indent}{name:<10} "
        yield from textwrap.wrap(
            progress.details[name],
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
        )


def ago(seconds: float) -> str:
    """How long ago something was, in one unit."""
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            amount = int(seconds // length)
            plural = "s" if unit == "day" and amount > 1 else ""
            return f"{amount} {unit}{plural} ago"
    return f"{max(0, int(seconds))} s ago"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
