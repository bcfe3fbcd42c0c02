"""The project's names for the entries that shared cases have into its modules."""

from collections.abc import Callable
from typing import Any

from twinslot.formats import cbor


def fleet_cbor() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return what writes and what reads a package's head."""
    return cbor.dumps, cbor.loads
