"""Set-up: `python3 -m tools.setup [part ...]`. Standard library only, no root, no ensurepip.

Each part leaves a stamp, a hash of what it was made from, so that a second run starts at once:

    venv     .venv with the locked packages and this project      (requirements.lock)
    umqtt    .cache/umqtt/umqtt/simple.py, frozen on a chip       (tools/umqtt.lock)
    natives  programs that PyPI does not have                     (tools/natives.py)
    wasm     MicroPython as WebAssembly, two versions             (tools/wasm/package-lock.json)
    stubs    the chip's type stubs, for `make lint` only          (tools/stubs.lock)

Packages come through pip, npm and apt as the machine has them configured; no host is named here.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Python 3.11 or newer is needed, this is "
        + sys.version.split()[0]
        + "; try: make PYTHON=python3.12 ..."
    )

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import natives
from tools.paths import CACHE, ROOT, VENV, VENV_PYTHON, say

LOCK = ROOT / "requirements.lock"
UMQTT_LOCK = ROOT / "tools/umqtt.lock"
UMQTT = CACHE / "umqtt"
STUBS_LOCK = ROOT / "tools/stubs.lock"
STUBS = CACHE / "stubs"
WASM = CACHE / "wasm"
# What must be there before anything with a build step of its own is installed.
BUILD_TOOLS = ("pip", "setuptools")


class SetupError(Exception):
    """Set-up cannot go on; the text says why and what to do."""


def run(argv: list[str], *, what: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command quietly; raise SetupError with the end of its output when it fails."""
    environment = os.environ | (env or {})
    done = subprocess.run(
        argv, cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SetupError(f"{what} failed ({' '.join(argv[:4])} ...):\n{tail}")


# --- .venv -------------------------------------------------------------------------------------


def locked(text: str, names: tuple[str, ...]) -> str:
    """Return the blocks of a lock file `text` that pin `names`, hashes included."""
    blocks: list[str] = []
    for line in text.splitlines(keepends=True):
        if line[:1].isspace() and blocks:
            blocks[-1] += line
        else:
            blocks.append(line)
    return "".join(block for block in blocks if block.split("==")[0] in names)


def bootstrap_pip() -> list[str]:
    """Return a command that is pip for .venv, which has none yet.

    In this order: the distribution's wheel package, the wheel inside ensurepip, the pip of the
    running Python, the distribution's wheel package downloaded by apt.
    """
    folders = [Path("/usr/share/python-wheels")]
    ensurepip = importlib.util.find_spec("ensurepip")  # Debian takes it out
    if ensurepip and ensurepip.origin:
        folders.append(Path(ensurepip.origin).parent / "_bundled")
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl"), reverse=True):
            return [str(VENV_PYTHON), f"{wheel}/pip"]
    own = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    )
    if own.returncode == 0:
        return [sys.executable, "-m", "pip", "--python", str(VENV_PYTHON)]
    try:
        folder = natives.unpack_from_apt("python3-pip-whl", "pip")
    except natives.NativeMissing as error:
        raise SetupError(f"there is no pip to start with: {error}") from error
    for wheel in sorted(folder.glob("usr/share/python-wheels/pip-*.whl"), reverse=True):
        return [str(VENV_PYTHON), f"{wheel}/pip"]
    raise SetupError(f"there is no pip to start with: {folder} holds no pip wheel")


def make_venv() -> None:
    """Make or bring up to date .venv, with exactly the versions and hashes of requirements.lock."""
    say("setup: .venv (a minute or two, the first time)")
    base = VENV / ".base"
    if not VENV_PYTHON.exists() or not base.exists() or base.read_text() != sys.version:
        venv.create(VENV, clear=True, with_pip=False, symlinks=True)
        base.write_text(sys.version)
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as first:
        first.write(locked(LOCK.read_text(), BUILD_TOOLS))
        first.flush()
        run(
            [*bootstrap_pip(), "install", "--quiet", "--require-hashes", "-r", first.name],
            what="installing pip into .venv",
        )
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    run([*pip, "--require-hashes", "-r", str(LOCK)], what="installing requirements.lock")
    run([*pip, "--no-deps", "--no-index", "--editable", str(ROOT)], what="installing the project")


# --- packages that pip cannot install as they are ------------------------------------------------


def make_umqtt() -> None:
    """Unpack micropython-umqtt.simple, whose source archive has no setup.py.

    pip finds, downloads and checks the archive's hash, unpacks it and then gives up for want of a
    setup.py. `--no-clean` leaves what it unpacked, which is all that is needed.
    """
    say("setup: umqtt.simple")
    shutil.rmtree(UMQTT, ignore_errors=True)
    scratch = UMQTT / "scratch"
    scratch.mkdir(parents=True)
    argv = [
        str(VENV_PYTHON),
        "-m",
        "pip",
        "download",
        "--no-clean",
        "--no-deps",
        "--no-build-isolation",
    ]
    argv += [
        "--no-binary",
        ":all:",
        "--require-hashes",
        "--dest",
        str(scratch),
        "-r",
        str(UMQTT_LOCK),
    ]
    environment = os.environ | {"TMPDIR": str(scratch)}
    done = subprocess.run(argv, env=environment, text=True, capture_output=True, check=False)
    unpacked = sorted(scratch.glob("*/*/umqtt/simple.py"))
    if not unpacked:
        raise SetupError("downloading umqtt.simple failed:\n" + done.stdout + done.stderr)
    shutil.move(unpacked[0].parent, UMQTT / "umqtt")
    shutil.rmtree(scratch)


def make_stubs() -> None:
    """Install the ESP32 type stubs into a folder of their own, unseen by host code."""
    say("setup: type stubs of the chip")
    shutil.rmtree(STUBS, ignore_errors=True)
    argv = [
        str(VENV_PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(STUBS),
    ]
    run([*argv, "--require-hashes", "-r", str(STUBS_LOCK)], what="installing the stubs")


def make_wasm() -> None:
    """Install the WebAssembly builds of MicroPython that tools/wasm/package-lock.json names."""
    say("setup: MicroPython as WebAssembly")
    shutil.rmtree(WASM, ignore_errors=True)
    WASM.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tools/wasm" / name, WASM)
    run([*natives.npm(), "ci", "--no-audit", "--no-fund"], what="npm ci", cwd=WASM)


def find_natives() -> None:
    """Find or download the native programs; say in one sentence each what cannot be had."""
    say("setup: mosquitto and MicroPython")
    for found in natives.find_all().values():
        if isinstance(found, str):
            say(f"setup: {found}")


# --- stamps ---------------------------------------------------------------------------------------

Part = tuple[Callable[[], None], tuple[str, ...]]
PARTS: dict[str, Part] = {
    "venv": (make_venv, ("requirements.lock", "pyproject.toml")),
    "umqtt": (make_umqtt, ("tools/umqtt.lock",)),
    "natives": (find_natives, ("tools/natives.py", "tools/apt.py")),
    "wasm": (make_wasm, ("tools/wasm/package-lock.json",)),
    "stubs": (make_stubs, ("tools/stubs.lock",)),
}
DEFAULT = ("venv", "umqtt", "natives", "wasm")


def fingerprint(files: tuple[str, ...]) -> str:
    """Return a hash over `files`, this Python and the place of the tree: a venv cannot move."""
    digest = hashlib.sha256(f"{sys.version}\n{ROOT}\n".encode())
    for name in (*files, "tools/setup.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def up_to_date(part: str) -> bool:
    """Tell whether `part` was made from what lies here now."""
    stamp = CACHE / "stamps" / part
    if part == "venv" and not VENV_PYTHON.exists():
        return False
    return stamp.exists() and stamp.read_text() == fingerprint(PARTS[part][1])


def make(part: str) -> None:
    """Make `part` unless it is up to date."""
    if up_to_date(part):
        return
    stamp = CACHE / "stamps" / part
    stamp.unlink(missing_ok=True)
    PARTS[part][0]()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(fingerprint(PARTS[part][1]))


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the set-up lock: a second set-up waits for it, then finds the work done."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make the parts named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tools.setup", description="Set up the project."
    )
    parser.add_argument(
        "part", nargs="*", help=f"of: {', '.join(PARTS)} (default: {' '.join(DEFAULT)})"
    )
    wanted = parser.parse_args().part or list(DEFAULT)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if all(up_to_date(part) for part in wanted):
        return 0
    try:
        with only_one():
            for part in wanted:
                make(part)
    except SetupError as error:
        say(f"setup: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
