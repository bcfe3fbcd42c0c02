"""`make release`: what a release consists of, in build/release, with checksums.

twinslot-VERSION-py3-none-any.whl, twinslot-VERSION.tar.gz    the host side
mip-core/, mip/, mip-all/     the agent compiled, each with a package.json for mip: its core; with
                              the extensions that boards get; with all
package.json                  the same as sources, for mip from the repository
SHA256SUMS                    for `sha256sum -c`
"""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from tools import kept_board
from tools.paths import ROOT
from twinslot import __version__
from twinslot.firmware import extensions, mip

TARGET = ROOT / "build/release"
SUMS = "SHA256SUMS"
_BUILD = "import sys; from setuptools import build_meta as b; b.build_{}(sys.argv[1])"


class ReleaseError(Exception):
    """This commit cannot be released; the text says why."""


def check(
    changelog: str,
    version: str,
    changed: str,
    kept: Collection[str],
    differing: Callable[[str], Collection[str]],
) -> None:
    """Judge whether a version may be released. Pure.

    changelog: the text of CHANGELOG.md; changed: what git says is not committed; kept: the releases
    whose boards are kept; differing: returns the files in which a kept board differs from what
    would be built. Raises ReleaseError.
    """
    if kept_board.DEVELOPMENT in version:
        raise ReleaseError(
            f"{version} is a development version; set that of the release in "
            "src/twinslot/__init__.py, firmware/ota/__init__.py and manifest.py, and run `make mip`"
        )
    if changed:
        raise ReleaseError("these changes are not committed:\n" + changed.rstrip())
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        raise ReleaseError(
            f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD`; the version is in "
            "src/twinslot/__init__.py"
        )
    waiting = re.search(
        r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if waiting and waiting[1].strip():
        raise ReleaseError(
            f"CHANGELOG.md has entries below [Unreleased]: move them to [{version}], or give what "
            "they change a version of its own"
        )
    if version not in kept:
        raise ReleaseError(
            f"no board of {version} is kept for the tests of later agents; "
            "`python -m tools.kept_board` keeps it"
        )
    if others := differing(version):
        raise ReleaseError(
            f"the kept board of {version} has other bytes than this commit in {', '.join(others)}: "
            "what changes after a release needs a version of its own"
        )


def build(folder: Path) -> list[Path]:
    """Build everything from the last commit into an empty folder. Returns the files, sorted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        argv = ["git", "archive", "HEAD"]
        archive = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tree:
            tree.extractall(scratch, filter="data")
        for kind in ("wheel", "sdist"):
            subprocess.run(
                [sys.executable, "-c", _BUILD.format(kind), str(folder)],
                cwd=scratch,
                capture_output=True,
                check=True,
            )
    for name, chosen in (
        ("mip-core", ()),
        ("mip", extensions.asked_for({})),
        ("mip-all", extensions.everything()),
    ):
        mip.build(folder / name, chosen)
    shutil.copy(ROOT / mip.NAME, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return [*files, folder / SUMS]


def main() -> int:
    """Check, build, say what there is; return the exit code."""
    argv = ["git", "status", "--porcelain"]
    changed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    try:
        check(
            (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
            __version__,
            changed,
            kept_board.versions(),
            kept_board.differing,
        )
    except ReleaseError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    for path in build(TARGET):
        sys.stdout.write(f"{path.stat().st_size:>9}  {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
