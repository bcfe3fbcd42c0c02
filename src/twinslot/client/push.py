"""A developer's loop in one step: pack a folder with the next sequence, publish it, watch it."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinslot.client import changes, packing, report
from twinslot.client import publish as publishing
from twinslot.client import watch as watching
from twinslot.client.clients import Clients
from twinslot.config import Config
from twinslot.formats import aws
from twinslot.formats.document import MQTT
from twinslot.formats.manifest import MAX_SEQUENCE

_FLASHED = 1  # the sequence that `fleet flash` gives a board
_NAME = re.compile(r"ota-(\d{1,10})-[0-9a-f]+")  # as fleet.publish calls jobs


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `words`: the board's end, with its reasons; `seconds` it took."""

    accepted: bool
    version: str
    sequence: int
    words: str
    seconds: float


def highest_sequence(clients: Clients, product: str) -> int:
    """The highest sequence that was ever published for a product at this service, 0 for none.

    The descriptions of jobs say it. Names only save requests: after hundreds of pushes it is the
    first job looked at. Jobs that other tools described differently are not counted.
    """
    pages = clients.iot.get_paginator("list_jobs").paginate(PaginationConfig={"PageSize": 250})
    jobs = [job["jobId"] for page in pages for job in page["jobs"]]
    highest = 0
    for job, most in sorted(((job, _named(job)) for job in jobs), key=lambda item: -item[1]):
        if most <= highest:
            break
        text = clients.iot.describe_job(jobId=job)["job"].get("description", "")
        highest = max(highest, publishing.described_sequence(text, product))
    return highest


def push(
    config: Config,
    sources: packing.Sources,
    thing: str,
    say: Callable[[str], None],
    *,
    version: str | None = None,
    sequence: int | None = None,
    protocols: Sequence[str] = (MQTT,),
    create_things: bool = False,
    timeout: float | None = None,
    view: watching.View,
) -> Pushed:
    """Bring a folder onto a board, and wait for what the board makes of it.

    `version` and `sequence` are made up when not given; the board may choose among `protocols`;
    `say` is told what goes in; `timeout` in seconds, for the board. Raises what packing, publish
    and watch raise.
    """
    start = time.monotonic()
    contents = packing.gather(sources, config)
    for line in packing.firmware_listing(contents, sources, config):
        say(line)
    clients = Clients(config)
    if contents.application is not None and sources.folder is not None:
        before = changes.accepted(clients, thing)
        for line in changes.listing(sources.folder, contents.application, before):
            say(line)
    for warning in contents.warnings:
        say(f"warning: {warning}")
    publishing.check_way(clients.reach(), config, [thing], protocols)
    publishing.check_way(clients.reach(), config, [thing], protocols)
    if sequence is None:
        sequence = max(_FLASHED, highest_sequence(clients, config.product)) + 1
    version = version or f"dev-{sequence}"
    data = packing.sign(contents, config, version, sequence, now=int(time.time()))
    publishing.check(data, config)
    published = publishing.publish(
        clients,
        data,
        f"{version}.ota",
        [thing],
        protocols=protocols,
        create_things=create_things,
    )
    say(f"job {published.job}: {version}, sequence {sequence}, {len(data)} bytes for {thing}")
    for warning in publishing.waits(clients.reach()):
        say(f"warning: {warning}")
    for warning in publishing.waits(clients.reach()):
        say(f"warning: {warning}")
    watching.watch(config, published.job, timeout, view)
    (progress,) = report.of_job(clients, published.job)
    return Pushed(
        accepted=progress.status == aws.SUCCEEDED,
        version=version,
        sequence=sequence,
        words=watching.phase(progress),
        seconds=time.monotonic() - start,
    )


def _named(job: str) -> int:
    """The sequence in a job's name; more than any where the name says nothing."""
    match = _NAME.fullmatch(job)
    return int(match[1]) if match else MAX_SEQUENCE + 1
