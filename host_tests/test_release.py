"""`make release`: only what is committed and has a dated section, whole, with checksums."""

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tools import kept_board, release
from tools.paths import ROOT
from twinslot import __version__

VERSION = "9.0.0"
LOG = f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n\n- All of it.\n"


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    listed = ["git", "grep", "-lF", f'"{__version__}"', "--", "*.py", "*.json", "*.toml"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # The two lists for MicroPython's tools cannot import it; test_mip.py compares them with it.
    assert {"src/twinslot/__init__.py", "package.json", "manifest.py"} <= set(found.split())
    assert not {"pyproject.toml", "setup.py", "tools/release.py"} & set(found.split())


def check(
    log: str = LOG,
    version: str = VERSION,
    changed: str = "",
    kept: tuple[str, ...] = (VERSION,),
    differing: tuple[str, ...] = (),
) -> None:
    release.check(log, version, changed, kept, lambda _: differing)


def test_a_release_has_a_dated_section_and_nothing_uncommitted() -> None:
    check()
    with pytest.raises(release.ReleaseError, match=r"not committed:\n M boot\.py"):
        check(changed=" M boot.py\n")
    for log in (LOG.replace(" - 2026-12-01", ""), LOG.replace(VERSION, "9.9.9")):
        with pytest.raises(release.ReleaseError, match=r"CHANGELOG\.md has no section"):
            check(log)
    with pytest.raises(release.ReleaseError, match=r"no board of .* is kept"):
        check(kept=("0.1.0",))


@pytest.mark.parametrize("entries", ["\n- A fix.\n", "- A fix.\n", "\n### Fixed\n\n- A fix.\n"])
def test_a_release_leaves_nothing_unreleased(entries: str) -> None:
    log = LOG.replace("[Unreleased]\n", f"[Unreleased]\n{entries}")
    with pytest.raises(release.ReleaseError, match=r"entries below \[Unreleased\]"):
        check(log)
    check(LOG.replace("## [Unreleased]\n\n", ""))


def test_a_version_is_never_built_with_two_contents() -> None:
    with pytest.raises(release.ReleaseError, match=r"other bytes than this commit in /boot\.py"):
        check(differing=("/boot.py",))
    with pytest.raises(release.ReleaseError, match=r"is a development version"):
        check(version="9.0.0.dev0", kept=("9.0.0.dev0",), log=LOG.replace("9.0.0", "9.0.0.dev0"))


@pytest.mark.slow
def test_the_kept_board_differs_in_what_a_commit_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = kept_board.make()
    monkeypatch.setattr(kept_board, "kept", lambda _: now)
    assert kept_board.differing(VERSION) == [], "two builds are the same in all files"
    monkeypatch.undo()
    assert "/app_0/main.py" in kept_board.differing("0.2.0")


@pytest.mark.slow
def test_a_release_is_whole_and_its_checksums_hold(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    files = {path.relative_to(folder).as_posix() for path in release.build(folder)}
    wheel = f"twinslot-{__version__}-py3-none-any.whl"
    assert {wheel, f"twinslot-{__version__}.tar.gz", "package.json", release.SUMS} <= files
    for name in ("mip-core", "mip", "mip-all"):
        assert {f"{name}/package.json", f"{name}/ota/bundle.mpy"} <= files
    with zipfile.ZipFile(folder / wheel) as archive:
        assert "twinslot/firmware/on_board/boot.py" in archive.namelist()
    sums = (folder / release.SUMS).read_text().splitlines()
    assert {line.split("  ")[1] for line in sums} == files - {release.SUMS}
    subprocess.run(["sha256sum", "--quiet", "-c", release.SUMS], cwd=folder, check=True)
