"""The next sequence of a package: from the service, or from the counter of the fleet's folder.

The service allots, one after the other, whatever their number asks at once. AWS cannot: there the
descriptions of jobs say which sequences were published, and the lock of the folder keeps those
apart who push from it.
"""

import re

from twinslot import disk, sequences
from twinslot.client.clients import Clients, translated
from twinslot.config import Config
from twinslot.errors import UnreachableError
from twinslot.formats.document import described_sequence
from twinslot.formats.manifest import MAX_SEQUENCE

_NAME = re.compile(r"ota-(\d{1,10})-[0-9a-f]+")  # as client.publish calls jobs


def allot(config: Config, clients: Clients) -> int:
    """Take the next sequence of the fleet's product from its service.

    A folder that is for reading alone keeps no counter; the service's is enough, AWS has none.
    Raises SequenceError, FileError, RefusedError, UnreachableError, and botocore's ClientError.
    """
    try:
        with sequences.held(config.folder) as ledger:
            known = ledger.highest(config.product)
            if clients.of_aws:
                known = max(known, highest_published(clients, config.product))
                found = sequences.following(known)
            else:
                found = clients.allot(config.product, known)
            ledger.raise_to(config.product, found)
    except disk.FileError:
        if clients.of_aws:
            raise
        return clients.allot(config.product, sequences.FLASHED)
    return found


def note(config: Config, sequence: int) -> tuple[str, ...]:
    """Count a sequence that was chosen by hand; a warning where the folder is for reading alone.

    Raises SequenceError.
    """
    try:
        sequences.note(config.folder, config.product, sequence)
    except disk.FileError as error:
        return (f"sequence {sequence} is not counted, so that another package may get it: {error}",)
    return ()


def allot_anywhere(config: Config) -> tuple[int, bool]:
    """Take the next sequence, and say whether a service gave it.

    Without a service that answers the fleet's folder counts. Raises as `allot`.
    """
    try:
        with translated():
            return allot(config, Clients(config)), True
    except UnreachableError:
        with sequences.held(config.folder) as ledger:
            found = sequences.following(ledger.highest(config.product))
            ledger.raise_to(config.product, found)
        return found, False


def highest_published(clients: Clients, product: str) -> int:
    """The highest sequence that was ever published for a product, 0 for none.

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
        highest = max(highest, described_sequence(text, product))
    return highest


def _named(job: str) -> int:
    """The sequence in a job's name; more than any where the name says nothing."""
    match = _NAME.fullmatch(job)
    return int(match[1]) if match else MAX_SEQUENCE + 1
