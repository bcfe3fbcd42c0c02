"""The giver of certificates to boards: the fleet's own authority, or an account of AWS."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from twinslot.addresses import Address
from twinslot.errors import FleetError

Say = Callable[[str], None]
"""It is told a sentence for people."""


class ProvisionError(FleetError):
    """The thing cannot be provisioned as asked."""


class UnknownThingError(FleetError):
    """Nobody here knows the thing, or it has no certificate."""


class Issuer(Protocol):
    """The way from a thing's name to a board that its broker knows, and back."""

    def broker(self) -> Address | None:
        """Where boards reach the broker; None where nobody has said that yet."""

    def settings(self) -> Mapping[str, Any]:
        """The settings that boards need beside that, unless they have them already."""

    def check(self, thing: str, *, renew: bool) -> None:
        """Refuse a thing that holds a certificate already. renew: it may hold one.

        Raises ProvisionError, UnreachableError.
        """

    def anchors(self) -> bytes:
        """In PEM, those who may sign the broker's certificate."""

    def issuing(self, thing: str, request: bytes) -> AbstractContextManager[bytes]:
        """A certificate (PEM) for a thing, in place of those before. An exception takes it back.

        request: for a certificate, in PEM, by the key that it is for.
        """

    def introduce(self, thing: str, say: Say, *, renew: bool) -> None:
        """Let everybody know of a new certificate."""

    def revoke(self, thing: str, say: Say, *, disconnect: bool) -> None:
        """Refuse a thing from now on. disconnect: cut its connection, too.

        Raises UnknownThingError, UnreachableError.
        """
