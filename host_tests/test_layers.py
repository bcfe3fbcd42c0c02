"""The host's layers import downwards only: the contracts in pyproject.toml, and that they bite."""

import shutil
import subprocess
from pathlib import Path

import pytest

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


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, into which wrong arrows are planted."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_layer_imports_one_above_or_beside_it() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("formats/cbor.py", "twinslot.trust.keys"),
        ("formats/cbor.py", "twinslot.disk"),
        ("trust/keys.py", "twinslot.config"),
        ("firmware/agent.py", "twinslot.board.files"),
        ("client/push.py", "twinslot.service.states"),
        ("service/states.py", "twinslot.client.report"),
        ("board/plan.py", "twinslot.client.packing"),
        ("board/plan.py", "twinslot.cli.parts"),
        ("errors.py", "twinslot.formats.cbor"),
        ("client/push.py", "sim.board"),
        ("formats/cbor.py", "tools.paths"),
    ],
)
def test_a_planted_wrong_arrow_is_found(copy: Path, where: str, what: str) -> None:
    path = copy / "src/twinslot" / where
    path.write_text(path.read_text() + f"\nimport {what}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    assert what.split(".")[-1] in done.stdout or what.split(".")[0] in done.stdout
