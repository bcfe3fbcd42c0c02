"""One publish serves a fleet of mixed boards: each gets the smallest form that it can take."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fleet_site import Site
from linked_images import program

from twinslot.cli.main import main
from twinslot.cli.views import progress_view
from twinslot.client import changes, packing
from twinslot.client import push as pushing
from twinslot.client.application import Options
from twinslot.client.kept import FOLDER, Kept
from twinslot.formats import package
from twinslot.formats.component import FIRMWARE, RAW, SEGMENTS

OLD = program(120, 60)
OLD.texts.append(bytes(range(32, 127)) * 150)
NEW = copy.deepcopy(OLD)
NEW.texts[20] += b"longer by some bytes"
IMAGE = hashlib.sha256(OLD.image()).hexdigest()
OTHER = "00" * 32

Fleet = Callable[..., Result]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.name_endpoint()
    made.world.things("old", "other", "same")
    yield made
    made.close()


@pytest.fixture
def fleet(site: Site, tmp_path: Path) -> Fleet:
    (tmp_path / "old.bin").write_bytes(OLD.image())
    (tmp_path / "new.bin").write_bytes(NEW.image())
    toml = f"{tmp_path}/fleet.toml"

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, ["--config", toml, *arguments])
        assert done.exit_code == code, done.output
        return done

    for number, name in enumerate(("old", "new"), 1):
        paths = [f"{tmp_path}/{name}.bin", "-o", f"{tmp_path}/{name}.ota"]
        run("pack", *paths, "--version", f"1.{number}.0", "--sequence", str(number))
    return run


def report(site: Site, thing: str, **reported: Any) -> None:
    topic = f"$aws/things/{thing}/shadow/name/ota/update"
    site.world.ask_shadows(topic, json.dumps({"state": {"reported": reported}}).encode())


def mixed(site: Site) -> None:
    """An agent too old for encodings, a board with another image, and one with the old image."""
    report(site, "old", version="1.1.0", keys=0)
    report(site, "other", version="0.9.0", encodings=2, image=OTHER, keys=0)
    report(site, "same", version="1.1.0", encodings=2, image=IMAGE, keys=0)


def published(site: Site, fleet: Fleet, name: str, *more: str) -> list[dict[str, Any]]:
    path = f"{site.config.folder}/{name}.ota"
    told = json.loads(fleet("publish", path, *more, "--json").stdout)
    jobs: list[dict[str, Any]] = told.get("jobs", [told])
    return jobs


def object_of(site: Site, job: str) -> tuple[str, bytes, dict[str, str]]:
    """Key, bytes and metadata of the package that a job's stream has."""
    stream = site.clients.iot.describe_stream(streamId=job)["streamInfo"]
    place = stream["files"][0]["s3Location"]
    found = site.clients.s3.get_object(Bucket=place["bucket"], Key=place["key"])
    return place["key"], found["Body"].read(), found["Metadata"]


def test_old_agent_other_base_and_matching_base_are_served_by_one_publish(
    site: Site, fleet: Fleet
) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    jobs = published(site, fleet, "new", "old", "other", "same")
    assert [job["things"] for job in jobs] == [["old"], ["other"], ["same"]]
    raw = (site.config.folder / "new.ota").read_bytes()
    sizes = []
    for job, base in zip(jobs, (None, None, OLD.image()), strict=True):
        key, data, metadata = object_of(site, job["job"])
        sizes.append(len(data))
        assert key == hashlib.sha256(data).hexdigest() + ".ota"
        head = package.inspect(data, {FIRMWARE: base} if base else None)
        (component,) = head.manifest.components
        assert component.result(data, base) == NEW.image()
        assert (head.manifest.version, head.manifest.sequence) == ("1.2.0", 2)
        if data == raw:
            assert component.encoding == RAW
            assert metadata == {}
        else:
            assert component.encoding == SEGMENTS
            assert metadata == {"full": hashlib.sha256(raw).hexdigest() + ".ota"}
    assert sizes[0] == len(raw)
    assert sizes[2] == 8192 < sizes[1] < 0.9 * sizes[0]


def test_a_form_is_made_once_and_offered_by_its_digest(site: Site, fleet: Fleet) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    first = published(site, fleet, "new", "other", "same")
    again = published(site, fleet, "new", "other", "same")
    for one, other in zip(first, again, strict=True):
        assert object_of(site, one["job"]) == object_of(site, other["job"])
    assert len(Kept(site.config.folder).known) == 2
    for path in (site.config.folder / FOLDER).iterdir():
        path.unlink()
    alone = published(site, fleet, "new", "same")
    (component,) = package.inspect(object_of(site, alone[0]["job"])[1]).manifest.components
    assert (component.encoding, component.base) == (SEGMENTS, None), "its base is not kept"


def test_without_reports_all_boards_get_the_package_as_it_is(site: Site, fleet: Fleet) -> None:
    (job,) = published(site, fleet, "new", "old", "other", "same")
    assert object_of(site, job["job"])[1] == (site.config.folder / "new.ota").read_bytes()


def test_a_person_may_ask_for_one_form(site: Site, fleet: Fleet) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    (raw,) = published(site, fleet, "new", "other", "same", "--encoding", "raw")
    assert object_of(site, raw["job"])[1] == (site.config.folder / "new.ota").read_bytes()
    jobs = published(site, fleet, "new", "old", "same", "--encoding", "segments")
    assert [job["things"] for job in jobs] == [["old"], ["same"]]


def test_a_compressed_package_is_unpacked_for_boards_that_cannot_read_it(
    site: Site, fleet: Fleet
) -> None:
    folder = site.config.folder
    arguments = ("-o", f"{folder}/small.ota", "--version", "1.2.0", "--sequence", "2")
    fleet("pack", f"{folder}/new.bin", *arguments, "--encoding", "segments")
    mixed(site)
    raw, small = published(site, fleet, "small", "old", "other")
    (component,) = package.inspect(object_of(site, raw["job"])[1]).manifest.components
    assert component.encoding == RAW
    assert object_of(site, small["job"])[1] == (folder / "small.ota").read_bytes()
    site.config.signing_key.rename(folder / "away.pem")
    refused = fleet("publish", f"{folder}/small.ota", "old", code=1)
    assert "old did not report that this can be read" in refused.output
    published(site, fleet, "small", "old", "--encoding", "segments")


def test_without_the_key_a_package_travels_as_it_was_packed(site: Site, fleet: Fleet) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    site.config.signing_key.rename(site.config.folder / "away.pem")
    (job,) = published(site, fleet, "new", "old", "other", "same")
    assert object_of(site, job["job"])[1] == (site.config.folder / "new.ota").read_bytes()


def test_a_delta_that_a_person_packed_goes_to_all_boards_that_he_names(
    site: Site, fleet: Fleet
) -> None:
    folder = site.config.folder
    arguments = ("-o", f"{folder}/delta.ota", "--version", "1.2.0", "--sequence", "2")
    fleet("pack", f"{folder}/new.bin", *arguments, "--base", f"{folder}/old.bin")
    (job,) = published(site, fleet, "delta", "old", "same")
    assert object_of(site, job["job"])[1] == (folder / "delta.ota").read_bytes()


def test_the_service_sends_the_full_package_after_a_refusal_and_watch_follows_it(
    site: Site, fleet: Fleet
) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    (job,) = published(site, fleet, "new", "same")
    told = {"status": "FAILED", "statusDetails": {"cause": "base", "detail": "another image"}}
    topic = f"$aws/things/same/jobs/{job['job']}"
    site.world.ask_jobs(f"{topic}/update", json.dumps(told).encode())
    raw = (site.config.folder / "new.ota").read_bytes()
    assert object_of(site, f"{job['job']}-full")[1] == raw
    site.world.ask_jobs(f"{topic}-full/update", json.dumps({"status": "SUCCEEDED"}).encode())
    shown = fleet("watch", job["job"])
    assert f"job {job['job']}-full: the full package" in shown.output
    assert "SUCCEEDED" in shown.output


def test_a_job_that_failed_for_another_reason_is_followed_by_nothing(
    site: Site, fleet: Fleet
) -> None:
    published(site, fleet, "old", "same")
    mixed(site)
    (job,) = published(site, fleet, "new", "same")
    told = {"status": "FAILED", "statusDetails": {"cause": "self_test"}}
    topic = f"$aws/things/same/jobs/{job['job']}/update"
    site.world.ask_jobs(topic, json.dumps(told).encode())
    assert "-full" not in fleet("watch", job["job"], code=1).output


def test_a_push_says_what_has_changed_though_the_board_took_a_delta(
    site: Site, fleet: Fleet
) -> None:
    folder = site.config.folder
    (folder / "app").mkdir()
    main = folder / "app" / "main.py"
    body = "".join(f"print('line {number} of many')\n" for number in range(500))
    taken = []
    for number, line in enumerate(("one", "two"), 5):
        main.write_text(f"{body}print('{line}')\n")
        arguments = ("-o", f"{folder}/app.ota", "--version", "2", "--sequence", str(number))
        fleet("pack", "--app", str(folder / "app"), "--no-agent", *arguments)
        (job,) = published(site, fleet, "app", "same")
        data = object_of(site, job["job"])[1]
        (component,) = package.inspect(data).manifest.components
        taken.append(component.encoding)
        report(site, "same", encodings=2, files=component.sha256.hex(), keys=0)
        topic = f"$aws/things/same/jobs/{job['job']}/update"
        site.world.ask_jobs(topic, json.dumps({"status": "SUCCEEDED"}).encode())
    assert taken == [RAW, SEGMENTS]
    found = changes.accepted(site.clients, "same", Kept(folder))
    assert found is not None
    assert found.files["main.py"].endswith(b"print('two')\n")


def test_one_push_serves_a_mixed_fleet_and_the_board_that_lost_its_base(
    site: Site, fleet: Fleet
) -> None:
    folder = site.config.folder
    (folder / "app").mkdir()
    main = folder / "app" / "main.py"
    main.write_text("".join(f"print('line {number} of many')\n" for number in range(500)))
    fleet("pack", "--app", f"{folder}/app", "--no-agent", "--version", "1", "--sequence", "5",
          "-o", f"{folder}/app.ota")  # fmt: skip
    published(site, fleet, "app", "same")
    (component,) = package.inspect((folder / "app.ota").read_bytes()).manifest.components
    report(site, "old", version="1", keys=0)
    report(site, "other", encodings=2, files=OTHER, keys=0)
    report(site, "same", encodings=2, files=component.sha256.hex(), keys=0)
    main.write_text(f"{main.read_text()}print('more')\n")
    told: list[str] = []
    sources = packing.Sources(folder=folder / "app", options=Options(agent=False))
    things = ["old", "other", "same"]
    sent = pushing.send(site.config, sources, things, told.append, version="2", sequence=6)
    assert [boards for _, boards in sent.jobs] == [("old",), ("other",), ("same",)]
    raw, compressed, delta = (object_of(site, job)[1] for job, _ in sent.jobs)
    assert len(delta) == 8192 <= len(compressed) < len(raw)
    assert any("the difference to what they run, for same" in line for line in told)

    def end(thing: str, job: str, **said: Any) -> None:
        site.world.ask_jobs(f"$aws/things/{thing}/jobs/{job}/update", json.dumps(said).encode())

    for job, (thing,) in sent.jobs[:2]:
        end(thing, job, status="SUCCEEDED")
    job = sent.jobs[2][0]
    end("same", job, status="FAILED", statusDetails={"cause": "base"})
    assert object_of(site, f"{job}-full")[1] == raw
    end("same", f"{job}-full", status="SUCCEEDED")
    done = pushing.wait(site.config, sent, told.append, 60, progress_view)
    assert done.refused == ()
    assert done.words == dict.fromkeys(things, "SUCCEEDED")
    assert any(line.startswith(f"job {job}-full: the full package") for line in told)
