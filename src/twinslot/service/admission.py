"""The registry's certificates, brought into the lists by which mosquitto lets in.

The database says which certificates are ACTIVE and which things they speak for. The authority's
revocation list and the broker's access list follow it, and mosquitto reads them again. An answer
that a certificate is shut out is given once the broker refuses it.
"""

import datetime as dt
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cryptography import x509

from twinslot import gate
from twinslot.config import Config
from twinslot.errors import FleetError
from twinslot.gate import BrokerError
from twinslot.service.codec import ApiError
from twinslot.service.names import invalid
from twinslot.service.rows.certificates import ACTIVE
from twinslot.service.store import Store
from twinslot.trust import certificates
from twinslot.trust.authority import Authority, AuthorityError

_PATIENCE = 10.0  # seconds until the broker has read its lists
_PAUSE = 0.05  # seconds between two looks whether it has

_log = logging.getLogger(__name__)


class Admission:
    """The fleet's authority and its broker, for the service's own certificates."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._lock = threading.Lock()

    def authority(self) -> Authority:
        """The fleet's authority, whose certificates the broker takes. Raises ApiError."""
        if not gate.Paths(self._config.broker_folder).settings.exists():
            raise invalid(
                "this fleet's broker takes no certificates: `fleet broker-config` sets up one "
                "that does"
            )
        try:
            authority = Authority(self._config.authority)
            _ = authority.key
        except FleetError as error:
            raise invalid(f"this service cannot issue certificates: {error}") from error
        return authority

    def settle_at_start(self) -> None:
        """Bring the lists to what the database says, after a crash or a restored backup."""
        with self._store.read() as transaction:
            anything = transaction.certificates(ascending=True, after=None, limit=1)
        if not anything:
            return
        try:
            self.settle()
        except (ApiError, FleetError) as error:
            _log.error("the broker's lists may not be those of the registry: %s", error)

    def settle(
        self,
        refused: Sequence[x509.Certificate] = (),
        lifted: Sequence[x509.Certificate] = (),
    ) -> None:
        """Bring the lists to what the database says, and let the broker read them.

        refused: those that must not get in any more, whose connections are cut; lifted: those that
        may get in again. For both it waits until the broker has read its lists. Raises ApiError
        where the broker cannot be told; then asking again does the rest.
        """
        authority = self.authority()
        with self._lock, _as_unavailable():
            with self._store.read() as transaction:
                out = transaction.certificates_but(ACTIVE)
                speakers = transaction.speakers()
            numbers = [_parsed(one.pem).serial_number for one in out]
            authority.revise(numbers, [one.serial_number for one in lifted])
            folder = self._config.broker_folder
            registered = {
                name: things
                for name, things in speakers.items()
                if certificates.is_registered(name)
            }
            gate.write_registered(folder, registered)
            gate.copy_crl(authority, folder)
            if not gate.reload(folder) and self._answers():
                raise BrokerError(
                    "the broker runs from elsewhere and has not read its new lists: send it SIGHUP"
                )
            for certificate in refused:
                self._wait(authority, certificate, let_in=False)
            for certificate in lifted:
                self._wait(authority, certificate, let_in=True)
            for certificate in refused:
                self._cut(authority, certificates.name_of(certificate))

    def _answers(self) -> bool:
        """Whether a broker answers at all."""
        address = self._config.broker.address
        try:
            socket.create_connection((address.host, address.port), _PATIENCE).close()
        except OSError:
            return False
        return True

    def _lets_in(self, authority: Authority, certificate: x509.Certificate) -> bool | None:
        """Whether the broker lets a certificate in; None where none answers."""
        address = self._config.broker.address
        try:
            return gate.lets_in(authority, address, certificate, dt.datetime.now(dt.UTC))
        except OSError:
            return None

    def _wait(self, authority: Authority, certificate: x509.Certificate, *, let_in: bool) -> None:
        end = time.monotonic() + _PATIENCE
        while self._lets_in(authority, certificate) not in (let_in, None):
            if time.monotonic() > end:
                raise BrokerError("the broker does not read its new lists: restart it")
            time.sleep(_PAUSE)

    def _cut(self, authority: Authority, name: str) -> None:
        """End the connection of a certificate's holder, if there is one, and a broker."""
        try:
            gate.disconnect(authority, self._config.broker.address, name)
        except BrokerError as error:
            _log.info("no connection to cut: %s", error)


def _parsed(pem: str) -> x509.Certificate:
    return certificates.read_certificate(pem.encode(), "the registry")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """The failures of files and of the broker as the API has them."""
    try:
        yield
    except (BrokerError, AuthorityError) as error:
        raise ApiError("ServiceUnavailableException", str(error), 503) from error
