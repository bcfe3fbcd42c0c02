"""Which files of an application's folder go along, and which stay at home.

Three things say so, in this order: `AT_HOME`, the files `.otaignore` in the folder and below it,
and the patterns of the command line. A `.otaignore` has gitignore's syntax, so "!.config" brings
back a hidden file that `AT_HOME` leaves out.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pathspec import GitIgnoreSpec

from twinslot import disk
from twinslot.errors import FleetError
from twinslot.text import decoded

AT_HOME = (
    *(".*", "__pycache__", "*.pyc", "*.ota", "pyvenv.cfg"),
    *("*~", "\\#*#", "*.bak", "*.orig", "*.swp", "*.swo", "*.code-workspace", "*.sublime-*"),
    *("Thumbs.db", "desktop.ini"),
)
"""Patterns, in gitignore's syntax, of what never goes along unless a .otaignore brings it back."""
IGNORE_FILE = ".otaignore"

_USUAL = GitIgnoreSpec.from_lines(AT_HOME)
_ENVIRONMENT = "pyvenv.cfg"  # lies in every virtual environment of Python, whatever that is called
_SHOWN = 8  # names in a sentence


class FolderError(FleetError):
    """The folder, or a file that says what of it goes along, cannot be used."""


class Walk:
    """The files of a folder that are to go along.

    After `files()` has ended, `unused` are the patterns that have met nothing, `empty` the folders
    from which nothing came though no pattern of the user's keeps anything of them at home.
    """

    def __init__(self, folder: Path, include: Sequence[str], exclude: Sequence[str]) -> None:
        """`include` and `exclude` are shell patterns, as `application.Options` has them."""
        self._folder = folder
        self._root = folder.resolve()
        self._include, self._exclude = include, exclude
        self._usual: list[str] = []
        self._ignored: list[str] = []
        self.unused = {*include, *exclude}
        self.empty: list[str] = []

    @property
    def left_out(self) -> list[str]:
        """Sentences that name what stays at home without a pattern of the command line."""
        said = []
        if self._usual:
            said.append(f"left out: {_some(self._usual)} ('!NAME' in {IGNORE_FILE} brings it)")
        if self._ignored:
            said.append(f"left out by {IGNORE_FILE}: {_some(self._ignored)}")
        return said

    def files(self) -> Iterator[tuple[str, Path]]:
        """Path in the archive and file. Raises FolderError, FileError."""
        yield from self._below(self._folder, "", [("", _USUAL)], taken=not self._include)

    def _below(
        self, folder: Path, prefix: str, rules: list[tuple[str, GitIgnoreSpec]], *, taken: bool
    ) -> Iterator[tuple[str, Path]]:
        try:
            here = sorted(folder.iterdir())
        except OSError as error:
            raise FolderError(f"cannot read the folder {folder}: {error.strerror}") from error
        if any(file.name == IGNORE_FILE for file in here):
            rules = [*rules, (prefix, read_ignore(folder / IGNORE_FILE))]
        came = chosen_away = False
        for file in here:
            path = prefix + file.name
            is_folder = file.is_dir() and not file.is_symlink()
            by = self._at_home(file, path, rules, is_folder=is_folder)
            if by is not None:
                if file.name != IGNORE_FILE:
                    by.append(f"{path}/" if is_folder else path)
                chosen_away |= by is self._ignored
                continue
            if self._meets(path, self._exclude):
                chosen_away = True
                continue
            wanted = self._meets(path, self._include) or taken
            if is_folder:
                held = False
                for found in self._below(file, f"{path}/", rules, taken=wanted):
                    held = True
                    yield found
                came |= held
                chosen_away |= not held  # or it is empty, and is named itself
            elif wanted:
                self._check(path, file)
                came = True
                yield path, file
        if prefix and taken and not came and not chosen_away:
            self.empty.append(prefix)

    def _at_home(
        self, file: Path, path: str, rules: list[tuple[str, GitIgnoreSpec]], *, is_folder: bool
    ) -> list[str] | None:
        """The list that a file or folder which stays at home belongs on, None for all others.

        The last rule that says anything decides, that of the deepest folder first.
        """
        if is_folder and (file / _ENVIRONMENT).is_file():
            return self._usual
        for prefix, rule in reversed(rules):
            kept = rule.check_file(path.removeprefix(prefix) + "/" * is_folder).include
            if kept is not None:
                return None if not kept else self._usual if rule is _USUAL else self._ignored
        return None

    def _meets(self, path: str, patterns: Sequence[str]) -> bool:
        met = named(path, patterns)
        self.unused.difference_update(met)
        return bool(met)

    def _check(self, path: str, file: Path) -> None:
        if file.is_symlink():
            try:
                target = file.resolve()
            except (OSError, RuntimeError) as error:  # RuntimeError before Python 3.13
                raise FolderError(
                    f"{self._folder}: {path} is a link to itself; remove it"
                ) from error
            if not target.is_relative_to(self._root):
                raise FolderError(
                    f"{self._folder}: {path} is a link that leaves the folder; put a copy in its "
                    "place"
                )
            if target.is_dir():
                raise FolderError(
                    f"{self._folder}: {path} is a link to a folder; put a copy in its place"
                )
        if not file.is_file():
            raise FolderError(f"{self._folder}: {path} is neither a file nor a folder")


def named(path: str, patterns: Sequence[str]) -> list[str]:
    """The shell patterns that match a path, or its last part where they have no slash."""
    name = path.rpartition("/")[2]
    return [
        pattern
        for pattern in patterns
        if fnmatchcase(path if "/" in pattern.rstrip("/") else name, pattern.rstrip("/"))
    ]


def read_ignore(path: Path) -> GitIgnoreSpec:
    """The rules of a `.otaignore`. Raises FolderError with the line, TextError, FileError."""
    lines = decoded(disk.read(path, "the list of what stays at home,"), path).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise FolderError(
                f"{path}, line {number}: {line!r} is no pattern of gitignore's"
            ) from error
    return GitIgnoreSpec.from_lines(lines)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
