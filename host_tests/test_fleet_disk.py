"""Files of a fleet are there as a whole or not at all, whatever the disk or a person does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from twinslot import disk
from twinslot.cli.main import main as command
from twinslot.trust import keys
from twinslot.trust.authority import Authority, read_certificate

KEY = keys.generate()


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("trouble", "error"), [(full, disk.FileError), (interrupted, KeyboardInterrupt)]
)
def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[..., None],
    error: type[BaseException],
) -> None:
    path = tmp_path / "a.ota"
    disk.replace(path, b"old")
    monkeypatch.setattr(os, "fsync", trouble)
    with pytest.raises(error):
        disk.replace(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.ota", b"old")]


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("trouble", [full, interrupted])
def test_new_files_come_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, trouble: Callable[..., None]
) -> None:
    (tmp_path / "there").mkdir()
    left = at

    def sync(_: int) -> None:
        nonlocal left
        if not left:
            trouble()
        left -= 1

    monkeypatch.setattr(os, "fsync", sync)
    files = [tmp_path / name for name in ("a", "keys/b", "keys/deep/c", "there/d")]
    with pytest.raises((disk.FileError, KeyboardInterrupt)):
        disk.create(dict.fromkeys(files, (b"1", disk.SECRET)))
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_new_file_never_takes_the_place_of_another_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def late(source: Path, target: Path) -> None:
        target.write_text("another's")
        real(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(disk.TakenError, match="exists already"):
        disk.create({tmp_path / "key.pem": (b"mine", disk.SECRET)})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["another's"]


def test_a_file_system_without_hard_links_has_new_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    disk.create({tmp_path / "key.pem": (b"mine", disk.SECRET)})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_a_key_whose_public_half_is_there_is_not_written(tmp_path: Path) -> None:
    public = tmp_path / "key.pub.pem"
    public.write_text("mine")
    with pytest.raises(disk.TakenError):
        keys.write_pair(KEY, tmp_path / "key.pem", public)
    assert list(tmp_path.iterdir()) == [public]


def test_init_on_a_full_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    done = CliRunner().invoke(command, ["init"])
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_a_sentence_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", interrupted)
    done = CliRunner().invoke(command, ["init"])
    assert (done.exit_code, done.stderr) == (130, "fleet: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trouble", [full, interrupted])
@pytest.mark.parametrize("renew", [True, False])
def test_an_identity_is_made_whole_or_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Callable[..., None], renew: bool
) -> None:
    """Wherever the disk or a person ends it, a second try succeeds, and no half is left."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    run(command, ["init"])
    options = ["provision", "board-1", "--host", "10.0.0.1", "--wifi-ssid", "lab"]
    assert run(command, ["provision", "board-0", "--host", "10.0.0.1"]).exit_code == 0
    if renew:
        assert run(command, options).exit_code == 0
        options.append("--renew")
    folder = tmp_path / "boards/board-1"
    real, at = os.fsync, 0
    while True:
        left = at

        def sync(number: int) -> None:
            nonlocal left
            if not left:
                trouble()
            left -= 1
            real(number)

        before = held(folder)
        monkeypatch.setattr(os, "fsync", sync)
        done = run(command, options)
        monkeypatch.setattr(os, "fsync", real)
        if done.exit_code == 0:
            break
        assert done.exit_code in (1, 130)
        written = held(folder)
        complete = written.keys() >= {"client.key", "client.pem", "settings.json"}
        assert written == before or complete, "a half"
        if written == before and renew:
            authority = Authority(tmp_path / "ca")
            assert not authority.is_revoked(read_certificate(folder / "client.pem"))
        if written:
            pair = folder / "client.pem", folder / "client.key"
            public = read_certificate(pair[0]).public_key()
            assert public == keys.read_private(pair[1]).public_key()
        if complete and written != before:
            break  # only the policy beside the boards was not written
        assert not list((tmp_path / "boards").glob(".*"))
        assert not list(tmp_path.rglob("*.new"))
        at += 1
    assert at > 3


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_loads_shows_no_traceback(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A module that the command loads sends the signal, so it comes in the midst of loading."""
    (tmp_path / "rich").mkdir()
    text = f"import os, signal\nos.kill(os.getpid(), {number:d})\nsignal.pause()\n"
    (tmp_path / "rich/__init__.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "twinslot", "status"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
