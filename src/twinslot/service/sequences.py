"""Sequences of packages, allotted per product, one after the other.

The counter is above every package of this fleet's that was ever put here, whoever chose its number,
and above all that a client knows of. Packages that another key has signed do not raise it, nor does
anything that a board says.
"""

import logging
from collections.abc import Mapping
from typing import Any

from twinslot.errors import FleetError
from twinslot.formats import package
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.sequences import FLASHED, SequenceError, following
from twinslot.service.codec import ApiError
from twinslot.service.names import invalid
from twinslot.service.rows.sequences import MAX_PRODUCT
from twinslot.service.store import Store, Transaction
from twinslot.trust import signing
from twinslot.trust.keys import PublicKey

_log = logging.getLogger(__name__)


class Sequences:
    """The counters of all products."""

    def __init__(self, store: Store, key: PublicKey | None) -> None:
        """`key`: by which this fleet's packages are signed; None: no package is counted."""
        self._store = store
        self._key = key

    def allot(self, rest: str) -> Mapping[str, Any]:
        """The next sequence of a product. rest: a number to be above, a slash, the product.

        Raises ApiError.
        """
        least, slash, product = rest.partition("/")
        named = 0 < len(product.encode()) <= MAX_PRODUCT and "\0" not in product
        if not (slash and named and least.isdecimal() and least.isascii() and len(least) < 11):
            raise invalid(f"{rest!r} is no NUMBER/PRODUCT")
        with self._store.write() as transaction:
            known = max(FLASHED, int(least), transaction.highest_sequence(product))
            try:
                found = following(known)
            except SequenceError as error:
                raise ApiError("LimitExceededException", str(error), 410) from error
            transaction.raise_sequence(product, found)
        return {"sequence": found}

    def count(self, transaction: Transaction, data: bytes) -> None:
        """Count an object that is stored, if it is a package of this fleet's."""
        if self._key is None or not data.startswith(PACKAGE_MAGIC):
            return
        try:
            head = package.inspect(data)
            signing.verify(head, self._key)
        except FleetError as error:
            _log.info("a package that is not counted: %s", error)
            return
        transaction.raise_sequence(head.manifest.product, head.manifest.sequence)
