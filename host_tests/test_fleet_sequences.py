"""Sequences are allotted one after the other, by the service, or by the fleet's folder."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from esp_images import app
from fleet_service import Service, running

from twinslot import config, sequences
from twinslot.cli.main import main
from twinslot.client.clients import RefusedError
from twinslot.client.publish import publish
from twinslot.client.sequences import allot
from twinslot.formats import package
from twinslot.formats.component import firmware_content
from twinslot.formats.manifest import MAX_SEQUENCE
from twinslot.service.sequences import Sequences
from twinslot.service.store import Store
from twinslot.trust import keys, signing

PRODUCT = "demo-board"


def packed(key: keys.PrivateKey, sequence: int, product: str = PRODUCT) -> bytes:
    return signing.build([firmware_content(app(1000))], key, product, "1", sequence, 1)


# The folder


def test_the_folder_counts_from_two_and_a_number_by_hand_raises_it(tmp_path: Path) -> None:
    def following() -> int:
        with sequences.held(tmp_path) as ledger:
            found = sequences.following(ledger.highest(PRODUCT))
            ledger.raise_to(PRODUCT, found)
        return found

    assert [following(), following()] == [2, 3]
    sequences.note(tmp_path, PRODUCT, 40)
    sequences.note(tmp_path, PRODUCT, 7)
    sequences.note(tmp_path, "meter", 900)
    assert following() == 41
    assert json.loads((tmp_path / sequences.FILE).read_text()) == {PRODUCT: 41, "meter": 900}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": -1}', '{"a": 1.5}', '{"a": true}', "7"])
def test_a_damaged_counter_is_named_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / sequences.FILE
    path.write_text(text)
    with pytest.raises(sequences.SequenceError, match=r"sequences\.json is damaged"):
        sequences.note(tmp_path, PRODUCT, 2)
    assert path.read_text() == text


def test_a_counter_at_its_end_says_so() -> None:
    assert sequences.following(MAX_SEQUENCE - 1) == MAX_SEQUENCE
    with pytest.raises(sequences.SequenceError, match="at its end"):
        sequences.following(MAX_SEQUENCE)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty fleet, no service, with an image `app.bin`."""
    monkeypatch.chdir(tmp_path)
    assert run("init").exit_code == 0
    Path("app.bin").write_bytes(app())
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def pack(*more: str) -> Result:
    return run("pack", "app.bin", "--version", "1", "-o", "app.ota", *more)


def test_without_a_service_pack_counts_in_the_fleets_folder(fleet: Path) -> None:
    for sequence in (2, 3):
        made = pack()
        assert made.exit_code == 0, made.output
        assert f"sequence {sequence}, counted in the fleet's folder" in made.output
        assert package.inspect(Path("app.ota").read_bytes()).manifest.sequence == sequence
    assert pack("--sequence", "40").exit_code == 0
    assert "sequence 41" in pack().output


def test_packages_that_are_packed_at_once_have_sequences_of_their_own(fleet: Path) -> None:
    command = [sys.executable, "-m", "twinslot", "pack", "app.bin", "--version", "1", "-o"]
    started = [
        subprocess.Popen([*command, f"{number}.ota"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for one in started:
        one.communicate(timeout=60)
        assert one.returncode == 0
    found = [
        package.inspect(Path(f"{number}.ota").read_bytes()).manifest.sequence for number in range(4)
    ]
    assert sorted(found) == [2, 3, 4, 5]


def test_a_number_by_hand_that_cannot_be_counted_is_a_warning(fleet: Path) -> None:
    (fleet / sequences.LOCK).mkdir()
    made = pack("--sequence", "7")
    assert made.exit_code == 0
    assert "warning: sequence 7 is not counted" in made.output
    assert pack().exit_code == 1


def test_a_flashed_sequence_counts(fleet: Path) -> None:
    from sim import image

    Path("download.bin").write_bytes(image.merged(image.firmware()))
    made = run(
        *("flash", "--fleet", ".", "--sequence", "12", "--image-only", "b.bin", "download.bin")
    )
    assert made.exit_code == 0, made.output
    assert "sequence 13" in pack().output


# The service


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    made = Store(database)
    yield made
    made.close()


def test_those_who_ask_at_once_never_get_the_same(store: Store) -> None:
    counter = Sequences(store, None)
    with ThreadPoolExecutor(8) as pool:
        found = [one["sequence"] for one in pool.map(counter.allot, [f"1/{PRODUCT}"] * 24)]
    assert sorted(found) == list(range(2, 26))
    assert counter.allot(f"40/{PRODUCT}") == {"sequence": 41}
    assert counter.allot(f"0/{PRODUCT}") == {"sequence": 42}
    assert counter.allot("0/a/b") == {"sequence": 2}


def test_only_this_fleets_packages_raise_the_counter(store: Store) -> None:
    key = keys.generate()
    counter = Sequences(store, key.public_key())
    with store.write() as transaction:
        for data in (
            packed(key, 7),
            packed(key, 3),
            packed(keys.generate(), 900),
            packed(key, 500, "meter"),
            packed(key, 800)[:-1],
            b"OTA\1 something else",
            b"",
        ):
            counter.count(transaction, data)
    assert counter.allot(f"0/{PRODUCT}") == {"sequence": 8}
    assert counter.allot("0/meter") == {"sequence": 501}


@pytest.mark.parametrize("rest", ["", "7", "x/a", "-1/a", "1/", "1/" + "a" * 33, "99999999999/a"])
def test_a_request_that_names_nothing_is_refused(store: Store, rest: str) -> None:
    from twinslot.service.codec import ApiError

    with pytest.raises(ApiError, match="NUMBER/PRODUCT"):
        Sequences(store, None).allot(rest)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path) as (made, _):
        made.clients().iot.create_thing(thingName="board-1")
        yield made


def test_a_package_that_is_put_by_hand_raises_the_counter_of_the_service(service: Service) -> None:
    clients = service.clients()
    fleet = config.load(service.folder / config.FILE_NAME)
    assert allot(fleet, clients) == 2
    own = keys.read_private(fleet.signing_key)
    publish(clients, packed(own, 30), "x.ota", ["board-1"])
    publish(clients, packed(keys.generate(), 900), "x.ota", ["board-1"])
    assert allot(fleet, clients) == 31
    sequences.note(fleet.folder, PRODUCT, 50)
    assert allot(fleet, clients) == 51
    (fleet.folder / sequences.FILE).unlink()
    assert allot(fleet, clients) == 52
    lock = fleet.folder / sequences.LOCK
    lock.unlink()
    lock.mkdir()
    assert allot(fleet, clients) == 53, "the service counts alone"
    lock.rmdir()
    with pytest.raises(RefusedError, match="no NUMBER/PRODUCT"):
        clients.allot("", 1)
    made = service.fleet("pack", "--version", "1", "-o", "a.ota", "--app", "none")
    assert made.returncode == 1
    (service.folder / "app.bin").write_bytes(app())
    made = service.fleet("pack", "app.bin", "--version", "1", "-o", "a.ota")
    assert "sequence 54\n" in made.stdout, made.stdout + made.stderr


def test_a_database_that_has_never_counted_reads_its_jobs(tmp_path: Path, store: Store) -> None:
    from twinslot.service.rows.jobs import Job

    with store.write() as transaction:
        for number, text in enumerate(
            ("demo-board 1, sequence 9", "demo-board-2 1, sequence 90", "a job", None)
        ):
            transaction.add_job(
                Job(f"job-{number}", "{}", None, [], text, None, "IN_PROGRESS", 1, int(time.time()))
            )
    assert Sequences(store, None).allot(f"0/{PRODUCT}") == {"sequence": 10}
