"""A developer's loop in one step: pack a folder with the next sequence, publish it, watch it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinslot.client import changes, packing, report, room, rotation
from twinslot.client import publish as publishing
from twinslot.client import watch as watching
from twinslot.client.sequences import allot, note
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.formats import aws
from twinslot.formats.document import MQTT
from twinslot.keychain import Keychain


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `words`: the board's end, with its reasons; `seconds` it took."""

    accepted: bool
    version: str
    sequence: int
    words: str
    seconds: float


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
    clients = connect(config)
    if contents.application is not None and sources.folder is not None:
        before = changes.accepted(clients, thing)
        for line in changes.listing(sources.folder, contents.application, before):
            say(line)
    for warning in contents.warnings:
        say(f"warning: {warning}")
    if not sources.options.force:
        for component in contents.components:
            room.check(clients, [thing], component.room)
    publishing.check_way(clients.reach(), config, [thing], protocols)
    if sequence is None:
        sequence = allot(config, clients)
    else:
        for warning in note(config, sequence):
            say(f"warning: {warning}")
    version = version or f"dev-{sequence}"
    data = packing.sign(contents.components, config, version, sequence, now=int(time.time()))
    publishing.check(data, config)
    rotation.queue(
        clients,
        Keychain(config.folder),
        [thing],
        say,
        protocols=protocols,
        create_things=create_things,
    )
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
    watching.watch(config, published.job, timeout, view)
    (progress,) = report.of_job(clients, published.job)
    return Pushed(
        accepted=progress.status == aws.SUCCEEDED,
        version=version,
        sequence=sequence,
        words=watching.phase(progress),
        seconds=time.monotonic() - start,
    )
