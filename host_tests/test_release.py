"""`make release`: only what is committed and has a dated section, whole, with checksums."""

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tools import release
from tools.paths import ROOT
from twinslot import __version__

LOG = f"# Changelog\n\n## [Unreleased]\n\n## [{__version__}] - 2026-12-01\n"


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    listed = ["git", "grep", "-lF", f'"{__version__}"', "--", "*.py", "*.json", "*.toml"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # The two lists for MicroPython's tools cannot import it; test_mip.py compares them with it.
    assert {"src/twinslot/__init__.py", "package.json", "manifest.py"} <= set(found.split())
    assert not {"pyproject.toml", "setup.py", "tools/release.py"} & set(found.split())


def test_a_release_has_a_dated_section_and_nothing_uncommitted() -> None:
    release.check(LOG, __version__, "", [__version__])
    with pytest.raises(release.ReleaseError, match=r"not committed:\n M boot\.py"):
        release.check(LOG, __version__, " M boot.py\n", [__version__])
    for log in (LOG.replace(" - 2026-12-01", ""), LOG.replace(__version__, "9.9.9")):
        with pytest.raises(release.ReleaseError, match=r"CHANGELOG\.md has no section"):
            release.check(log, __version__, "", [__version__])
    with pytest.raises(release.ReleaseError, match=r"no board of .* is kept"):
        release.check(LOG, __version__, "", ["0.1.0"])


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
