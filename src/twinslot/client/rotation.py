"""A new set of keys on its way to boards: who is behind, and the packages that bring it in order.

A board takes the sets one after the other, each with a package that a root key of the set before
has signed. So whoever is behind gets these packages before any other job. Which set a board has is
known from its report, and from the jobs that it has accepted since. A board whose agent reads no
sets first gets the newest kept package that brings an agent and that its keys accept.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot import disk
from twinslot.client import many, shadow
from twinslot.client import publish as publishing
from twinslot.client.clients import Clients
from twinslot.client.kept import Kept
from twinslot.errors import FleetError
from twinslot.firmware import agent
from twinslot.formats import archive, aws
from twinslot.formats.component import APPLICATION, RAW
from twinslot.formats.document import MQTT
from twinslot.formats.head import Head
from twinslot.formats.trust_set import RELEASE, SHOWN, TrustSet
from twinslot.keychain import Keychain

_DAY = 86400  # seconds
_FROZEN = 30  # days
_LATELY = 7 * _DAY
_MOST = 8  # notes
_TRIES = 20  # jobs of one link for one board
_HAD = ("same_sequence", "old_sequence")  # causes with which a board refuses a set that it has


class RotationError(FleetError):
    """A set of keys cannot be sent to these boards as asked."""


@dataclass(frozen=True)
class Standing:
    """How far a board is. version: of its set, None where nobody knows; old: its agent reads none.

    strange: it has a set of a known version that is another one than the fleet's.
    """

    version: int | None
    at: int = 0
    old: bool = False
    strange: bool = False


def standing(said: shadow.Reported | None, sets: Sequence[TrustSet]) -> Standing:
    """Read from a board's report how far it is. sets: the fleet's, from version 1 on."""
    if said is None:
        return Standing(None)
    if said.keys is None:
        return Standing(None, said.at, old=True)
    known = 1 <= said.keys <= len(sets)
    ours = known and sets[said.keys - 1].digest[:SHOWN].hex() == said.digest
    return Standing(said.keys, said.at, strange=said.keys > 0 and not ours)


def queue(
    clients: Clients,
    chain: Keychain,
    things: Sequence[str],
    say: Callable[[str], None],
    *,
    protocols: Sequence[str] = (MQTT,),
    create_things: bool = False,
) -> None:
    """Queue the packages that boards lack to have the fleet's newest set, oldest first.

    A job that waits already, or was accepted, is not made again. Raises RotationError for a board
    that has another fleet's set, or whose agent reads no sets where no kept package brings a newer
    one.
    """
    if not chain.links:
        return
    reports = many.each(lambda thing: shadow.of_thing(clients.data, thing), things)

    def send(parcel: _Parcel, at: int) -> None:
        if job := _waiting(clients, parcel, at):
            publishing.publish(
                clients,
                parcel.data,
                f"{parcel.name}.ota",
                [parcel.thing],
                job_id=job,
                protocols=protocols,
                create_things=create_things,
            )
            say(f"job {job}: {parcel.what} for {parcel.thing}, before anything else")

    for thing, said in zip(things, reports, strict=True):
        found = standing(said, chain.sets)
        if found.old:
            data = _newer_agent(chain, thing, said)
            what = "an agent that reads sets of keys"
            send(_Parcel(thing, "agent", data, what, "update it by cable"), found.at)
        if found.strange:
            raise RotationError(
                f"{thing} says that it has set {found.version} of keys, and it is not this "
                "fleet's: flash it, or deploy its settings by cable"
            )
        for version in chain.links:
            if version > (found.version or 0):
                data = disk.read(chain.package(version), "the package")
                what = f"set {version} of keys"
                remedy = "`fleet keys pack --again` makes another package with the same set"
                send(_Parcel(thing, f"keys-{version}", data, what, remedy), found.at)


@dataclass(frozen=True)
class _Parcel:
    """A package that one board needs before others.

    name: of its jobs; what: it brings; remedy: for a board that refuses it.
    """

    thing: str
    name: str
    data: bytes
    what: str
    remedy: str


def _newer_agent(chain: Keychain, thing: str, said: shadow.Reported | None) -> bytes:
    """The newest kept package that brings an agent to a board whose agent reads no sets.

    Such a board knows the fleet's first keys alone. Raises RotationError where none is kept.
    """
    known = {entry.kid for entry in chain.sets[0].entries if entry.roles & RELEASE}
    runs = (said and said.sequence) or 0

    def fits(head: Head) -> bool:
        manifest = head.manifest
        return (
            head.kid in known
            and manifest.trust is None
            and manifest.expires is None
            and manifest.sequence > runs
            and all(component.encoding == RAW for component in manifest.components)
        )

    for head, data in Kept(chain.folder.parent).newest_first(fits):
        if _brings_agent(head, data):
            return data
    raise RotationError(
        f"the agent of {thing} is too old to read sets of keys: send it an application with a "
        "newer agent first, signed by a key that it knows (`fleet publish --without-keys`)"
    )


def _brings_agent(head: Head, data: bytes) -> bool:
    application = head.manifest.component(APPLICATION)
    if application is None:
        return False
    try:
        return agent.BUNDLE in archive.contents(application.of(data))
    except archive.ArchiveError:
        return False


def _waiting(clients: Clients, parcel: _Parcel, at: int) -> str | None:
    """The name of the job to make, None where one waits already or has brought the set.

    at: when the board reported an older set (Unix seconds), 0 if it never did. Raises
    RotationError.
    """
    mark = hashlib.sha256(parcel.data + parcel.thing.encode()).hexdigest()[:8]
    for number in range(1, _TRIES + 1):
        job = f"{parcel.name}-{mark}-{number}"
        execution = _execution(clients, job, parcel.thing)
        if execution is None:
            return job
        if execution["status"] not in aws.TERMINAL:
            return None
        if _brought(execution) and execution["lastUpdatedAt"].timestamp() >= at:
            return None
    raise RotationError(
        f"{parcel.thing} has refused {parcel.what} {_TRIES} times: `fleet watch {job}` says why; "
        f"{parcel.remedy}"
    )


def _brought(execution: dict[str, Any]) -> bool:
    """Whether the board has the set after this job: it accepted it, or had it before."""
    details = execution.get("statusDetails", {}).get("detailsMap", {})
    had = details.get("cause") in _HAD and "of keys" in details.get("detail", "")
    return execution["status"] == aws.SUCCEEDED or had


def _execution(clients: Clients, job: str, thing: str) -> dict[str, Any] | None:
    try:
        found = clients.iot.describe_job_execution(jobId=job, thingName=thing)
    except clients.iot.exceptions.ResourceNotFoundException:
        return None
    execution: dict[str, Any] = found["execution"]
    return execution


def notes(reports: Mapping[str, shadow.Reported | None], chain: Keychain, now: float) -> list[str]:
    """Sentences about boards that lack the newest set, and about those that seem frozen.

    now: Unix seconds. A board seems frozen that was heard of lately, and has accepted nothing new
    for long after others have.
    """
    said = {thing: report for thing, report in reports.items() if report is not None}
    notes = []
    if links := chain.links:
        for thing, found in said.items():
            state = standing(found, chain.sets)
            if state.old:
                notes.append(f"{thing} cannot read sets of keys: its agent is too old")
            elif state.strange:
                notes.append(f"{thing} has a set {state.version} of keys that is not this fleet's")
            elif (state.version or 0) < links[-1]:
                notes.append(
                    f"{thing} is behind: it has set {state.version} of keys, of "
                    f"{links[-1]}; `fleet keys send {thing}` brings the rest"
                )
    newest = max((found.created or 0 for found in said.values()), default=0)
    for thing, found in said.items():
        days = (newest - (found.created or newest)) // _DAY
        if days >= _FROZEN and now - found.at < _LATELY:
            notes.append(
                f"{thing} seems frozen: the newest package that it has accepted is {days} days "
                "older than that of others"
            )
    return notes if len(notes) <= _MOST else [*notes[:_MOST], f"and {len(notes) - _MOST} more"]


def check_agents(reports: Mapping[str, shadow.Reported | None]) -> None:
    """Check that every agent that reports reads sets of keys. Raises RotationError."""
    old = [thing for thing, said in reports.items() if said and said.keys is None]
    if old:
        shown = ", ".join(old[:5]) + (f" and {len(old) - 5} more" if len(old) > 5 else "")
        raise RotationError(
            f"the agents of {shown} are too old to read sets of keys: bring them a newer agent "
            "first, or --force and bring these boards up to date afterwards"
        )
