"""The demo turns red when the board's code does not do what a scene is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from link_fixtures import need

from demo.__main__ import main
from sim import board as boards
from tools.paths import ROOT
from twinslot.firmware import agent
from twinslot.formats import bundle

BUNDLE = f"/{agent.BUNDLE}"


@dataclass(frozen=True)
class Mutant:
    """One rule broken: `old` becomes `new` in `source`; `scene` must turn red, saying `wrong`."""

    source: str
    old: str
    new: str
    scene: int
    wrong: str = "the service recorded: 'SUCCEEDED' instead of 'FAILED'"


NO_SIGNATURE_CHECK = Mutant(
    "firmware/ota/admission.py",
    '    public, roles = loader.ask("trust", "signer", board, kid)\n'
    "    key, digest, signature = trust.claim({kid: public}, *signed)\n"
    "    engine.target = payload, record, kid, roles\n",
    "    engine.target = payload, record, kid, 1\n"
    "    engine.become(states.ADMITTING)\n    return 0\n",
    7,
    "cause: 'bad_image' instead of 'unknown_key'",  # found before it boots, not at its head
)
SELF_TEST_ALWAYS_TRUE = Mutant(
    "boot.py",
    "        application_test()\n",
    "",
    3,
)
NO_ROLLBACK = Mutant(
    "boot.py",
    "            return test(journal, record, mended)\n",
    "            Partition.mark_app_valid_cancel_rollback()\n"
    "            return test(journal, record, mended)\n",
    3,
)
# The trailer's directory is not looked at: the flat files run on, whatever came.
BOTH_WITHOUT_DIRECTORY = Mutant("boot.py", "    if not directory:\n", "    if True:\n", 5)
FILES_WITHOUT_DIRECTORY = replace(
    BOTH_WITHOUT_DIRECTORY,
    scene=6,
    wrong="the board prints the new app.py's line: False instead of True",
)


def application(mutant: Mutant, folder: Path, *, compiled: bool) -> dict[str, bytes]:
    """Return the board's files with one rule broken."""
    files = boards.application_files(compiled=compiled)
    text = (ROOT / mutant.source).read_text()
    assert text.count(mutant.old) == 1, "the mutant fits the code no longer"
    source = folder / Path(mutant.source).name
    source.write_text(text.replace(mutant.old, mutant.new))
    path = "/" + mutant.source.removeprefix("firmware/")
    if path in files:
        files[path] = source.read_bytes()
    else:
        held = bundle.read(files[BUNDLE])
        modules = {**held.modules, source.stem: boards.compile_module(source)}
        files[BUNDLE] = bundle.build(modules, held.extensions)
    return files


def play(folder: Path, *scenes: int) -> int:
    return main(["--folder", str(folder / "demo"), "--scenes", *map(str, scenes)])


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(NO_SIGNATURE_CHECK, id="no signature check", marks=pytest.mark.slow),
        pytest.param(SELF_TEST_ALWAYS_TRUE, id="self-test always true", marks=pytest.mark.slow),
        pytest.param(NO_ROLLBACK, id="no rollback", marks=pytest.mark.slow),
        pytest.param(BOTH_WITHOUT_DIRECTORY, id="no directory, both", marks=pytest.mark.slow),
        pytest.param(FILES_WITHOUT_DIRECTORY, id="no directory, files", marks=pytest.mark.slow),
    ],
)
def test_a_mutant_turns_the_demo_red(
    mutant: Mutant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    need("mosquitto")
    compiled = boards.default_interpreter() == "micropython"
    files = application(mutant, tmp_path, compiled=compiled)
    monkeypatch.setattr(boards, "application_files", lambda **_: dict(files))
    assert play(tmp_path, mutant.scene) == 1
    # Not for some other reason.
    assert f"WRONG  {mutant.wrong}" in capsys.readouterr().out


@pytest.mark.slow
def test_without_a_mutant_the_same_scenes_are_green(tmp_path: Path) -> None:
    need("mosquitto")
    assert play(tmp_path, 3, 5, 6, 7) == 0
