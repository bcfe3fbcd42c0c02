"""The host's layers import downwards only: the contracts in pyproject.toml, and that they bite."""

import shutil
import subprocess
from pathlib import Path

from tools.paths import ROOT, VENV_BIN


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run import-linter on the `src/twinslot` and the contracts in a folder."""
    return subprocess.run(
        [VENV_BIN / "lint-imports", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_layer_imports_one_above_or_beside_it() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_planted_wrong_arrow_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    arrows = [
        ("formats/cbor", "twinslot.trust.keys"),
        ("formats/cbor", "twinslot.disk"),
        ("trust/keys", "twinslot.config"),
        ("firmware/agent", "twinslot.board.files"),
        ("client/push", "twinslot.service.states"),
        ("service/states", "twinslot.client.report"),
        ("board/plan", "twinslot.client.packing"),
        ("board/plan", "twinslot.cli.parts"),
        ("errors", "twinslot.formats.cbor"),
        ("client/push", "sim"),
        ("formats/cbor", "tools"),
    ]
    for where, what in arrows:
        with (tmp_path / f"src/twinslot/{where}.py").open("a") as file:
            file.write(f"\nimport {what}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("BROKEN") == 2, "both contracts"
    for where, what in arrows:
        assert f"twinslot.{where.replace('/', '.')} -> {what} (l." in done.stdout, done.stdout
