"""`fleet doctor`: what is wrong, or soon will be, with keys, certificates, broker and service.

Looks, and changes nothing.
"""

import datetime as dt
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from twinslot import disk, gate
from twinslot.addresses import Address
from twinslot.client import admission
from twinslot.client.clients import translated
from twinslot.client.own_service import OwnService
from twinslot.config import Config, read_credentials, read_password
from twinslot.errors import FleetError
from twinslot.keychain import Keychain
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority, read_certificate, tls_context

_PATIENCE = 5  # seconds that broker and service may take


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and a sentence."""

    well: bool
    text: str


def examine(config: Config, now: dt.datetime, days: int) -> Iterator[Finding]:
    """Look at everything; certificates must be good for `days` more."""
    soon = now + dt.timedelta(days=days)
    for path in _secrets(config):
        yield from _guarded(_secret, path)
    yield from _guarded(_credentials, config)
    yield from _guarded(_sets, config)
    yield from _guarded(_identities, config, now, soon)
    yield from _guarded(_broker_folder, config, now, soon)
    yield from _guarded(_service_identity, config)
    yield from _guarded(_images, config, now, soon)
    reached = {config.broker.address, config.broker.boards or config.broker.address}
    for address in sorted(reached, key=str):
        yield from _guarded(_answers, config, address)
    yield from _guarded(_service, config)


def _guarded(look, *arguments) -> Iterator[Finding]:  # type: ignore[no-untyped-def]
    """The findings of `look`; an error of it is a finding, too."""
    try:
        with translated():
            yield from look(*arguments)
    except FleetError as error:
        yield Finding(False, str(error))


def _secrets(config: Config) -> Iterator[Path]:
    yield from config.secrets
    yield from config.board_settings
    if (key := gate.Paths(config.broker_folder).key).exists():
        yield key


def _secret(path: Path) -> Iterator[Finding]:
    if said := disk.exposed(path):
        yield Finding(False, said)
    elif not os.access(path, os.R_OK):
        yield Finding(False, f"{path} cannot be read by this user")
    else:
        yield Finding(True, f"{path} is its owner's alone")


def _credentials(config: Config) -> Iterator[Finding]:
    read_credentials(config.credentials)
    read_password(config.broker)
    public = keys.read_public(config.public_key)
    if config.signing_key.exists():
        same = keys.read_private(config.signing_key).public_key() == public
        said = "is" if same else "is not"
        yield Finding(same, f"{config.public_key} {said} the half of {config.signing_key}")


def _sets(config: Config) -> Iterator[Finding]:
    """The sets of keys: whether the signing key signs, and where the root key lies."""
    public = keys.read_public(config.public_key)
    wrong = [text for text in admission.remarks(config, public) if text != admission.ONE_KEY]
    for text in wrong:
        yield Finding(False, text)
    found = Keychain(config.folder).present
    if found is None:
        yield Finding(True, admission.ONE_KEY)
    elif not wrong:
        yield Finding(True, f"set {found.version} of keys lets {config.public_key} sign")
    if config.root_key.exists():
        yield Finding(
            True,
            f"{config.root_key} lies on this machine: who steals both keys has the boards; take "
            "it off line (docs/keys.md)",
        )


def _identities(config: Config, now: dt.datetime, soon: dt.datetime) -> Iterator[Finding]:
    """The authority, what it revoked, whom it gave certificates."""
    if not (config.authority).exists():
        return
    authority = Authority(config.authority)
    if authority.key_path.exists():
        _ = authority.key  # fits the certificate, or this raises
    yield _end(str(authority.path), authority.certificate.not_valid_after_utc, now, soon, "")
    crl = authority.crl
    if crl.next_update_utc is None:
        yield Finding(False, f"{authority.crl_path} does not say when it ends")
    else:
        remedy = "`fleet broker-config` makes it longer; then let mosquitto read it (SIGHUP)"
        yield _end(f"{authority.crl_path}", crl.next_update_utc, now, soon, remedy)
    for name, certificate in authority.all_issued():
        if authority.is_revoked(certificate):
            yield from _guarded(_revocation, config, authority, name, certificate, now)
        else:
            remedy = f"`fleet provision {name} --renew`"
            if name == certificates.SERVICE:
                remedy = "revoke it by removing keys/service.key, then `fleet broker-config`"
            yield _end(
                f"the certificate of {name}", certificate.not_valid_after_utc, now, soon, remedy
            )


def _revocation(
    config: Config, authority: Authority, name: str, certificate: x509.Certificate, now: dt.datetime
) -> Iterator[Finding]:
    """Whether the broker refuses a revoked thing: it reads the list only when it is told to."""
    address = config.broker.address
    if not config.broker.tls or not authority.key_path.exists():
        yield Finding(True, f"{name} is revoked")
        return
    try:
        let_in = gate.lets_in(authority, address, certificate, now)
    except OSError:  # `_answers` tells
        yield Finding(True, f"{name} is revoked")
        return
    if not let_in:
        yield Finding(True, f"{name} is revoked, and the broker refuses it")
        return
    pid = gate.Paths(config.broker_folder).pid
    yield Finding(
        False,
        f"{name} is revoked, but the broker still lets it in: it has not read the list. `kill -HUP "
        f"$(cat {pid})`, then `fleet revoke {name} --disconnect` cuts its connection",
    )


def _end(what: str, end: dt.datetime, now: dt.datetime, soon: dt.datetime, remedy: str) -> Finding:
    if end > soon:
        return Finding(True, f"{what} is valid until {end:%Y-%m-%d}")
    said = f"ended on {end:%Y-%m-%d}" if end <= now else f"ends on {end:%Y-%m-%d}"
    return Finding(False, f"{what} {said}" + (f": {remedy}" if remedy else ""))


def _broker_folder(config: Config, now: dt.datetime, soon: dt.datetime) -> Iterator[Finding]:
    """Check the files of mosquitto."""
    paths = gate.Paths(config.broker_folder)
    if not paths.folder.exists():
        return
    authority = Authority(config.authority)
    again = "`fleet broker-config` puts it right"
    certificate = read_certificate(paths.certificate)
    yield _end(str(paths.certificate), certificate.not_valid_after_utc, now, soon, again)
    if not certificates.issued_by(certificate, authority.certificate):
        yield Finding(False, f"{paths.certificate} is not signed by {authority.path}: {again}")
    for copy, original in ((paths.crl, authority.crl_path), (paths.ca, authority.path)):
        same = disk.read(copy, "the broker's copy") == disk.read(original, "the original")
        said = "is" if same else "is not"
        yield Finding(same, f"{copy} {said} {original}" + ("" if same else f": {again}"))
    disk.read(paths.settings, "mosquitto's settings")
    allowed = disk.read(paths.acl, "the access list").decode(errors="replace").splitlines()
    missing = [line for line in gate.access_list().splitlines() if line not in allowed]
    said = f"does not allow all that boards ask: {again}" if missing else "allows what boards ask"
    yield Finding(not missing, f"{paths.acl} {said}")


def _service_identity(config: Config) -> Iterator[Finding]:
    """Check the certificate that the service shows the broker."""
    path, key_path = config.broker.certificate, config.broker.key
    if path is None or key_path is None:
        return
    same = read_certificate(path).public_key() == keys.read_private(key_path).public_key()
    said = "belong together" if same else "do not belong together"
    yield Finding(same, f"{path} and {key_path} {said}")


def _images(config: Config, now: dt.datetime, soon: dt.datetime) -> Iterator[Finding]:
    """Check the listener that hands out images."""
    if config.data.host == "0.0.0.0" and not config.data_url:  # noqa: S104 - compared
        yield Finding(
            False, "boards are told 127.0.0.1 in URLs of images: set service.data_url to yours"
        )
    path, key_path = config.certificate, config.key
    if path is None or key_path is None:
        return
    yield _end(str(path), read_certificate(path).not_valid_after_utc, now, soon, "")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, key_path)
    except OSError as error:  # also ssl.SSLError
        yield Finding(False, f"images cannot be served as {path} with {key_path}: {error}")


def _answers(config: Config, address: Address) -> Iterator[Finding]:
    """Whether the broker answers, with TLS where that is set.

    No MQTT is spoken: a client with the service's certificate would take the place of the service.
    TLS ends at 1.2, in which a server tells during the handshake that it refuses a certificate.
    """
    settings = config.broker
    try:
        with socket.create_connection((address.host, address.port), _PATIENCE) as plain:
            if not settings.tls:
                yield Finding(True, f"the broker answers at {address}")
                return
            context = tls_context(settings.ca)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            if settings.certificate is not None:
                context.load_cert_chain(settings.certificate, settings.key)
            with context.wrap_socket(plain, server_hostname=address.host):
                yield Finding(True, f"the broker answers at {address}, with TLS")
    except ssl.SSLCertVerificationError as error:
        yield Finding(
            False, f"the broker at {address} has a wrong certificate: {error.verify_message}"
        )
    except OSError as error:  # also ssl.SSLError
        yield Finding(False, f"no broker at {address}: {error}")


def _service(config: Config) -> Iterator[Finding]:
    """Whether the service answers, and refuses what the authority revoked."""
    clients = OwnService(config)
    refused = clients.revoked()
    yield Finding(True, f"the service answers at {clients.endpoint}")
    if not (config.authority).exists():
        return
    authority = Authority(config.authority)
    for name, certificate in authority.all_issued():
        if name != certificates.SERVICE and authority.is_revoked(certificate) != (name in refused):
            if name in refused:
                text = f"the service refuses {name}, whose certificate is valid"
                remedy = f"`fleet revoke {name}`, or `fleet provision {name} --renew`"
            else:
                text, remedy = f"the service still answers {name}", f"`fleet revoke {name}`"
            yield Finding(False, f"{text}: {remedy}")
