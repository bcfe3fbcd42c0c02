"""`make doctor`: what was found on this machine, which version, from where, what to do.

Standard library only: it must speak where set-up failed.
"""

import sys
from importlib import metadata
from pathlib import Path

from tools import natives
from tools.interpreters import INTERPRETERS, InterpreterMissing
from tools.paths import CACHE, ROOT

# What can be done without, and what happens then.
OPTIONAL = {
    "micropython": "boards run under CPython instead, and the MicroPython tests are skipped"
}
PACKAGES = (
    "boto3",
    "cbor2",
    "cryptography",
    "paho-mqtt",
    "SQLAlchemy",
    "esptool",
    "mpremote",
    "littlefs-python",
)


def examine() -> list[tuple[str, str, str, bool]]:
    """Return (name, version or "missing", where from or what to do, fine?) of what is needed."""
    rows = [("python", sys.version.split()[0], sys.executable, sys.version_info >= (3, 11))]
    found = natives.find_all()
    for name, result in found.items():
        if isinstance(result, natives.Found):
            rows.append((name, result.version or "yes", result.origin, True))
        else:
            remedy = f"{result} ({OPTIONAL[name]})" if name in OPTIONAL else result
            rows.append((name, "missing", remedy, name in OPTIONAL))
    for interpreter in INTERPRETERS:
        if interpreter.wasm:
            try:
                interpreter.command(Path("probe"), [])
                rows.append((interpreter.label, "yes", "npm, in .cache", True))
            except InterpreterMissing as error:
                rows.append((interpreter.label, "missing", str(error), False))
    umqtt = CACHE / "umqtt/umqtt/simple.py"
    rows.append(
        file_row(
            "umqtt.simple", umqtt, (ROOT / "tools/umqtt.lock").read_text().split()[0].split("==")[1]
        )
    )
    rows += [package_row(package) for package in PACKAGES]
    return rows


def package_row(package: str) -> tuple[str, str, str, bool]:
    """Return the row of a Python package in .venv."""
    for distribution in metadata.distributions(name=package, path=[str(natives.site_packages())]):
        return (package, distribution.version, ".venv (PyPI)", True)
    return (package, "missing", "run `make setup`", False)


def file_row(name: str, path: Path, version: str) -> tuple[str, str, str, bool]:
    """Return the row of something that set-up unpacks."""
    if path.exists():
        return (name, version, "PyPI, in .cache", True)
    return (name, "missing", "run `make setup`", False)


def main() -> int:
    """Print a table; return 1 if something that is needed is missing."""
    rows = examine()
    for name, version, remark, fine in rows:
        sys.stdout.write(f"{'ok ' if fine else 'NO '} {name:22} {version:12} {remark}\n")
    return 0 if all(fine for *_, fine in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
