"""The scripts in docs/examples run as they stand, at the fleet's own service and at AWS."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aws_cloud import BUCKET, REGION, ROLE, Cloud, in_an_account
from botocore import xform_name
from fleet_service import until
from fleet_site import Site

from tools.paths import ROOT
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority

PUSH = ROOT / "docs/examples/push.py"
EVERY_OPERATION = ROOT / "docs/examples/control_plane.sh"
Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script with these arguments, as `python` does; its exit code."""
    monkeypatch.setattr("time.sleep", lambda _: None)

    def script(path: Path, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        return int(ended.value.code or 0)

    return script


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with in_an_account(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_the_script_pushes_on_aws(
    cloud: Cloud,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: str,
    code: int,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_REGION", REGION)
    cloud.things("board-1")
    cloud.board["board-1"] = iter([("IN_PROGRESS", {"receive": "1/2"}), (end, {})])
    (cloud.folder / "x.ota").write_bytes(b"x" * 5000)
    assert run(PUSH, "x.ota", "board-1", BUCKET, ROLE) == code
    assert capsys.readouterr().out == f'IN_PROGRESS {{"receive": "1/2"}}\n{end} {{}}\n'
    ((stream, made),) = cloud.streams.items()
    assert made["files"] == [{"fileId": 0, "s3Location": {"bucket": BUCKET, "key": "x.ota"}}]
    (job,) = [values for _, name, values in cloud.asked if name == "CreateJob"]
    assert json.loads(job["document"])["afr_ota"]["streamname"] == stream == job["jobId"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The fleet's own service, to which the environment leads AWS's clients."""
    site = Site(tmp_path)
    for name, value in {
        "AWS_SHARED_CREDENTIALS_FILE": str(site.config.credentials),
        "AWS_DEFAULT_REGION": "local",
        "AWS_REGION": "local",
        "AWS_ENDPOINT_URL": site.control.url,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield site
    site.close()


def test_the_same_script_pushes_on_the_fleets_own_service(
    site: Site, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    site.world.things("board-1")
    (tmp_path / "x.ota").write_bytes(b"x" * 5000)

    def board() -> None:
        jobs = until(lambda: site.clients.iot.list_jobs()["jobs"], "the job")
        topic = f"$aws/things/board-1/jobs/{jobs[0]['jobId']}/update"
        site.world.ask_jobs(topic, b'{"status": "SUCCEEDED"}')

    thread = threading.Thread(target=board)
    thread.start()
    assert run(PUSH, str(tmp_path / "x.ota"), "board-1", "packages", ROLE) == 0
    thread.join()
    assert capsys.readouterr().out.splitlines()[-1] == "SUCCEEDED {}"


@pytest.mark.slow
def test_the_aws_command_drives_each_operation(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By version 1 of the command; on AWS nobody has run the script."""
    site.found_authority()
    script = EVERY_OPERATION.read_text(encoding="utf-8")
    commands = set(re.findall(r"aws (iot|iot-data|iot-jobs-data|s3api) ([a-z0-9-]+)", script))
    for service, operations in site.operations.items():
        words = {xform_name(name).replace("_", "-") for name in operations}
        service = service.replace("s3", "s3api")
        assert {word for other, word in commands if other == service} == words
    monkeypatch.setenv(
        "PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))  # not this person's
    (tmp_path / "app.ota").write_bytes(b"x" * 5000)
    client = Authority(site.config.authority).issue("tour", keys.generate().public_key())
    (tmp_path / "client.pem").write_bytes(certificates.pem(client))
    ended = subprocess.run(
        [
            "sh",
            str(EVERY_OPERATION),
            str(tmp_path / "app.ota"),
            "packages",
            ROLE,
            str(tmp_path / "client.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    assert not site.clients.iot.list_things()["things"]
    assert not site.clients.iot.list_jobs()["jobs"]
