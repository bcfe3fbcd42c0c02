"""The targets: which there are, and what each of them says."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.paths import ROOT

FOLDER = ROOT / "fuzz"
CORPUS = FOLDER / "corpus"
WORK = ROOT / ".cache/fuzz"
"""Where a run keeps all inputs that it found; not in git."""
MAX_INPUT = 8192  # bytes of an input that is kept


@dataclass(frozen=True)
class Target:
    """One parser.

    allowed: exceptions that it may raise; covers: files, below the work tree, whose branches count,
    with the names of functions and classes in them, () for all; seeds: inputs to begin with.
    """

    name: str
    run: Callable[[bytes], object]
    allowed: tuple[type[BaseException], ...]
    covers: dict[Path, tuple[str, ...]]
    seeds: tuple[bytes, ...]

    @property
    def corpus(self) -> Path:
        """The folder of its kept inputs."""
        return CORPUS / self.name

    def kept(self) -> list[bytes]:
        """The kept inputs, in the order of their names."""
        return [path.read_bytes() for path in sorted(self.corpus.glob("*"))]

    def leak(self, data: bytes) -> BaseException | None:
        """The exception that an input raises although it may not; None if all is well."""
        try:
            self.run(data)
        except self.allowed:
            return None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return error
        return None


def names() -> list[str]:
    """The names of all targets, sorted."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("*_*.py") if path.stem[0] != "_")


def load(name: str) -> Target:
    """The target of this name. Raises ImportError."""
    for folder in ("firmware", "fuzz/targets"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))
    for folder in ("sim/chip", "sim/chip/cpython"):  # never instead of a module of Python's own
        if str(ROOT / folder) not in sys.path:
            sys.path.append(str(ROOT / folder))
    module = importlib.import_module(name)
    return Target(
        name, module.run, tuple(module.ALLOWED), dict(_covers(module.COVERS)), tuple(module.SEEDS)
    )


def _covers(lines: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    for line in lines:
        file, _, inside = line.partition(":")
        yield ROOT / file, tuple(inside.split())
