"""`fleet push`: from a folder to what the board makes of it, beside a real service and broker."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cbor2
import pytest
from esp_images import app
from fleet_service import Broker, Service, running, until
from test_fleet_service import THING, Device

from tools.postgresql import PostgreSQL
from twinslot.client import changes, shadow
from twinslot.client.application import Application
from twinslot.client.publish import publish
from twinslot.firmware import agent
from twinslot.formats import archive, package
from twinslot.formats.component import firmware_content
from twinslot.formats.document import described_sequence
from twinslot.trust import keys, signing

JOBS = f"$aws/things/{THING}/jobs"


class Board:
    """Takes one job as an agent does, and ends it as it is told to.

    `package`: what arrived; `offered`: the protocols of the job.
    """

    def __init__(self, broker: Broker, status: str, details: dict[str, str]) -> None:
        self.package = b""
        self.offered: list[str] = []
        self._device = Device(broker)
        self._end = {"status": status, "statusDetails": details}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(30)
        self._device.close()

    def _run(self) -> None:
        told = json.loads(self._device.hear(f"{JOBS}/notify-next"))["execution"]
        job, update = told["jobId"], told["jobDocument"]["afr_ota"]
        self._update(job, {"status": "IN_PROGRESS", "statusDetails": {"self_test": "receiving"}})
        self.offered = update["protocols"]
        if self.offered == ["HTTP"]:
            with urlopen(update["files"][0]["update_data_url"], timeout=30) as answer:
                self.package = answer.read()
        else:
            self._receive(update)
        self._update(job, self._end)

    def _receive(self, update: dict[str, Any]) -> None:
        stream = f"$aws/things/{THING}/streams/{update['streamname']}"
        size = update["files"][0]["filesize"]
        blocks = {}
        for number in range(-(-size // 4096)):
            request = {"f": 0, "l": 4096, "o": number, "n": 1}
            self._device.send(f"{stream}/get/cbor", cbor2.dumps(request), qos=0)
            block = cbor2.loads(self._device.hear(f"{stream}/data/cbor"))
            blocks[block["i"]] = block["p"]
        self.package = b"".join(blocks[number] for number in sorted(blocks))

    def _update(self, job: str, message: dict[str, Any]) -> None:
        self._device.ask(f"{JOBS}/{job}/update", message)


MakeBoard = Callable[..., Board]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Broker]]:
    with running(tmp_path) as made:
        write(made[0], "main.py", "import pump\n")
        write(made[0], "pump.py", "RATE = 1\n")
        made[0].clients().iot.create_thing(thingName=THING)
        yield made


@pytest.fixture
def service(pair: tuple[Service, Broker]) -> Service:
    return pair[0]


@pytest.fixture
def board(pair: tuple[Service, Broker]) -> Iterator[MakeBoard]:
    """Makes a board that waits for one job."""
    made: list[Board] = []

    def make(status: str = "SUCCEEDED", **details: str) -> Board:
        made.append(Board(pair[1], status, details))
        return made[-1]

    yield make
    for one in made:
        one.join()


def write(service: Service, name: str, text: str) -> None:
    path = service.folder / "app" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def published(service: Service, sequence: int, product: str = "demo-board", **more: Any) -> None:
    key = keys.read_private(service.config.signing_key)
    data = signing.build([firmware_content(app(1000))], key, product, "1", sequence, 1)
    publish(service.clients(), data, "x.ota", [THING], **more)


def test_a_folder_is_on_the_board_after_one_command(service: Service, board: MakeBoard) -> None:
    for number, text in enumerate(("RATE = 1\n", "RATE = 2\n"), 2):
        write(service, "pump.py", text)
        taken = board()
        done = service.fleet("push", "app", THING)
        assert done.returncode == 0, done.stdout + done.stderr
        taken.join()
        head = package.inspect(taken.package)
        (component,) = head.manifest.components
        files = archive.contents(component.result(taken.package))
        assert files["pump.py"] == text.encode()
        assert agent.BUNDLE in files
        assert (head.manifest.sequence, head.manifest.version) == (number, f"dev-{number}")
        assert re.search(
            rf"accepted: {THING} runs dev-{number}, sequence {number}, \d+\.\d s after the start",
            done.stdout,
        )
        assert "the project's own agent was added" in done.stdout
        shown = done.stdout.partition("job ota-")[0]
        assert agent.BUNDLE not in shown
        if number == 2:
            assert "  the agent, 3 files\n" in shown
            assert "  main.py\n" in shown
        else:
            assert "against dev-2, which the board has accepted:" in shown
            assert "        9  pump.py, changed\n" in shown
            assert "       12  1 files unchanged\n" in shown
            assert "  the agent, 3 files, unchanged\n" in shown


def test_what_a_push_adds_and_removes_has_a_line_for_each_file(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for name in ("main.py", "new.py", "lib/same.py", "pump.py"):
        (tmp_path / name).write_text("1")
    found = dict.fromkeys(("lib/same.mpy", "main.py", "new.mpy", "pump.mpy", agent.BUNDLE), b"1")
    before = {"main.py": b"0", "old.mpy": b"1", "lib/same.mpy": b"1", "pump.py": b"1"}
    made = Application(found, (), ())
    shown = list(changes.listing(tmp_path, made, changes.Accepted("1.0.0", before)))
    assert shown[2:-1] == [
        "        1  main.py, changed",
        "        1  new.mpy, added",
        "           old.mpy, removed",
        "        1  pump.mpy, added",
        "           pump.py, removed",
        "        1  1 files unchanged",
        "        1  the agent, 1 files, changed",
    ]


@pytest.mark.parametrize(
    ("named", "protocols"),
    [
        pytest.param("http", ["HTTP"], marks=pytest.mark.slow),
        ("both", ["MQTT", "HTTP"]),
        pytest.param("mqtt", ["MQTT"], marks=pytest.mark.slow),
    ],
)
def test_a_push_offers_the_protocols_that_are_named(
    service: Service, board: MakeBoard, named: str, protocols: list[str]
) -> None:
    taken = board()
    done = service.fleet("push", "app", THING, "--protocol", named)
    assert done.returncode == 0, done.stdout + done.stderr
    taken.join()
    assert taken.offered == protocols
    assert package.inspect(taken.package).manifest.sequence == 2


def test_firmware_version_and_compiled_modules_come_along(
    service: Service, board: MakeBoard
) -> None:
    image = app(text=b"MicroPython v1.26.1 on 2025-09-11")
    (service.folder / "app.bin").write_bytes(image)
    taken = board()
    options = ("--firmware", "app.bin", "--mpy", "--version", "2.0.0", "--sequence", "9")
    done = service.fleet("push", "app", THING, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    taken.join()
    manifest = package.inspect(taken.package).manifest
    firmware, application = manifest.components
    assert (manifest.version, manifest.sequence) == ("2.0.0", 9)
    assert firmware.of(taken.package) == image
    assert "pump.mpy" in archive.contents(application.of(taken.package))


def test_a_refusal_of_the_board_is_said_with_its_reasons(
    service: Service, board: MakeBoard
) -> None:
    board("FAILED", reason="self_test", detail="the sensor does not answer")
    done = service.fleet("push", "app", THING)
    assert done.returncode == 1
    words = f"not accepted: {THING} says FAILED: self_test: the sensor does not answer; "
    assert words in done.stdout


@pytest.mark.slow
def test_a_board_that_does_not_come_is_given_up(service: Service) -> None:
    done = service.fleet("push", "app", THING, "--timeout", "1")
    assert done.returncode == 5
    assert "within 1.0 s" in done.stderr


def test_what_cannot_be_packed_or_is_for_nobody_is_not_published(service: Service) -> None:
    refused = service.fleet("push", "app", "board-2")
    assert refused.returncode == 1
    assert "knows no board board-2" in refused.stderr
    write(service, "client.key", "")
    refused = service.fleet("push", "app", THING)
    assert refused.returncode == 1
    assert "client.key is a private key" in refused.stderr
    assert service.clients().iot.list_jobs()["jobs"] == []


def test_without_a_service_is_said_so(service: Service) -> None:
    service.kill()
    done = service.fleet("push", "app", THING)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("demo-board 1.1.0, sequence 7", 7),
        ("demo-board 1.1.0, sequence 3, sequence 12", 12),
        ("demo-board-2 1.1.0, sequence 7", 0),
        ("meter 1.1.0, sequence 7", 0),
        ("demo-board 1.1.0", 0),
        ("", 0),
    ],
)
def test_a_job_says_its_sequence_in_its_description(text: str, sequence: int) -> None:
    assert described_sequence(text, "demo-board") == sequence


def test_the_watched_job_is_the_pushed_one(service: Service, board: MakeBoard) -> None:
    board()
    done = service.fleet("push", "app", THING)
    job = re.search(r"job (ota-2-[0-9a-f]{8}):", done.stdout)
    assert job is not None
    until(
        lambda: service.clients().iot.describe_job(jobId=job[1])["job"]["status"] == "COMPLETED",
        "the job's end",
    )


@pytest.mark.slow
def test_a_folder_is_on_the_board_with_all_records_in_postgresql(
    tmp_path: Path, postgresql_server: PostgreSQL
) -> None:
    url = postgresql_server.database()
    with running(tmp_path, "--database", url) as (service, broker):
        write(service, "main.py", "import pump\n")
        write(service, "pump.py", "RATE = 1\n")
        service.clients().iot.create_thing(thingName=THING)
        taken = Board(broker, "SUCCEEDED", {})
        done = service.fleet("push", "app", THING)
        taken.join()
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"accepted: {THING}" in done.stdout
        service.kill()
        service.start("--database", url)
        assert "SUCCEEDED" in service.fleet("status").stdout
        assert not list(service.config.state.glob("*.db*"))


def reports(service: Service, device: Device, **values: Any) -> None:
    """Let the board say this of itself."""
    topic = f"$aws/things/{THING}/shadow/name/ota/update"
    device.send(topic, {"state": {"reported": values}})

    def known() -> bool:
        found = shadow.of_thing(service.clients().data, THING)
        return found is not None and (found.room, found.spare) == (*values.values(),)

    until(known, "the report")


@pytest.mark.parametrize("command", ["push", "publish"])
def test_an_application_without_room_by_the_boards_report_is_no_job(
    pair: tuple[Service, Broker], command: str
) -> None:
    service = pair[0]
    write(service, "large.py", "#" * 150_000)
    arguments = ["push", "app", THING, "--no-agent", "--timeout", "1"]
    if command == "publish":
        said = ["--app", "app", "--no-agent", "--version", "1", "-o", "x.ota"]
        assert service.fleet("pack", *said).returncode == 0
        arguments = ["publish", "x.ota", THING]
    device = Device(pair[1])
    reports(service, device, room=60, spare=20)
    refused = service.fleet(*arguments)
    assert refused.returncode == 1
    assert "the application takes 156 KB of a board's file system" in refused.stderr
    assert f"{THING} has 80 KB free for it" in refused.stderr
    assert "large.py (147 KB), main.py (1 KB), pump.py (1 KB)" in refused.stderr
    assert service.clients().iot.list_jobs()["jobs"] == []
    for more in ({"room": 60, "spare": 110}, {"room": 60, "spare": None}):
        reports(
            service, device, **more
        )  # what it gives back counts; without the number nobody judges
        service.fleet(*arguments)
    reports(service, device, room=60, spare=20)
    service.fleet(*arguments, "--force")
    assert len(service.clients().iot.list_jobs()["jobs"]) == 3
    device.close()
