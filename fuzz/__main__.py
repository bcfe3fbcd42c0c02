"""`make fuzz` and `make fuzz-branches`: python -m fuzz run|keep|branches [--seconds N] [NAME...]"""

import argparse
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from fuzz import reach
from fuzz.target import MAX_INPUT, WORK, load, names
from tools.paths import ROOT


def main() -> int:
    """Return the exit code: 1 when a parser leaks, or reaches too few of its branches."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("what", choices=["run", "keep", "branches"])
    parser.add_argument("--seconds", type=int, default=600, help="time of each parser")
    parser.add_argument("-n", "--jobs", type=int, default=2, help="parsers at a time")
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all of them by default")
    asked = parser.parse_intermixed_args()
    chosen = asked.names or names()
    if asked.what == "branches":
        return branches(chosen)
    leaks = 0
    if asked.what == "run":
        with ThreadPoolExecutor(asked.jobs) as pool:
            leaks = sum(pool.map(lambda name: run(name, asked.seconds), chosen))
    for name in chosen:
        keep(name)
    return 1 if leaks else 0


def run(name: str, seconds: int) -> int:
    """Run one target in a process of its own; return how many kinds of leaks it has."""
    log = WORK / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "fuzz.guided", name, str(seconds)]
    with log.open("w") as file:
        code = subprocess.run(argv, cwd=ROOT, stdout=file, stderr=file, check=False).returncode
    path = WORK / name / "leaks.txt"
    leaks = path.read_text().splitlines() if path.exists() else []
    if code and not leaks:
        leaks = [f"{name}: ended with {code}; see {log}"]
    sys.stdout.write(f"{name}: {len(leaks)} leaks in {seconds} s\n")
    sys.stdout.writelines(f"  {line}\n" for line in leaks)
    sys.stdout.flush()
    return len(leaks)


def keep(name: str) -> None:
    """Replace the kept corpus of a target by the fewest inputs that reach as much as all known."""
    target = load(name)
    found = [path.read_bytes() for path in (WORK / name / "found").glob("*")]
    known = [*target.seeds, *target.kept(), *found]
    kept = reach.smallest(target, (data for data in known if len(data) <= MAX_INPUT))
    target.corpus.mkdir(parents=True, exist_ok=True)
    for path in target.corpus.glob("*"):
        path.unlink()
    for data in kept:
        digest = hashlib.sha256(data).hexdigest()[:12]
        (target.corpus / digest).write_bytes(data)
    sys.stdout.write(f"{name}: {len(kept)} inputs kept, {sum(map(len, kept))} bytes\n")


def branches(chosen: list[str]) -> int:
    """Print the share of branches that the kept corpus reaches; return 1 if it is too small."""
    known = reach.reasons()
    bad = 0
    for name in chosen:
        target = load(name)
        found = reach.reached(target, target.kept())
        reached = found.branches - len(found.missing)
        sys.stdout.write(f"{name:24} {found.percent:5.1f} %  {reached} of {found.branches}\n")
        for line in found.missing:
            sys.stdout.write(f"    {line}\n        {known.get(line, 'NOT NAMED')}\n")
        bad += found.percent < reach.LEAST or any(line not in known for line in found.missing)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
