"""Warnings about an application, a sentence each. Pure: files in, sentences out.

Nothing here is refused; `client.application` refuses what is surely wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from twinslot.client.imports import MAIN, Missing

_SECRETS = (
    *("*secret*", "*password*", "*passwd*", "*credential*", "*.env", "wpa_supplicant.conf"),
    *("wifi.json", "wifi.txt", "wifi.ini", "wifi.dat", "wifi*conf*", "wifi*cfg*", "wifi_keys*"),
)


def of(files: Mapping[str, bytes], missing: Sequence[Missing]) -> list[str]:
    """Sentences about the application's own files, path to bytes.

    missing: imports that nothing satisfies; about those that come later than the start is said
    something here.
    """
    return [*_secrets(files), *_hidden(files), *_later(missing)]


def _secrets(files: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(files):
        name = path.rpartition("/")[2].lower()
        if any(fnmatchcase(name, pattern) for pattern in _SECRETS):
            yield (
                f"{path} looks like a secret, and a package is signed, not encrypted: passwords "
                "belong into the board's /etc, which updates leave alone"
            )


def _hidden(files: Mapping[str, bytes]) -> Iterator[str]:
    """MicroPython takes a folder for a package before it looks for a module of the same name."""
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    for path in sorted(files):
        stem, _, end = path.rpartition(".")
        if end in ("py", "mpy") and stem in folders and path != MAIN:  # which is not imported
            yield f"{path} is never imported, because the folder {stem}/ comes first"


def _later(missing: Sequence[Missing]) -> Iterator[str]:
    for one in missing:
        if not one.at_once:
            yield (
                f"{one.path}, line {one.line} imports {one.module} when it gets there, and neither "
                "the application nor MicroPython has it"
            )
