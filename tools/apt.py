"""The distribution's packages without root: apt's own client over a private state folder.

Archive, components and keyring are those that the machine's own sources files name
(sources.list(5), both formats); apt checks the signatures as always. Nothing is installed: packages
are downloaded and unpacked into a folder. Where the machine's release has too old a package, a
newer release of the same archive is asked. Standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

# Names under which a Debian archive offers its newer releases, oldest first. They do not age.
DEBIAN_NEWER = ("stable", "testing", "unstable")
# Ubuntu names releases only, and "devel" for the one to come.
UBUNTU_RELEASES = (
    "lunar",
    "mantic",
    "noble",
    "oracular",
    "plucky",
    "questing",
    "resolute",
    "devel",
)
DEBIAN_ALIASES = frozenset({"oldstable", "stable", "testing", "unstable", "sid"})
# Parts of a release that carry its fixes.
POCKETS = ("", "-updates", "-security")


class AptError(Exception):
    """apt cannot help; the text says why."""


@dataclass(frozen=True)
class Source:
    """One archive as a sources file names it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    """A keyring's path, or the key itself, as a deb822 field has it. Empty: apt's own keys."""

    def deb822(self, architecture: str) -> str:
        """Return this source as a stanza that asks for the packages of one architecture only."""
        fields = {
            "Types": "deb",
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            "Architectures": architecture,
            "Targets": "Packages",
        }
        if self.signed_by:
            fields["Signed-By"] = self.signed_by
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


def parse_deb822(text: str) -> list[Source]:
    """Read a `.sources` file; disabled stanzas and source-code archives are left out."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace() and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if (
            "deb" not in fields.get("types", "").split()
            or fields.get("enabled", "yes").lower() == "no"
        ):
            continue
        found.append(
            Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )
        )
    return found


ONE_LINE = re.compile(
    r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)"
)


def parse_one_line(text: str) -> list[Source]:
    """Read a `.list` file."""
    found = []
    for line in text.splitlines():
        match = ONE_LINE.match(line.strip())
        if not match:
            continue
        options = dict(
            word.split("=", 1) for word in (match["options"] or "").split() if "=" in word
        )
        found.append(
            Source(
                uris=(match["uri"],),
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                signed_by=options.get("signed-by", "").replace(",", " "),
            )
        )
    return found


def machine_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Return every enabled binary archive that the machine's sources files name."""
    found = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix in (".list", ".sources"):
            parse = parse_one_line if path.suffix == ".list" else parse_deb822
            found += parse(path.read_text(encoding="utf-8"))
    return found


def os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """Return the fields of os-release(5), or none where there is no such file."""
    if not path.exists():
        return {}
    lines = (
        line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line
    )
    return {name: value.strip().strip("\"'") for name, value in lines}


def releases(sources: list[Source], release: dict[str, str]) -> list[tuple[str, list[Source]]]:
    """Return (name, sources) of the machine's own release, then of each newer one of its archive.

    An archive is the distribution's when it carries the machine's release under its plain name in
    component "main"; archives of other vendors which do so too are harmless: they lack the newer
    releases, or the package.
    """
    codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    ubuntu = "ubuntu" in (release.get("ID", ""), *release.get("ID_LIKE", "").split())
    names = {codename} if ubuntu else {codename, *DEBIAN_ALIASES}
    own, base = [], []
    for source in sources:
        if "main" not in source.components and "universe" not in source.components:
            continue
        suites = tuple(
            s for s in source.suites if s in {name + pocket for name in names for pocket in POCKETS}
        )
        if suites:
            own.append(replace(source, suites=suites))
        if names & set(suites):
            base.append(source)
    if not base:
        raise AptError(
            f"no file in /etc/apt names the archive of this release ({codename or 'unknown'})"
        )
    if not ubuntu:
        newer: tuple[str, ...] = DEBIAN_NEWER
    elif codename in UBUNTU_RELEASES:
        newer = UBUNTU_RELEASES[UBUNTU_RELEASES.index(codename) + 1 :]
    else:
        newer = ("devel",)
    return [
        (codename, own),
        *((name, [replace(s, suites=(name,)) for s in base]) for name in newer),
    ]


def numbers(version: str) -> tuple[int, ...]:
    """Return the upstream numbers of a Debian version: "1:1.25.0+ds-1" -> (1, 25, 0)."""
    match = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


class Archive:
    """One release of the archive, seen through apt with state, cache and sources in `folder`."""

    def __init__(self, name: str, sources: list[Source], folder: Path) -> None:
        self.name = name
        self._folder = folder.resolve()
        self._sources = sources
        self._updated = False

    def _run(
        self, program: str, *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        options = {
            "Dir::State": self._folder / "state",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._folder / "sources",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Acquire::Languages": "none",
            # Stay who we are: apt's own user cannot write into the project's folder.
            "APT::Sandbox::User": "root",
        }
        argv = [program, "-q"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        environment = os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(
            [*argv, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            check=False,
        )

    def update(self) -> None:
        """Fetch the package lists, once.

        A failing update is not an error in itself: apt uses the lists it could fetch and verify,
        and ignores the rest; whether that is enough shows when a package is looked up.
        """
        if self._updated:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        for sub in ("state/lists/partial", "cache/archives/partial", "sources"):
            (self._folder / sub).mkdir(parents=True)
        (self._folder / "status").touch()
        architecture = subprocess.run(
            ["dpkg", "--print-architecture"], text=True, capture_output=True, check=True
        ).stdout.strip()
        stanzas = "\n".join(source.deb822(architecture) for source in self._sources)
        (self._folder / "sources" / "machine.sources").write_text(stanzas, encoding="utf-8")
        self._run("apt-get", "update")
        self._updated = True

    def candidate(self, package: str) -> str:
        """Return the version of `package` in this release, or "" where there is none."""
        self.update()
        match = re.search(
            r"^\s*Candidate: (\S+)", self._run("apt-cache", "policy", package).stdout, re.M
        )
        return match[1] if match and match[1] != "(none)" else ""

    def libraries(self, package: str) -> list[str]:
        """Return the library packages that `package` depends on, the C library among them, sorted.

        Only packages named lib... count: the rest of a Debian dependency tree (adduser, init
        scripts, perl) serves an installed system, not an unpacked program.
        """
        seen: set[str] = set()
        pending = [package]
        while pending:
            printed = self._run("apt-cache", "depends", "--important", pending.pop()).stdout
            wanted, alternative = [], False
            for line in printed.splitlines():
                match = re.match(r"^ *(\|?)(?:Pre)?Depends: (\S+)", line)
                if match:
                    if not alternative:  # of "a | b" the first
                        wanted.append(match[2])
                    alternative = match[1] == "|"
                elif wanted and wanted[-1].startswith("<") and line.startswith("    "):
                    wanted[-1] = line.strip()  # a virtual package: the first that provides it
            for name in wanted:
                if name.startswith("lib") and name not in seen:
                    seen.add(name)
                    pending.append(name)
        return sorted(seen)

    def unpack(self, packages: list[str], target: Path) -> None:
        """Download `packages`, checked against the signed lists, and unpack them into `target`."""
        downloads = self._folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        done = self._run("apt-get", "download", *packages, cwd=downloads)
        if done.returncode != 0:
            raise AptError(f"apt-get download {' '.join(packages)} failed: {done.stderr.strip()}")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for deb in sorted(downloads.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], check=True)


def archives(folder: Path) -> list[Archive]:
    """Return the releases to ask, the machine's own first, with their state below `folder`.

    Raises AptError where there is no apt, or no archive named.
    """
    if not all(shutil.which(program) for program in ("apt-get", "apt-cache", "dpkg", "dpkg-deb")):
        raise AptError("this machine has no apt")
    return [
        Archive(name, sources, folder / name)
        for name, sources in releases(machine_sources(), os_release())
    ]
