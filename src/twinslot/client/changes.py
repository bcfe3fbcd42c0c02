"""The changes that a push brings, against the application that the board has accepted last."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from twinslot.client.application import Application
from twinslot.client.clients import Clients
from twinslot.client.kept import Kept
from twinslot.errors import PackageError
from twinslot.formats import archive, package
from twinslot.formats.component import APPLICATION
from twinslot.formats.littlefs_blocks import BLOCK


@dataclass(frozen=True)
class Accepted:
    """The application that a board has accepted: its version, and its files, path to bytes."""

    version: str
    files: Mapping[str, bytes]


def accepted(clients: Clients, thing: str, kept: Kept) -> Accepted | None:
    """The last application that a board has taken from this service; None where none is found.

    kept: has the application itself, where the board took a smaller form of its package. Only
    streams say which object a job brought, so one by HTTP alone is not found.
    """
    for job_id in clients.succeeded(thing):
        try:
            stream = clients.iot.describe_stream(streamId=job_id)["streamInfo"]
            place = stream["files"][0]["s3Location"]
            body = clients.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
            manifest = package.inspect(body).manifest
        except (ClientError, PackageError, KeyError, IndexError):
            continue  # gone, or no package of this project
        if component := manifest.component(APPLICATION):
            made = kept.base(APPLICATION, component.sha256.hex())
            if made is None and component.base is None:
                made = component.result(body)
            if made is not None:
                return Accepted(manifest.version, archive.contents(made))
    return None


def listing(folder: Path, application: Application, before: Accepted | None) -> Iterator[str]:
    """The changes as lines: one for each file of the folder, and one for the agent that was added.

    Without `before` every file of the folder has its line.
    """
    found = application.files
    own = {path: data for path, data in found.items() if _is_in(folder, path)}
    added = {path: data for path, data in found.items() if path not in own}
    yield f"{folder}: application of {len(found)} files"
    if before is None:
        for path, data in own.items():
            yield f"  {len(data):>7}  {path}"
    else:
        yield f"  against {before.version}, which the board has accepted:"
        yield from _changes(own, {p: d for p, d in before.files.items() if p not in added})
    if added:
        said = ""
        if before is not None:
            same = all(before.files.get(path) == data for path, data in added.items())
            said = ", unchanged" if same else ", changed"
        yield f"  {sum(map(len, added.values())):>7}  the agent, {len(added)} files{said}"
    yield f"  {application.blocks * BLOCK >> 10:>7}  KB of a board's file system"
    for note in application.notes:
        yield f"  {note}"


def _changes(new: Mapping[str, bytes], old: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted({*new, *old}):
        before, after = old.get(path), new.get(path)
        if after is None:
            yield f"  {'':>7}  {path}, removed"
        elif after != before:
            yield f"  {len(after):>7}  {path}, {'added' if before is None else 'changed'}"
    same = sum(old.get(path) == data for path, data in new.items())
    if same:
        yield f"  {sum(len(new[path]) for path in new if old.get(path) == new[path]):>7}  " + (
            f"{same} files unchanged"
        )


def _is_in(folder: Path, path: str) -> bool:
    """Say whether a file comes from the folder, as it is or compiled."""
    source = folder / path
    return source.exists() or source.with_suffix(".py").exists()
