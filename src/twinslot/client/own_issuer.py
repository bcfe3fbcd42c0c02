"""Certificates of the fleet's own authority, and the service and broker that must hear of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinslot import gate
from twinslot.addresses import Address
from twinslot.client import publish
from twinslot.client.answers import ForeignAnswerError
from twinslot.client.clients import translated
from twinslot.client.issuer import ProvisionError, Say, UnknownThingError
from twinslot.client.own_service import OwnService
from twinslot.config import Config
from twinslot.errors import UnreachableError
from twinslot.trust import certificates
from twinslot.trust.authority import Authority


class OwnIssuer:
    """The authority in the fleet's folder, which is made when the first board needs it."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def broker(self) -> Address | None:
        """The address that `fleet broker-config` has noted."""
        return self._config.broker.boards

    def settings(self) -> Mapping[str, Any]:
        """Nothing: the authority's certificates are valid at every time that a board knows."""
        return {}

    def check(self, thing: str, *, renew: bool) -> None:
        """Refuse a thing with a certificate, and one to take in again whose service is away."""
        service = self._service()
        if not self._config.authority.exists():
            return
        authority = Authority(self._config.authority)
        before = authority.issued(thing)
        if before is None:
            return
        if not renew:
            raise ProvisionError(
                f"{thing} is provisioned; --renew makes a new certificate and revokes the old one"
            )
        if authority.is_revoked(before) and service is None:
            raise UnreachableError(
                f"{thing} is revoked: start `fleet serve`, which must hear of this"
            )

    def anchors(self) -> bytes:
        """The authority itself."""
        return certificates.pem(self._authority().certificate)

    @contextmanager
    def issuing(self, thing: str, request: bytes) -> Iterator[bytes]:
        """A certificate of the authority; it puts the one before on its list."""
        key = certificates.requested_key(request, thing)
        with self._authority().issuing(thing, key) as certificate:
            yield certificates.pem(certificate)

    def introduce(self, thing: str, say: Say, *, renew: bool) -> None:
        """Give the broker the list of what is revoked, and make the thing known to the service."""
        if renew:
            self._copy_crl(self._authority(), say)
        service = self._service()
        if service is None:
            say(f"no service runs: `fleet publish --create-things` makes {thing} known to it")
            return
        with translated():
            publish.thing_arn(service, thing, create=True)
            service.admit(thing)
        say(f"the service knows {thing}")

    def revoke(self, thing: str, say: Say, *, disconnect: bool) -> None:
        """Put the certificate on the list, and let the service refuse the thing."""
        folder = self._config.authority
        authority = Authority(folder) if folder.exists() else None
        certified = authority is not None and authority.issued(thing) is not None
        if authority is not None and certified:
            authority.revoke(thing)
            say(f"the certificate of {thing} is on the list {authority.crl_path}")
            self._copy_crl(authority, say)
        try:
            with translated():
                service = OwnService(self._config)
                if not certified:
                    _expect_known(service, thing)
                service.revoke(thing)
        except (UnreachableError, ForeignAnswerError) as error:
            raise UnreachableError(
                f"{error}; then revoke {thing} again, so that it hears"
            ) from error
        say(f"the service answers {thing} no more")
        if authority is None or not certified:
            return
        if disconnect:
            gate.disconnect(authority, self._config.broker.address, thing)
            say("its connection is cut; it comes back if mosquitto has not read the list")
        else:
            say("A connection that is open stays open. To cut it, let mosquitto read first:")
            say(f"  fleet revoke {thing} --disconnect")

    def _authority(self) -> Authority:
        return Authority.open(self._config.authority, f"{self._config.product} authority")

    def _service(self) -> OwnService | None:
        """The service, None where none answers."""
        try:
            with translated():
                service = OwnService(self._config)
                service.revoked()
        except UnreachableError:
            return None
        return service

    def _copy_crl(self, authority: Authority, say: Say) -> None:
        folder = self._config.broker_folder
        if folder.exists():
            gate.copy_crl(authority, folder)
            say(f"and in {folder}. Let mosquitto read it:")
            say(f"  {read_again(folder)}")


def read_again(folder: Path) -> str:
    """The command that lets mosquitto read its files again. folder: the broker's."""
    return f"kill -HUP $(cat {gate.Paths(folder).pid})"


def _expect_known(service: OwnService, thing: str) -> None:
    try:
        service.iot.describe_thing(thingName=thing)
    except service.iot.exceptions.ResourceNotFoundException as error:
        raise UnknownThingError(f"no thing {thing}, here or at the service") from error
