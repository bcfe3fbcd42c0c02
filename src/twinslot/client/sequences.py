"""The next sequence of a package: from the service, or from the counter of the fleet's folder.

The service allots, one after the other, whatever their number asks at once. So does the counter
that lies in an account of AWS.
"""

from twinslot import disk, sequences
from twinslot.client.clients import Clients, translated
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.errors import UnreachableError


def allot(config: Config, clients: Clients) -> int:
    """Take the next sequence of the fleet's product from its service.

    A folder that is for reading alone keeps no counter; the service's is enough.
    Raises SequenceError, FileError, RefusedError, UnreachableError, and botocore's ClientError.
    """
    try:
        with sequences.held(config.folder) as ledger:
            found = clients.allot(config.product, ledger.highest(config.product))
            ledger.raise_to(config.product, found)
    except disk.FileError:
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
            return allot(config, connect(config)), True
    except UnreachableError:
        with sequences.held(config.folder) as ledger:
            found = sequences.following(ledger.highest(config.product))
            ledger.raise_to(config.product, found)
        return found, False
