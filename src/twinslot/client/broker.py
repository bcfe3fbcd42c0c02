"""A folder from which mosquitto runs: certificates, who may do what, two listeners.

Things reach one listener, the service another on this machine's loopback. On both, a certificate of
the fleet's authority is the only way in, and its common name becomes user name and client id,
whatever the client says it is: nobody takes another's id. An access list bounds what is published
and what is delivered; mosquitto grants every subscription and drops what the list forbids.
Options are those of mosquitto 2.0.
"""

import os
import pwd
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from twinslot import disk
from twinslot.gate import BrokerError, Paths, access_list, copy_crl, registered_lines
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority, read_certificate

_PATIENCE = 10  # seconds
_MOST_THINGS = 10_000  # connections at the listener of things

LIMITS = (
    # No message of AWS's is longer, the largest block of a stream in JSON aside.
    "message_size_limit 200000\n"
    "max_packet_size 201000\n"
    # For each client. What is beyond is dropped, whoever sent it, and the service gets the requests
    # of all things: it must be able to be away for a while, or to be asked by many at once.
    "max_queued_messages 20000\n"
    "max_queued_bytes 67108864\n"
)
"""Lines of mosquitto.conf: how long messages and queues may be."""


@dataclass(frozen=True)
class Wanted:
    """The wishes for the broker.

    hosts: names and addresses under which boards reach it; bind: address of their listener, ""
    for all; port, service_port: of the two listeners; user: whom mosquitto becomes when root
    starts it.
    """

    hosts: Sequence[str]
    bind: str
    port: int
    service_port: int
    user: str


def default_user() -> str:
    """Whom mosquitto should run as: whoever asks; for root `mosquitto`, where there is one."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid()).pw_name
    return "mosquitto" if _exists("mosquitto") else "root"


def configure(folder: Path, authority: Authority, wanted: Wanted) -> Paths:
    """Write, or bring up to date, the broker's folder.

    A key that is there is kept; so is a certificate that fits. Raises BrokerError, before anything
    is written, for a user who cannot be; else FileError, AuthorityError, CertificateError.
    """
    paths = Paths(folder)
    owner = _check_user(wanted.user, paths.folder)
    hosts = list(dict.fromkeys([*wanted.hosts, "localhost", "127.0.0.1"]))
    if not paths.key.exists():
        disk.replace(paths.key, certificates.private_pem(keys.generate()), disk.SECRET)
    key = keys.read_private(paths.key).public_key()
    if not _fits(paths.certificate, authority, key, hosts):
        certificate = authority.issue_server(hosts, key)
        disk.replace(paths.certificate, certificates.pem(certificate))
    disk.replace(paths.ca, certificates.pem(authority.certificate))
    authority.renew_crl()
    copy_crl(authority, folder)
    registered: list[str] = []
    if paths.acl.exists():
        registered = registered_lines(disk.read(paths.acl, "the access list").decode())
    disk.replace(paths.acl, access_list(registered).encode())
    disk.replace(paths.settings, settings(paths, wanted).encode())
    if owner.pw_uid != os.geteuid():
        for path in (paths.folder, *paths.folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    return paths


def known_hosts(folder: Path) -> list[str]:
    """The names and addresses that the broker's certificate is for; none where there is none."""
    path = Paths(folder).certificate
    if not path.exists():
        return []
    found = read_certificate(path).extensions
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def known_port(folder: Path) -> int | None:
    """The port of the things' listener as it was written the last time; None without one."""
    path = Paths(folder).settings
    if not path.exists():
        return None
    found = re.search(rb"^listener (\d+)", disk.read(path, "mosquitto's settings"), re.MULTILINE)
    return int(found[1]) if found else None


def free_port(first: int) -> int:
    """The first port from `first` on that is free on this machine, like the one behind it."""
    pairs = range(first, 65535, 2)
    return next((port for port in pairs if _is_free(port) and _is_free(port + 1)), first)


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True


def service_identity(authority: Authority, folder: Path) -> tuple[Path, Path]:
    """Certificate and key with which the service logs in, in `folder`; made if need be.

    Raises AuthorityError, FileError, KeyFileError.
    """
    path, key_path = folder / "service.pem", folder / "service.key"
    before = authority.issued(certificates.SERVICE)
    if path.exists() and key_path.exists() and before is not None:
        key = keys.read_private(key_path).public_key()
        if key == before.public_key() and not authority.is_revoked(before):
            disk.replace(path, certificates.pem(before))
            return path, key_path
    if before is not None:
        authority.revoke(certificates.SERVICE)
    new = keys.generate()
    disk.replace(key_path, certificates.private_pem(new), disk.SECRET)
    certificate = authority.issue(certificates.SERVICE, new.public_key())
    disk.replace(path, certificates.pem(certificate))
    return path, key_path


def settings(paths: Paths, wanted: Wanted) -> str:
    """The text of mosquitto.conf."""
    tls = (
        f"cafile {paths.ca}\n"
        f"certfile {paths.certificate}\n"
        f"keyfile {paths.key}\n"
        f"crlfile {paths.crl}\n"
        "require_certificate true\n"
        "use_identity_as_username true\n"
        "use_username_as_clientid true\n"
    )
    things = f"listener {wanted.port} {wanted.bind}".rstrip()
    return (
        "# Written by `fleet broker-config`, which writes it again.\n"
        f"user {wanted.user}\n"
        f"pid_file {paths.pid}\n"
        "allow_anonymous false\n"
        f"acl_file {paths.acl}\n"
        "retain_available false\n"
        f"{LIMITS}"
        # Else a small packet waits until the one before is acknowledged: 40 ms per request.
        "set_tcp_nodelay true\n"
        "\n# Things. Strangers must leave descriptors for the service.\n"
        f"{things}\nmax_connections {_MOST_THINGS}\n{tls}"
        "\n# The service.\n"
        f"listener {wanted.service_port} 127.0.0.1\nmax_connections 64\n{tls}"
    )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _fits(path: Path, authority: Authority, key: keys.PublicKey, hosts: Sequence[str]) -> bool:
    """Say whether a certificate is the authority's, for this key and exactly these hosts."""
    if not path.exists():
        return False
    certificate = read_certificate(path)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificates.issued_by(certificate, authority.certificate)
        and certificate.public_key() == key
        and names.get_values_for_type(x509.DNSName) == list(hosts)
    )


def _check_user(name: str, folder: Path) -> pwd.struct_passwd:
    """The user that mosquitto becomes; it reads its files only afterwards.

    Raises BrokerError when the files cannot be given to this user, or not be reached by it.
    """
    if not _exists(name):
        raise BrokerError(f"no user {name} on this machine: name one with --user")
    user = pwd.getpwnam(name)
    if user.pw_uid == os.geteuid():
        return user
    if os.geteuid():
        raise BrokerError(f"only root can give the broker's key to {name}")
    for parent in folder.parents:
        found = parent.stat()
        if not found.st_mode & 0o001 and found.st_uid != user.pw_uid:
            raise BrokerError(
                f"the user {name} cannot pass {parent}: move the fleet, or name another with --user"
            )
    return user
