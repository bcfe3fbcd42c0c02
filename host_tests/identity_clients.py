"""Things, strangers and thieves at the fleet's own broker, as paho clients; what the service wrote.

Nothing here waits for a time. Broker and service take one message after another, so that whatever
a forbidden one would have caused has happened when a later, allowed one is answered.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from click.testing import CliRunner
from cryptography import x509
from fleet_service import DEADLINE, until
from paho.mqtt.enums import CallbackAPIVersion

from demo.stack import Stack
from twinslot.cli.main import main
from twinslot.trust import certificates, keys

EVERYTHING = ["#", "$aws/#", "$aws/things/+/jobs/#", "$aws/things/+/streams/#"]
EVERYTHING += ["$aws/things/+/shadow/#", "$SYS/#"]


class Client:
    """An MQTT client that hears all that it is let; `got` is what came, as (topic, payload)."""

    def __init__(
        self,
        port: int,
        ca: Path,
        identity: tuple[Path, Path] | None,
        *,
        client_id: str = "",
        user: str = "",
        will: tuple[str, bytes] | None = None,
    ) -> None:
        """identity: certificate and key, None for none."""
        self.got: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._state = ""
        self._granted = 0
        self._mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=ca)
        if identity is not None:
            context.load_cert_chain(*identity)
        self._mqtt.tls_set_context(context)
        if user:
            self._mqtt.username_pw_set(user, "guess")
        if will is not None:
            self._mqtt.will_set(*will, qos=1)
        self._mqtt.on_connect = self._connected
        self._mqtt.on_disconnect = lambda *_: self._set(_state="cut")
        self._mqtt.on_subscribe = lambda *_: self._set(_granted=self._granted + 1)
        self._mqtt.on_message = self._received
        try:
            self._mqtt.connect("127.0.0.1", port)
        except OSError:
            self._state = "refused"
            return
        self._mqtt.loop_start()
        self._wait(lambda: self._state != "")
        if self.connected:
            self._mqtt.subscribe([(topic, 1) for topic in EVERYTHING])
            self._wait(lambda: self._granted or not self.connected)

    @property
    def connected(self) -> bool:
        """Whether the broker has let it in, and not cut it off since."""
        return self._state == "in"

    def publish(self, topic: str, message: Any, *, retain: bool = False) -> None:
        """Send a message (bytes, or what becomes JSON) and wait until the broker has it."""
        payload = message if isinstance(message, bytes) else json.dumps(message)
        sent = self._mqtt.publish(topic, payload, qos=1, retain=retain)
        if not retain:  # else it may be the end of the connection
            sent.wait_for_publish(DEADLINE)

    def ask(self, topic: str, message: Any, answer: str) -> Any:
        """Send a request; the JSON that comes on the topic `answer` next."""
        before = len(self.topic(answer))
        self.publish(topic, message)
        self._wait(lambda: len(self.topic(answer)) > before)
        return json.loads(self.topic(answer)[-1])

    def topic(self, name: str) -> list[bytes]:
        """What came on a topic."""
        return [payload for topic, payload in list(self.got) if topic == name]

    def wait_cut(self) -> None:
        """Wait until the broker has ended the connection."""
        self._wait(lambda: self._state == "cut")

    def close(self, *, politely: bool = True) -> None:
        """End the connection; impolitely, the broker publishes the will."""
        if politely:
            self._mqtt.disconnect()
        else:
            found = self._mqtt.socket()
            if isinstance(found, ssl.SSLSocket):
                found.shutdown(socket.SHUT_RDWR)
        self._mqtt.loop_stop()

    def _connected(self, _c: Any, _d: Any, _f: Any, reason: Any, _p: Any) -> None:
        self._set(_state="refused" if reason.is_failure else "in")

    def _received(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.got.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()

    def _set(self, **values: Any) -> None:
        with self._changed:
            if self._state != "refused":
                vars(self).update(values)
            self._changed.notify_all()

    def _wait(self, condition: Any) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE), f"{self._state}: {self.got}"


class Site:
    """A broker with TLS, a service, and clients of every kind at it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.folder = stack.folder
        self._clients: list[Client] = []

    def fleet(self, *arguments: str, code: int = 0) -> str:
        """Run a `fleet` command that ends with `code`; what it printed."""
        done = CliRunner().invoke(main, ["--config", f"{self.folder}/fleet.toml", *arguments])
        assert done.exit_code == code, done.output
        return str(done.output)

    def identity(self, thing: str) -> tuple[Path, Path]:
        """Certificate and key of a provisioned thing."""
        folder = self.folder / "boards" / thing
        return folder / "client.pem", folder / "client.key"

    def forged(
        self, name: str, ca: x509.Certificate, key: keys.PrivateKey, **dates: Any
    ) -> tuple[Path, Path]:
        """Another certificate for `name`, of any authority and dates."""
        own = keys.generate()
        certificate = certificates.client(ca, key, name, own.public_key(), **dates)
        paths = self.folder / "forged.pem", self.folder / "forged.key"
        paths[0].write_bytes(certificates.pem(certificate))
        paths[1].write_bytes(certificates.private_pem(own))
        return paths

    def client(self, identity: tuple[Path, Path] | None, **options: Any) -> Client:
        """A client at the things' listener, in or refused, that ends with the test."""
        port = options.pop("port", self.stack.broker_port)
        found = Client(port, self.folder / "ca/ca.pem", identity, **options)
        self._clients.append(found)
        return found

    def thing(self, name: str, **options: Any) -> Client:
        """A provisioned thing's client, which is in."""
        found = self.client(self.identity(name), **options)
        assert found.connected
        return found

    def job(self, thing: str, job_id: str, data: bytes) -> None:
        """A job, and a stream of the same name, with `data` for a thing."""
        clients = self.stack.clients
        clients.s3.put_object(Bucket="packages", Key=job_id, Body=data)
        clients.iot.create_stream(
            streamId=job_id,
            files=[{"fileId": 0, "s3Location": {"bucket": "packages", "key": job_id}}],
            roleArn="arn:aws:iam::000000000000:role/fleet",
        )
        clients.iot.create_job(
            jobId=job_id,
            targets=[f"arn:aws:iot:local:000000000000:thing/{thing}"],
            document=json.dumps({"afr_ota": {"streamname": job_id}}),
        )

    def served(self, job_id: str, thing: str) -> int:
        """How many blocks the service has noted that it gave a thing."""
        return int(self.stack.clients.traffic(job_id)["things"][thing]["blocks"])

    def recorded(self) -> dict[str, Any]:
        """What the service remembers of things and jobs, and how many messages it ever sent."""
        tables = (
            "things",
            "revoked",
            "jobs",
            "streams",
            "executions",
            "shadows",
            "sqlite_sequence",
        )
        with closing(sqlite3.connect(self.folder / "state/fleet.db")) as database:
            return {
                table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables
            }

    def sent(self) -> int:
        """How many messages the service ever put into its outbox."""
        return int(dict(self.recorded()["sqlite_sequence"]).get("outbox", 0))

    def close(self) -> None:
        """End the clients."""
        while self._clients:
            self._clients.pop().close()


@contextmanager
def nothing_recorded(site: Site, *, answers: int = 0) -> Iterator[None]:
    """Nothing inside changes what the service remembers, and it sends just so many answers."""
    before = site.recorded()
    yield
    until(lambda: site.sent() == _sent(before) + answers, "the answers")
    after = site.recorded()
    for found in (before, after):
        found.pop("sqlite_sequence")
    assert after == before


def _sent(recorded: dict[str, Any]) -> int:
    return int(dict(recorded["sqlite_sequence"]).get("outbox", 0))
