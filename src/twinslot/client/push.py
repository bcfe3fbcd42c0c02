"""A developer's loop in one step: pack a folder with the next sequence, publish it, watch it.

Boards that need different forms of the package get a job for each form.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twinslot.client import changes, offer, packing, room, rotation
from twinslot.client import publish as publishing
from twinslot.client import watch as watching
from twinslot.client.kept import Kept
from twinslot.client.sequences import allot, note
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.formats import aws
from twinslot.formats.document import MQTT
from twinslot.formats.segments.packer import Progress, quiet
from twinslot.keychain import Keychain


@dataclass(frozen=True)
class Sent:
    """A package on its way to boards. `jobs`: with the boards of each, in the order of sending.

    start: on the monotonic clock, seconds.
    """

    jobs: tuple[tuple[str, tuple[str, ...]], ...]
    version: str
    sequence: int
    start: float


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `seconds` it took.

    words: for each board its end, with its reasons; refused: the boards that did not accept.
    """

    version: str
    sequence: int
    words: Mapping[str, str]
    refused: tuple[str, ...]
    seconds: float


def send(
    config: Config,
    sources: packing.Sources,
    things: Sequence[str],
    say: Callable[[str], None],
    *,
    version: str | None = None,
    sequence: int | None = None,
    protocols: Sequence[str] = (MQTT,),
    create_things: bool = False,
    asked: int | None = None,
    progress: Progress = quiet,
) -> Sent:
    """Pack a folder, and publish it to boards, to each in the smallest form that it can take.

    `version` and `sequence` are made up when not given; the boards may choose among `protocols`;
    `say` is told what goes in; `asked` and `progress`: as of `offer`. Raises what packing and
    publish raise.
    """
    start = time.monotonic()
    contents = packing.gather(sources, config)
    for line in packing.firmware_listing(contents, sources, config):
        say(line)
    clients = connect(config)
    if contents.application is not None and sources.folder is not None:
        before = None
        if len(things) == 1:
            before = changes.accepted(clients, things[0], Kept(config.folder))
        for line in changes.listing(sources.folder, contents.application, before):
            say(line)
    for warning in contents.warnings:
        say(f"warning: {warning}")
    components = contents.components
    if not sources.options.force:
        for component in components:
            room.check(clients, things, component.room)
    publishing.check_way(clients.reach(), config, things, protocols)
    if sequence is None:
        sequence = allot(config, clients)
    else:
        for warning in note(config, sequence):
            say(f"warning: {warning}")
    version = version or f"dev-{sequence}"
    data = packing.sign(components, config, version, sequence, now=int(time.time()))
    publishing.check(data, config)
    rotation.queue(
        clients,
        Keychain(config.folder),
        things,
        say,
        protocols=protocols,
        create_things=create_things,
    )
    offered = offer.offer(
        clients,
        config,
        data,
        f"{version}.ota",
        things,
        asked=asked,
        progress=progress,
        protocols=protocols,
        create_things=create_things,
    )
    for one in offered:
        form = f", {one.form.words}," if one.form.encoding else ""
        boards = ", ".join(one.published.things)
        job = one.published.job
        say(f"job {job}: {version}, sequence {sequence}, {one.size} bytes{form} for {boards}")
    for warning in publishing.waits(clients.reach()):
        say(f"warning: {warning}")
    jobs = tuple((one.published.job, tuple(one.published.things)) for one in offered)
    return Sent(jobs, version, sequence, start)


def wait(
    config: Config,
    sent: Sent,
    say: Callable[[str], None],
    timeout: float | None,
    views: Callable[[], watching.View],
) -> Pushed:
    """Wait for the end of every board. `timeout` in seconds, of a job; `views`: as of `watch_all`.

    Raises what watch raises.
    """
    words: dict[str, str] = {}
    refused: list[str] = []
    for job, things in sent.jobs:
        watching.watch_all(config, job, timeout, views, say)
        clients = connect(config)
        for thing in things:
            found = watching.last(clients, job, thing)
            words[thing] = watching.phase(found)
            if found.status != aws.SUCCEEDED:
                refused.append(thing)
    seconds = time.monotonic() - sent.start
    return Pushed(sent.version, sent.sequence, words, tuple(refused), seconds)
