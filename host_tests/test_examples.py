"""The scripts in docs/examples run as they stand, at the fleet's own service and at AWS."""

from __future__ import annotations

import json
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aws_cloud import BUCKET, REGION, ROLE, Cloud, in_an_account
from fleet_service import until
from fleet_site import Site

from tools.paths import ROOT

PUSH = ROOT / "docs/examples/push.py"
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


def test_the_same_script_pushes_on_the_fleets_own_service(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path)
    try:
        for name, value in {
            "AWS_SHARED_CREDENTIALS_FILE": str(site.config.credentials),
            "AWS_DEFAULT_REGION": "local",
            "AWS_REGION": "local",
            "AWS_ENDPOINT_URL": site.control.url,
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
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
    finally:
        site.close()
