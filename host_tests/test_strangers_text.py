"""Nothing that a stranger wrote reaches the terminal or the log as it is."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import packed
from click.testing import CliRunner
from esp_images import app, merged
from fleet_site import Site
from rich.console import Console

import twinslot
from twinslot.board import look
from twinslot.cli import views
from twinslot.cli.main import main
from twinslot.client import publish, report, watch
from twinslot.client.own_service import OwnService
from twinslot.formats import archive
from twinslot.formats.component import application_content
from twinslot.text import printable
from twinslot.trust import keys, signing

# Colours, a title, C1 controls, an override of the direction, line ends of three kinds, NUL.
EVIL = "\x1b[31m\x1b]0;o\x07\x9b2J\u202e\r\n\u2028\x7f\0"
FORGED = "1.0\n  signature holds"

Fleet = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.name_endpoint()
    yield made
    made.close()


@pytest.fixture
def fleet(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert_harmless(done.output)
        return done.output

    return run


def assert_harmless(shown: str) -> None:
    assert shown
    bad = sorted({c for c in shown if not c.isprintable() and c != "\n"})
    assert not bad, f"shown as they are: {bad}"


def say(monkeypatch: pytest.MonkeyPatch, **details: str) -> None:
    """Let the service say this of every board; `fleet serve` itself refuses most of it."""
    found = OwnService.executions

    def executions(*given: Any) -> list[dict[str, Any]]:
        return [one | {"status": "FAILED", "details": details} for one in found(*given)]

    monkeypatch.setattr(OwnService, "executions", executions)
    monkeypatch.setattr(report, "_description", lambda *_: EVIL)


def package(version: str = EVIL, product: str = EVIL, name: str = "main.py") -> bytes:
    """A package that a stranger has signed."""
    content = application_content(archive.build({name: b"print(1)\n", "main.py": b""}))
    return signing.build([content], keys.generate(), product, version, 2, 86400)


def test_a_package_shows_its_texts_escaped_before_its_signature_is_judged(fleet: Fleet) -> None:
    Path("evil.ota").write_bytes(package())
    Path("mine.ota").write_bytes(package("1.0", "demo-board"))
    for shown in (fleet("inspect", "evil.ota"), fleet("diff", "mine.ota", "evil.ota")):
        assert r"\x1b[31m" in shown
        assert r"\x9b2J\u202e\r\n\u2028\x7f\x00" in shown
    assert r"\x1b[31m" in fleet("publish", "evil.ota", "board-1"), "the refusal names the product"


def test_a_version_cannot_forge_the_line_of_a_signature(fleet: Fleet) -> None:
    Path("evil.ota").write_bytes(package(FORGED))
    shown = fleet("inspect", "evil.ota")
    assert r"1.0\n  signature holds" in shown
    assert "  signature holds" not in shown.splitlines()


def test_an_image_and_a_table_show_their_texts_escaped(fleet: Fleet) -> None:
    image = bytearray(app())
    image[144 + 8 : 144 + 8 + 9] = b"\x1b[31mv9\n\x9b"  # the descriptor's version of ESP-IDF
    Path("evil.bin").write_bytes(bytes(image))
    fleet("inspect", "evil.bin")  # its digest is wrong now: the error is shown
    whole = bytes(merged(app())).replace(b"ota_0\0\0\0", b"\x1b[2J\n\x9b\0")
    Path("merged.bin").write_bytes(whole)
    fleet("inspect", "merged.bin")


def test_a_board_shows_its_words_escaped_in_every_form_of_status(
    site: Site, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.world.things(*(f"board-{number}" for number in range(22)))
    site.world.job("job-1", "board-1")
    say(monkeypatch, **{"reason": EVIL, "cause": EVIL, f"key{EVIL}": EVIL})
    for options in ((), ("board-1",), ("--all",)):
        shown = fleet("status", *options)
        assert all(len(line) <= 80 for line in shown.splitlines())
    assert json.loads(fleet("status", "--json"))["board-1"]["updates"][0]["details"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_board_shows_its_words_escaped_while_it_is_watched(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    publish.publish(
        site.clients, packed("1.1.0", 2), "x", ["board-1"], job_id="job-1", create_things=True
    )
    say(monkeypatch, reason=EVIL + "\x1b]8;;evil\x1b\\")
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=200)
    assert not watch.watch(site.config, "job-1", 10, views.progress_view(console))
    shown = screen.getvalue() + capsys.readouterr().out
    assert r"\x1b]8;;evil\x1b" in shown
    for sequence in ("\x1b[31m\x1b]0", "\x1b]8", "\x07", "\x9b", "\u202e", "\u2028", "\x7f"):
        assert sequence not in shown  # a terminal's bars have sequences of their own


def test_names_of_files_and_folders_are_escaped(fleet: Fleet, tmp_path: Path) -> None:
    name = EVIL.replace("\0", "")
    Path(name).mkdir()
    Path(f"{name}.ota").write_bytes(b"x")
    Path(f"{name}.csr").write_bytes(b"x")
    Path("ca").mkdir(exist_ok=True)
    fleet("inspect", f"{name}.ota")
    fleet("inspect", f"{name}.gone")
    fleet("diff", f"{name}.ota", f"{name}.ota")
    fleet("pack", "--app", name, "--version", "1", "--sequence", "2", "-o", "x.ota")
    fleet("flash", "--image-only", "x.bin", name)
    fleet("keygen", f"{name}.pem")
    fleet("provision", "board-1", "--host", "h", "--csr", f"{name}.csr")
    fleet("provision", EVIL, "--host", "h")
    fleet("watch", EVIL, "--timeout", "1")
    fleet("status", EVIL)
    fleet(EVIL)


def test_a_boards_console_is_shown_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(_port: str, _seconds: object, say: Callable[[str], None], note: Any) -> None:
        say("I (12) boot: \x1b[0;32m\x9b\n")
        say("hal")
        say("f\u202e\n")
        note(EVIL)

    monkeypatch.setattr(look, "listen", listen)
    done = CliRunner().invoke(main, ["board", "logs", "socket://x:1"])
    assert_harmless(done.output)
    assert "half\\u202e\n" in done.stdout, "parts of a line stay on one"


def test_the_services_log_is_escaped_and_a_traceback_in_it_is_marked(fleet: Fleet) -> None:
    code = """
import logging
from twinslot.cli.main import main
from twinslot.service import serve

def run(*_, **__):
    log = logging.getLogger("x")
    log.warning("ignored: %s", EVIL + FORGED)
    try:
        raise ValueError(EVIL + FORGED)
    except ValueError:
        log.exception("failed")

serve.run = run
main(["serve"])
"""
    forged = "\n2026-01-01 WARNING forged"
    started = f"EVIL, FORGED = {EVIL!r}, {forged!r}\n{code}"
    ran = subprocess.run([sys.executable, "-c", started], capture_output=True, check=True)
    shown = ran.stderr.decode()
    assert_harmless(shown)
    assert shown.count("forged") == 2
    first, second, *traceback = shown.splitlines()
    assert "ignored" in first and "failed" in second
    assert all(line.startswith("  | ") for line in traceback)


def test_what_is_escaped_once_stays_as_it_is() -> None:
    assert printable(printable(EVIL)) == printable(EVIL)
    assert printable("Grüße, 東京, 12 µs") == "Grüße, 東京, 12 µs"


def test_only_say_and_the_bars_print() -> None:
    """A new command cannot forget to escape: it has nothing else to print by."""
    for path in sorted((Path(twinslot.__file__).parent / "cli").glob("*.py")):
        if path.name == "say.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("print", "click.echo", "click.secho", "click.style"), path
            assert not name.startswith(("sys.stdout.", "sys.stderr.")), path
            assert name != "Console" or path.name == "views.py", path
