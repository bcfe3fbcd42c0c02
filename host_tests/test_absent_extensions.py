"""A job that needs an absent extension ends with a sentence that says which, and how to install it.

The same in the service's record and in the board's own, which keeps less of a sentence.
"""

from __future__ import annotations

import importlib.abc
import sys
from pathlib import Path
from typing import Any

import pytest
from agent_bench import Bench, packed
from raw_world import RawBench, firmware

from twinslot.firmware import extensions

REMEMBERED = 96  # characters of a sentence in `ota.history()`


class Absent(importlib.abc.MetaPathFinder):
    """A board without the files of an extension."""

    def __init__(self, extension: str) -> None:
        self.modules = {f"ota.{module}" for module in extensions.table()[extension]}

    def find_spec(self, name: str, *_: object) -> None:
        if name in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [Absent(extension), *sys.meta_path])


def sentence(extension: str) -> str:
    more = f"+{extension}"
    return (
        f"no extension {extension}: `make deploy EXTENSIONS={more}` or "
        f"`fleet push --extensions {more}`"
    )


def add(bench: Any, extension: str) -> None:
    """Queue a job that needs the extension."""
    if extension == "raw":
        bench.add("job-1", firmware())
        return
    bench.service.add("job-1", packed("1.1.0", 2))
    if extension == "http":
        bench.service.offer_http("job-1", "http://127.0.0.1:1/x.ota?X-Amz-Signature=1")


def boot(bench: Bench, extension: str) -> None:
    bench.boot(**({"stream_json": 1} if extension == "json" else {}))
    assert bench.step() is None


@pytest.mark.parametrize("extension", ["json", "raw", "http"])
def test_a_job_that_needs_an_absent_extension_ends_with_the_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    bench = RawBench(tmp_path) if extension == "raw" else Bench(tmp_path)
    without(extension, monkeypatch)
    add(bench, extension)
    boot(bench, extension)
    assert bench.service.status("job-1") == "FAILED"
    told = bench.service.details("job-1")
    assert (told["cause"], told["detail"]) == ("extension", sentence(extension))
    newest = bench.agent.journal.history()[0]
    assert (newest["cause"], newest["detail"]) == ("extension", sentence(extension))
    assert bench.board.running == 0
    assert bench.agent.state == "Ready"


@pytest.mark.parametrize("extension", ["json", "raw"])
def test_with_the_extension_the_same_job_goes_well(tmp_path: Path, extension: str) -> None:
    """Else the test above would pass of a job that nothing could do; of HTTP see test_http_jobs."""
    bench = RawBench(tmp_path) if extension == "raw" else Bench(tmp_path)
    add(bench, extension)
    settings = {"stream_json": 1} if extension == "json" else {}
    for _ in range(4):
        if bench.boot(**settings) is None and bench.step() is None:
            break
    assert bench.service.status("job-1") == "SUCCEEDED"


@pytest.mark.parametrize(
    ("extension", "data"), [("http", b""), ("raw", firmware())], ids=["http", "raw"]
)
def test_an_installation_without_a_job_ends_with_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, data: bytes
) -> None:
    bench = Bench(tmp_path)
    without(extension, monkeypatch)
    source = tmp_path / "x.bin"
    source.write_bytes(data)
    bench.boot()
    bench.agent.install("http://127.0.0.1:1/x.ota" if extension == "http" else str(source))
    assert bench.step() is None
    newest = bench.agent.journal.history()[0]
    assert (newest["status"], newest["detail"]) == ("FAILED", sentence(extension))


@pytest.mark.parametrize("extension", sorted(extensions.table()))
def test_the_sentence_fits_the_boards_history_and_its_commands_keep_the_other_extensions(
    extension: str,
) -> None:
    assert len(sentence(extension)) <= REMEMBERED
    usual = extensions.asked_for({})
    assert set(extensions.parse(f"+{extension}", usual)) == {*usual, extension}
