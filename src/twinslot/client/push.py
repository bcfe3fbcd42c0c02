"""A developer's loop in one step: pack a folder with the next sequence, publish it, watch it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinslot.client import changes, offer, packing, room, rotation
from twinslot.client import publish as publishing
from twinslot.client import watch as watching
from twinslot.client.kept import Kept
from twinslot.client.sequences import allot, note
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.formats.document import MQTT
from twinslot.formats.segments.packer import Progress, quiet
from twinslot.keychain import Keychain


@dataclass(frozen=True)
class Sent:
    """A package on its way to a board, as a job; `start` on the monotonic clock, seconds."""

    job: str
    thing: str
    version: str
    sequence: int
    start: float


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `words`: the board's end, with its reasons; `seconds` it took."""

    accepted: bool
    version: str
    sequence: int
    words: str
    seconds: float


def send(
    config: Config,
    sources: packing.Sources,
    thing: str,
    say: Callable[[str], None],
    *,
    version: str | None = None,
    sequence: int | None = None,
    protocols: Sequence[str] = (MQTT,),
    create_things: bool = False,
    asked: int | None = None,
    progress: Progress = quiet,
) -> Sent:
    """Pack a folder, and publish it to a board in the smallest form that the board can take.

    `version` and `sequence` are made up when not given; the board may choose among `protocols`;
    `say` is told what goes in; `asked` and `progress`: as of `offer`. Raises what packing and
    publish raise.
    """
    start = time.monotonic()
    contents = packing.gather(sources, config)
    for line in packing.firmware_listing(contents, sources, config):
        say(line)
    clients = connect(config)
    if contents.application is not None and sources.folder is not None:
        before = changes.accepted(clients, thing, Kept(config.folder))
        for line in changes.listing(sources.folder, contents.application, before):
            say(line)
    for warning in contents.warnings:
        say(f"warning: {warning}")
    components = contents.components
    if not sources.options.force:
        for component in components:
            room.check(clients, [thing], component.room)
    publishing.check_way(clients.reach(), config, [thing], protocols)
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
        [thing],
        say,
        protocols=protocols,
        create_things=create_things,
    )
    (offered,) = offer.offer(
        clients,
        config,
        data,
        f"{version}.ota",
        [thing],
        asked=asked,
        progress=progress,
        protocols=protocols,
        create_things=create_things,
    )
    job = offered.published.job
    form = f", {offered.form.words}," if offered.form.encoding else ""
    say(f"job {job}: {version}, sequence {sequence}, {offered.size} bytes{form} for {thing}")
    for warning in publishing.waits(clients.reach()):
        say(f"warning: {warning}")
    return Sent(job, thing, version, sequence, start)


def wait(
    config: Config,
    sent: Sent,
    say: Callable[[str], None],
    timeout: float | None,
    views: Callable[[], watching.View],
) -> Pushed:
    """Wait for the board's end. `timeout` in seconds; `views`: as of `watch_all`.

    Raises what watch raises.
    """
    accepted = watching.watch_all(config, sent.job, timeout, views, say)
    found = watching.last(connect(config), sent.job, sent.thing)
    return Pushed(
        accepted=accepted,
        version=sent.version,
        sequence=sent.sequence,
        words=watching.phase(found),
        seconds=time.monotonic() - sent.start,
    )
