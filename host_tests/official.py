"""What the official end-to-end cases share: a fleet, a board of version 0.9.0, and witnesses.

Broker, service and board are processes of their own. An operator acts through boto3 alone. Images
come over MQTT from the service, over HTTP through `Gate`, which notes every answer and can be slow.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from fleet_service import until
from paho.mqtt.enums import CallbackAPIVersion

from demo.stack import SSID, Stack
from sim import board as boards
from sim import image as images
from sim.board import Board
from twinslot import config, service_notes
from twinslot.formats import package
from twinslot.formats.component import firmware_content
from twinslot.formats.trailer import write_trailer
from twinslot.trust import keys, signing

RAW, PACKAGE = "raw", "package"
MQTT, HTTP = "MQTT", "HTTP"
CERTIFICATE = "/certs/signer.pem"  # as AWS documents have it; the board looks for its last part
CERTIFICATES = "/etc/ota/certs/"  # on the board
ROLE = "arn:aws:iam::000000000000:role/fleet"
BUCKET = "images"
SIZE = 60_000  # bytes of an image
LONG = 400_000  # of one whose transfer is interrupted
VALID = 2  # otadata's state of a proved image

# What an image is frozen with that the sim's own behaviours do not have. FreeRTOS's demos carry
# their Wi-Fi credentials in the image; here such an image stands for them.
_WRONG_PASSWORD = """\
import network
_connect = network.WLAN.connect
network.WLAN.connect = lambda self, ssid, key=None: _connect(self, ssid, "wrong")
"""


@dataclass(frozen=True)
class Image:
    """What an update brings. signing: of CreateOTAUpdate, None for none."""

    version: str
    data: bytes
    signing: dict[str, Any] | None = None


class Signer:
    """Whoever signs raw images: a key, of P-256 or RSA, and its self-signed certificate."""

    def __init__(self, name: str = "signer.pem", *, with_rsa: bool = False) -> None:
        self.name = name
        self._key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if with_rsa:
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer@example")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of these bytes, by SHA-256."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def signed(self, version: str, data: bytes) -> Image:
        """Return any bytes as an image, properly signed. AWS documents name a path."""
        algorithms = f"SHA256 {'RSA' if isinstance(self._key, rsa.RSAPrivateKey) else 'ECDSA'}"
        signature = self.sign(data)
        signing = custom(signature, certificate=f"/certs/{self.name}", algorithms=algorithms)
        return Image(version, data, signing)


def custom(
    signature: bytes, *, certificate: str = CERTIFICATE, algorithms: str = "SHA256 ECDSA"
) -> dict[str, Any]:
    """Return `codeSigning` of an update's file, as CreateOTAUpdate takes it."""
    hashing, signing = algorithms.split()
    return {
        "customCodeSigning": {
            "signature": {"inlineDocument": signature},
            "certificateChain": {"certificateName": certificate},
            "hashAlgorithm": hashing,
            "signatureAlgorithm": signing,
        }
    }


def letters_replaced(data: bytes) -> bytes:
    """Do to base64 what the official suite does: A to M become Z to N."""
    text = base64.b64encode(data).decode()
    return base64.b64decode(text.translate(str.maketrans("ABCDEFGHIJKLM", "ZYXWVUTSRQPON")))


class Gate(http.server.ThreadingHTTPServer):
    """Stands before the listener that hands out images, and passes on what it is asked.

    answers: (status, first byte asked for) in order; refusals: bodies of those that are errors.
    hold: a body trickles after so many bytes until `hurry` is set; then it goes on, or the
    connection is cut and the next request is kept for `late` seconds before it is passed on.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.socket.setblocking(False)  # a connection may be gone when it is accepted (select(2))
        self.target = ""  # host:port
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.reset()

    def reset(self) -> None:
        """Forget what was asked, and be as fast as can be."""
        self.answers: list[tuple[int, int]] = []
        self.refusals: list[bytes] = []
        self.slow_from: int | None = None
        self.late: float | None = None
        self.wait = 0.0
        self.hurry = threading.Event()
        self.reached = threading.Event()

    def hold(self, after: int, *, late: float | None = None) -> None:
        """Trickle from byte `after` on; late: then cut, and keep the next request (seconds)."""
        self.slow_from, self.late = after, late

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Gate:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hurry.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Passing(http.server.BaseHTTPRequestHandler):
    server: Gate

    def do_GET(self) -> None:
        gate = self.server
        time.sleep(gate.wait)
        gate.wait = 0.0
        behind = http.client.HTTPConnection(gate.target, timeout=20)
        headers = {name: self.headers[name] for name in ("Host", "Range") if name in self.headers}
        behind.request("GET", self.path, headers=headers)
        answer = behind.getresponse()
        body = answer.read()
        behind.close()
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        gate.answers.append((answer.status, int(start)))
        if answer.status >= 400:
            gate.refusals.append(body)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "keep-alive"):
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the board has gone
            self._send(gate, memoryview(body))

    def _send(self, gate: Gate, body: memoryview) -> None:
        for at in range(0, len(body), 1024):
            if gate.slow_from is not None and at >= gate.slow_from:
                gate.reached.set()
                if gate.hurry.wait(0.05):
                    gate.slow_from = None
                    if gate.late is not None:
                        gate.wait = gate.late
                        self.close_connection = True
                        return
            self.wfile.write(body[at : at + 1024])

    def log_message(self, *_: Any) -> None:
        pass


class Witness:
    """Another client of the broker, which hears what one board and the service say.

    blocks: indices of the stream's blocks, as they were sent; wanted: how many each request was
    for; updates: what was reported of jobs, (job id, the request); asked: how often for the next.
    """

    def __init__(self, port: int, thing: str) -> None:
        self.blocks: list[int] = []
        self.wanted: list[int] = []
        self.updates: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"$aws/things/{thing}/#")
        assert self._subscribed.wait(20)

    def _hear(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        words = message.topic.split("/")[3:]
        if words[0] == "streams" and words[2:] == ["data", "cbor"]:
            self.blocks.append(cbor2.loads(message.payload)["i"])
        elif words[0] == "streams" and words[2:] == ["get", "cbor"]:
            bitmap = cbor2.loads(message.payload)["b"]
            self.wanted.append(int.from_bytes(bitmap, "little").bit_count())
        elif words[0] == "jobs" and words[2:] == ["update"]:
            self.updates.append((words[1], json.loads(message.payload)))
        elif words == ["jobs", "$next", "get"]:
            self.asked += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def kick(port: int, thing: str) -> None:
    """Connect under a board's client id, which throws the board out, and leave."""
    connected = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, thing)
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(10), "the second client must be in within 10 s"
    client.disconnect()
    client.loop_stop()


class Site(Stack):
    """Broker and service for many cases. Boards get images over HTTP through `gate`.

    interpreter: of the boards, as Stack takes it.
    """

    def __init__(self, folder: Path, interpreter: str | None = None) -> None:
        super().__init__(folder, interpreter=interpreter, self_test_s=20)
        self.gate = Gate()
        self.signer = Signer()
        self.rsa_signer = Signer("rsa.pem", with_rsa=True)

    def __enter__(self) -> Site:
        self._exit.enter_context(self.gate)
        super().__enter__()
        self.gate.target = service_notes.find_endpoint(self.config).data.partition("://")[2]
        self.key = keys.read_private(self.config.signing_key)
        self.application = boards.application_files(compiled=self._compiled)
        return self

    def start_service(self) -> None:
        path = self.folder / config.FILE_NAME
        path.write_text(path.read_text().replace('data_url = ""', f'data_url = "{self.gate.url}"'))
        super().start_service()

    @staticmethod
    def another_key() -> Any:
        """Return a key that no board trusts."""
        return keys.generate()

    def image(
        self, version: str, form: str = RAW, behaviour: str = "good", size: int = SIZE
    ) -> Image:
        """Build an image, signed as it must be. behaviour: also "wrong_password"."""
        modules = {"release.py": f'VERSION = "{version}"\n'.encode()} if form == RAW else {}
        if behaviour == "wrong_password":
            modules["_boot.py"], behaviour = _WRONG_PASSWORD.encode(), "good"
        data = boards.firmware(
            behaviour, version=version, size=size, compiled=self._compiled, modules=modules
        )
        if form == RAW:
            return self.signer.signed(version, data)
        sequence = int(version.replace(".", ""))
        return Image(
            version,
            signing.build(
                [firmware_content(data, images.CHIP_ESP32)],
                self.key,
                self.config.product,
                version,
                sequence,
                1_790_000_000,
            ),
        )

    @contextlib.contextmanager
    def case(
        self, thing: str, form: str, protocol: str, heapsize: str | None = None
    ) -> Iterator[Case]:
        """Prepare one case: a board that is flashed with 0.9.0, its power still off."""
        self.gate.reset()
        board = Board(
            self.folder / thing, interpreter=self.interpreter, heapsize=heapsize, ssid=SSID
        )
        witness = Witness(self.broker_port, thing)
        case = Case(self, thing, form, protocol, board, witness)
        try:
            yield case
        finally:
            self.gate.hurry.set()
            witness.close()
            board.close()
            case.clean_up()


class Case:
    """One board, and what is done to it. protocol: MQTT or HTTP, as updates offer it."""

    def __init__(
        self, site: Site, thing: str, form: str, protocol: str, board: Board, witness: Witness
    ) -> None:
        self.site = site
        self.thing = thing
        self.form = form
        self.protocol = protocol
        self.board = board
        self.witness = witness
        self.iot = site.clients.iot
        self._updates: list[str] = []
        self._flash(site.image("0.9.0", form))
        self.settings()

    # -- the board ----------------------------------------------------------------------------

    def _flash(self, image: Image) -> None:
        if self.form == PACKAGE:
            head = package.inspect(image.data)
            self.board.flash_firmware(0, image.data[4096:], write_trailer([head.record]))
        else:
            self.board.flash_firmware(0, image.data)
        self.board.install(self.site.application)

    def settings(self, **settings: Any) -> None:
        """Write the board's settings and certificates, while its power is off."""
        wanted = {"request_ms": 500, "raw_images": int(self.form == RAW), **settings}
        folder = self.site.settings_folder(self.thing, settings=wanted)
        files = {f"/etc/{path.name}": path.read_bytes() for path in folder.iterdir()}
        for signer in (self.site.signer, self.site.rsa_signer):
            files[CERTIFICATES + signer.name] = signer.certificate
        self.board.install(files)

    def start(self, **settings: Any) -> None:
        """Switch it on, and wait until it has asked for work."""
        self.settings(**settings)
        self.board.start()
        until(lambda: self.witness.asked, "the board's first question")

    def image(self, version: str, behaviour: str = "good", size: int = SIZE) -> Image:
        return self.site.image(version, self.form, behaviour, size)

    def runs(self, image: Image) -> bool:
        """Whether the board runs this image and it is proved."""
        slot = self.board.boots[-1][0]
        states = [r[1] for r in self.board.otadata() if r and (r[0] - 1) % 2 == slot]
        log = self.board.log_path.read_text(errors="replace")
        data = image.data[4096:] if self.form == PACKAGE else image.data
        return (
            log.rpartition("running version ")[2].startswith(f"{image.version} from ota_{slot}")
            and self.board.slot_bytes(slot, len(data)) == data
            and all(state == VALID for state in states)
        )

    # -- the operator -------------------------------------------------------------------------

    def offer(self, image: Image, protocols: str = "", **changes: Any) -> str:
        """CreateOTAUpdate, of an object put before. Returns the job's id.

        protocols: such as "MQTT HTTP", the case's own by default; changes: of the update's file.
        """
        number = len(self._updates) + 1
        update_id = f"{self.thing}-{number}"
        self.site.clients.s3.put_object(Bucket=BUCKET, Key=update_id, Body=image.data)
        file = {
            "fileName": "/fw/app.bin",
            "fileLocation": {"s3Location": {"bucket": BUCKET, "key": update_id}},
            **({"codeSigning": image.signing} if image.signing else {}),
            **changes,
        }
        made = self.iot.create_ota_update(
            otaUpdateId=update_id,
            targets=[self.iot.describe_thing(thingName=self.thing)["thingArn"]],
            protocols=(protocols or self.protocol).split(),
            targetSelection="SNAPSHOT",
            files=[{name: value for name, value in file.items() if value is not None}],
            awsJobPresignedUrlConfig={"expiresInSec": 60},
            roleArn=ROLE,
        )
        self._updates.append(update_id)
        return str(made["awsIotJobId"])

    def execution(self, job: str) -> dict[str, Any]:
        return self.site.execution(job, self.thing)

    def started(self, job: str) -> dict[str, Any]:
        """Wait as the official suite does until the job is no longer QUEUED."""
        execution: dict[str, Any] = until(
            lambda: self.execution(job)["status"] != "QUEUED" and self.execution(job),
            f"the start of {job}",
        )
        assert execution["status"] == "IN_PROGRESS", execution
        return execution

    def ended(self, job: str) -> tuple[str, str]:
        """Wait for a job's end. Returns (status, reason)."""
        until(lambda: self.site.finished(job, self.thing), f"the end of {job}", 60)
        execution = self.execution(job)
        return execution["status"], execution["statusDetails"].get("reason", "")

    def cancel(self, job: str) -> None:
        self.iot.cancel_job(jobId=job, force=True)

    def kick(self) -> None:
        kick(self.site.broker_port, self.thing)

    def clean_up(self) -> None:
        """DeleteOTAUpdate, with stream and job, as the official suite does after each case."""
        for update_id in self._updates:
            self.iot.delete_ota_update(
                otaUpdateId=update_id, deleteStream=True, forceDeleteAWSJob=True
            )
