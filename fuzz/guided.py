"""Runs one target for a while in this process: with atheris, or without guidance by hypothesis.

    python -m fuzz.guided NAME SECONDS

Inputs go into .cache/fuzz/NAME. An exception that the target does not allow is written beside them,
once for each place that it comes from, and the run goes on; the exit code is 1 then.
"""

import contextlib
import hashlib
import os
import sys
import time
import traceback
from pathlib import Path

from fuzz.target import MAX_INPUT, WORK, Target, load

try:
    import atheris
except ImportError:  # no build for this Python or this system
    atheris = None


class Watch:
    """Runs inputs, and writes down each kind of leak once."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.leaks: dict[str, str] = {}

    def __call__(self, data: bytes) -> None:
        """Try one input."""
        error = self.target.leak(bytes(data))
        if error is None:
            return
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        if kind in self.leaks:
            return
        said = f"{self.target.name}: {kind}: {str(error)[:200]!r} by {bytes(data).hex()[:4000]}"
        self.leaks[kind] = said
        with (self.folder / "leaks.txt").open("a") as file:
            file.write(said + "\n")


def main(name: str, seconds: int) -> None:
    """Run a target. Exits with 1 when it leaks."""
    folder = WORK / name
    (folder / "found").mkdir(parents=True, exist_ok=True)
    (folder / "leaks.txt").unlink(missing_ok=True)
    if atheris is None:
        target = load(name)
        watch = Watch(target, folder)
        _unguided(watch, seconds)
    else:
        with atheris.instrument_imports(include=["twinslot", "ota"]):
            target = load(name)
        watch = Watch(target, folder)
        for data in (*target.seeds, *target.kept()):
            (folder / "found" / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(
                data
            )
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", "-verbosity=0"]
        options += ["-print_final_stats=0", f"-artifact_prefix={folder}/", "-rss_limit_mb=3000"]
        options += ["-timeout=60", "-close_fd_mask=0"]
        atheris.Setup([sys.argv[0], *options, str(folder / "found")], watch)
        with contextlib.suppress(SystemExit):
            atheris.Fuzz()  # ends the process; the leaks are in their file


def _unguided(watch: Watch, seconds: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    known = [*watch.target.seeds, *watch.target.kept()] or [b""]
    edits = st.lists(st.tuples(st.integers(0, MAX_INPUT), st.binary(max_size=8)), max_size=6)
    end = time.monotonic() + seconds
    number = 0

    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(known) | st.binary(max_size=400), edits, st.integers(0, 3))
    def once(data: bytes, changes: list[tuple[int, bytes]], cut: int) -> None:
        for at, new in changes:
            at %= len(data) + 1
            data = data[:at] + new + data[at + cut :]
        watch(data)

    while time.monotonic() < end:
        once()
        number += 1


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main(sys.argv[1], int(sys.argv[2]))
