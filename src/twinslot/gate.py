"""The gate of the fleet's broker: the lists by which mosquitto lets in, and the tools to close it.

mosquitto reads its lists when it starts and on SIGHUP. Certificates of the registry, which the
service makes, have a name of their own (`REGISTERED`): which things they may speak for stands in
the access list. Options are those of mosquitto 2.0.
"""

import datetime as dt
import os
import queue
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from twinslot import disk
from twinslot.addresses import Address
from twinslot.errors import FleetError
from twinslot.formats import aws
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority

_PATIENCE = 10  # seconds
_BEGIN = "# Certificates of the registry, written by `fleet serve`."
_END = "# The end of these."
_SERVICE = "# The service; no thing can have this name."


class BrokerError(FleetError):
    """The broker's folder cannot be made as asked."""


class Paths:
    """The files of a broker in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()  # mosquitto may be started from anywhere
        self.settings = self.folder / "mosquitto.conf"
        self.acl = self.folder / "acl"
        self.ca = self.folder / "ca.pem"
        self.crl = self.folder / "crl.pem"
        self.certificate = self.folder / "server.pem"
        self.key = self.folder / "server.key"
        self.pid = self.folder / "mosquitto.pid"  # written by a running broker


def copy_crl(authority: Authority, folder: Path) -> None:
    """Bring the broker's copy of the revocation list up to date. Raises FileError."""
    data = disk.read(authority.crl_path, "the revocation list")
    disk.replace(Paths(folder).crl, data)


def access_list(registered: Sequence[str] = ()) -> str:
    """Mosquitto's access list. `%u` is the user name: the common name of the certificate.

    registered: the lines of certificates of the registry.
    """
    lines = ["# Written by `fleet broker-config`.", "", "# A thing: its own requests and answers."]
    lines += [f"pattern write {aws.topic('%u', topic)}" for topic in aws.THING_PUBLISHES]
    lines += [f"pattern read {aws.topic('%u', topic)}" for topic in aws.THING_RECEIVES]
    lines += ["", *registered, _SERVICE, f"user {certificates.SERVICE}"]
    lines += [f"topic read {aws.topic('+', topic)}" for topic in aws.THING_PUBLISHES]
    lines += [f"topic write {aws.topic('+', topic)}" for topic in aws.THING_RECEIVES]
    return "\n".join(lines) + "\n"


def registered_lines(text: str) -> list[str]:
    """The lines of an access list that are about certificates of the registry."""
    lines = text.splitlines()
    if _BEGIN not in lines or _END not in lines:
        return []
    return [*lines[lines.index(_BEGIN) : lines.index(_END) + 1], ""]


def write_registered(folder: Path, speakers: Mapping[str, Sequence[str]]) -> bool:
    """Say in the access list which things the holders of which certificates speak for.

    speakers: things by the certificate's common name. Lines that a person added stay. Returns
    whether the list has changed. Raises BrokerError for a list that `fleet broker-config` has not
    written, FileError.
    """
    path = Paths(folder).acl
    text = disk.read(path, "the access list").decode()
    lines = text.splitlines()
    before = registered_lines(text)
    if _SERVICE not in lines:
        raise BrokerError(f"{path} was not written by `fleet broker-config`: run that once")
    start = lines.index(before[0]) if before else lines.index(_SERVICE)
    lines[start : start + len(before)] = _of_speakers(speakers)
    after = "\n".join(lines) + "\n"
    if after != text:
        _replace(path, after.encode())
    return after != text


def reload(folder: Path) -> bool:
    """Let a running mosquitto read its lists again (SIGHUP). False where none runs from here.

    Raises BrokerError where it cannot be told.
    """
    paths = Paths(folder)
    if not paths.pid.exists():
        return False
    text = disk.read(paths.pid, "mosquitto's process").decode(errors="replace").strip()
    if not text.isdecimal() or str(paths.settings) not in _command(int(text)):
        return False  # it has ended; the number may be another program's now
    try:
        os.kill(int(text), signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise BrokerError(
            f"mosquitto runs as another user and cannot be told: kill -HUP {text}"
        ) from error
    return True


def disconnect(authority: Authority, address: Address, thing: str) -> None:
    """Cut a thing's connection: log in under its name, which ends the connection it has.

    The certificate for that is valid for minutes and its key never leaves this process's folder.
    Raises BrokerError when the broker does not let it in.
    """
    now = dt.datetime.now(dt.UTC)
    key = keys.generate()
    certificate = certificates.client(
        authority.certificate,
        authority.key,
        thing,
        key.public_key(),
        begin=now - dt.timedelta(minutes=5),
        end=now + dt.timedelta(minutes=5),
    )
    context = ssl.create_default_context(cafile=authority.path)
    _load(context, key, certificate)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=thing)
    client.tls_set_context(context)
    answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.put(reason)
    client.on_disconnect = lambda _client, _data, _flags, reason, _properties: answers.put(reason)
    try:
        client.connect(address.host, address.port)
        client.loop_start()
        reason = answers.get(timeout=_PATIENCE)
    except (OSError, queue.Empty) as error:
        raise BrokerError(f"the broker {address} does not answer: {error}") from error
    finally:
        client.disconnect()
        client.loop_stop()
    if reason.is_failure:
        raise BrokerError(f"the broker {address} refuses the authority: {reason}")


def lets_in(
    authority: Authority, address: Address, revoked: x509.Certificate, now: dt.datetime
) -> bool:
    """Whether the broker at `address` lets in a holder of this revoked certificate.

    It is shown another one of the same number, which a list of revoked numbers names as well, so
    the thing's own key is not needed. TLS alone is spoken, in 1.2, where a server tells during the
    handshake that it refuses a certificate; so no connection of the thing is touched. Raises
    OSError where nothing answers.
    """
    key = keys.generate()
    certificate = certificates.client(
        authority.certificate,
        authority.key,
        certificates.name_of(revoked),
        key.public_key(),
        begin=now - dt.timedelta(minutes=5),
        end=now + dt.timedelta(minutes=5),
        number=revoked.serial_number,
    )
    context = ssl.create_default_context(cafile=authority.path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _load(context, key, certificate)
    with socket.create_connection((address.host, address.port), _PATIENCE) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=address.host):
                return True
        except ssl.SSLCertVerificationError:
            raise  # the broker's own certificate
        except (ssl.SSLError, ConnectionError):
            return False


def _load(context: ssl.SSLContext, key: keys.PrivateKey, certificate: x509.Certificate) -> None:
    """Let a context show a certificate; its key never leaves this process's own folder."""
    with tempfile.TemporaryDirectory() as name:
        both = Path(name) / "both.pem"
        data = certificates.private_pem(key) + certificates.pem(certificate)
        disk.replace(both, data, disk.SECRET)
        context.load_cert_chain(both)


def _of_speakers(speakers: Mapping[str, Sequence[str]]) -> list[str]:
    if not speakers:
        return []
    lines = [_BEGIN]
    for name, things in sorted(speakers.items()):
        lines.append(f"user {name}")
        for thing in things:
            lines += [f"topic write {aws.topic(thing, topic)}" for topic in aws.THING_PUBLISHES]
            lines += [f"topic read {aws.topic(thing, topic)}" for topic in aws.THING_RECEIVES]
    return [*lines, _END, ""]


def _replace(path: Path, data: bytes) -> None:
    """Write a file of the broker's, whose owner may be another user than the one who writes."""
    owner = path.stat()
    disk.replace(path, data)
    if owner.st_uid != path.stat().st_uid:
        os.chown(path, owner.st_uid, owner.st_gid)


def _command(pid: int) -> str:
    """The command line of a process, "" where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        done = subprocess.run(
            ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return done.stdout
