"""The command line where no service is needed: what it prints and how it exits."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from esp_images import app, merged
from fleet_commands import commands_of

from tools.paths import ROOT
from twinslot.cli.main import main
from twinslot.firmware import agent, extensions
from twinslot.formats import archive, bundle, package
from twinslot.formats.component import APPLICATION, FIRMWARE, application_content
from twinslot.trust import keys, signing

Fleet = Callable[..., Result]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """`fleet` in a folder that `fleet init` has prepared and that holds an image."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    assert run("init").exit_code == 0
    Path("app.bin").write_bytes(app(text=b"MicroPython v1.26.0 on 2025-08-09"))
    return run


def pack(fleet: Fleet, *more: str, image: str = "app.bin") -> Result:
    return fleet("pack", image, "--version", "1.1.0", "--sequence", "2", "-o", "app.ota", *more)


def test_help_lists_every_command_and_the_exit_codes(fleet: Fleet) -> None:
    shown = fleet("--help").output
    for word in ("init", "keygen", "pack", "inspect", "serve", "publish", "status", "watch"):
        assert f"  {word}" in shown
    for code in ("0  done", "1  refused", "2  wrong usage", "3  fleet.toml", "4  no service"):
        assert code in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    for command in commands_of(main):
        assert fleet(command, "--help").exit_code == 0


def test_init_says_what_it_wrote_and_refuses_to_do_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(main, ["init", "--product", "meter", "--broker", "mqtt:8884"])
    assert first.exit_code == 0
    assert "wrote fleet.toml" in first.output
    assert 'product = "meter"' in Path("fleet.toml").read_text()
    again = CliRunner().invoke(main, ["init"])
    assert again.exit_code == 3
    assert "nothing was written" in again.output
    assert 'product = "meter"' in Path("fleet.toml").read_text()


@pytest.mark.parametrize(
    "options", [("--broker", "mqtt"), ("--slot-size", "large"), ("--chip", "esp8266")]
)
def test_a_wrong_option_is_wrong_usage(
    options: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["init", *options]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_keygen_never_overwrites_either_half(fleet: Fleet) -> None:
    assert fleet("keygen").exit_code == 1
    made = fleet("keygen", "spare.pem")
    assert made.exit_code == 0
    key = keys.read_private(Path("spare.pem"))
    assert keys.kid(key.public_key()).hex() in made.output
    Path("spare.pem").unlink()
    assert fleet("keygen", "spare.pem").exit_code == 1
    assert not Path("spare.pem").exists()


def test_a_packed_image_is_what_inspect_shows(fleet: Fleet) -> None:
    made = pack(fleet, "--expires-days", "30")
    assert made.exit_code == 0
    assert "MicroPython v1.26.0" in made.output
    assert f"{len(Path('app.bin').read_bytes())} of 1765376 bytes in a slot" in made.output
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 0
    for words in ("demo-board", "1.1.0", "sequence", "MicroPython v1.26.0", "signature holds"):
        assert words in shown.output
    manifest = package.inspect(Path("app.ota").read_bytes()).manifest
    assert manifest.expires == manifest.created + 30 * 86400


def test_the_application_of_a_merged_download_is_packed_and_that_is_said(fleet: Fleet) -> None:
    Path("merged.bin").write_bytes(merged(app()))
    made = pack(fleet, image="merged.bin")
    assert made.exit_code == 0
    assert "taken out of a merged download: partition ota_0" in made.output
    data = Path("app.ota").read_bytes()
    assert data[4096 : 4096 + len(app())] == app()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"hello", "this is a text; take the .app-bin"),
        (app(chip=9), "for esp32s3, the board is esp32"),
        (app(0x1B0000), "1765376"),
        (app(descriptor=False), "bootloader"),
    ],
)
def test_what_does_not_belong_on_the_board_is_not_packed(
    fleet: Fleet, image: bytes, words: str
) -> None:
    Path("app.bin").write_bytes(image)
    refused = pack(fleet)
    assert refused.exit_code == 1
    assert words in refused.output
    assert not Path("app.ota").exists()


def test_inspect_tells_a_stranger_and_a_forgery(fleet: Fleet) -> None:
    fleet("keygen", "stranger.pem")
    pack(fleet, "--key", "stranger.pem")
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 1
    assert "signed with key" in shown.output
    pack(fleet)
    data = bytearray(Path("app.ota").read_bytes())
    data[data.index(b"1.1.0")] = ord("9")
    Path("app.ota").write_bytes(data)
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 1
    assert "signature does not hold" in shown.output


def test_files_that_are_not_there_and_settings_that_are_wrong(fleet: Fleet) -> None:
    assert fleet("inspect", "missing.ota").exit_code == 1
    assert fleet("status").exit_code == 4
    assert fleet("--config", "other.toml", "status").exit_code == 3
    Path("fleet.toml").write_text("product = 7\n")
    assert fleet("status").exit_code == 3


# Applications


AGENT = ("__init__", "agent", "phases")


@pytest.fixture
def application(fleet: Fleet) -> Path:
    """The folder `app` beside fleet.toml."""
    for name, text in (
        ("main.py", "import pump\n"),
        ("lib/valve.py", "#" * 600),
        ("pump.py", "RATE = 1\n"),
        ("link.py", "class Link: 0\n"),
        *((f"ota/{name}.py", "") for name in AGENT),
    ):
        path = Path("app") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path("app")


def pack_app(fleet: Fleet, *more: str) -> Result:
    return fleet(
        *("pack", "--app", "app", "--version", "1.1.0", "--sequence", "2", "-o", "app.ota"), *more
    )


def packed_files() -> dict[str, bytes]:
    data = Path("app.ota").read_bytes()
    found = package.inspect(data).manifest.component(APPLICATION)
    assert found is not None
    return archive.contents(found.of(data))


def test_an_application_is_packed_listed_and_shown(fleet: Fleet, application: Path) -> None:
    made = pack_app(fleet)
    assert made.exit_code == 0
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 0
    for output in (made.output, shown.output):
        assert "    600  lib/valve.py" in output
        assert "     12  main.py" in output
        assert "7 files" in output
    assert "    635  bytes in all" in made.output
    assert "signature holds" in shown.output
    assert packed_files()["pump.py"] == b"RATE = 1\n"
    manifest = package.inspect(Path("app.ota").read_bytes()).manifest
    assert [component.kind for component in manifest.components] == [APPLICATION]


@pytest.mark.parametrize("words", [["app.bin"], ["--firmware", "app.bin"]])
def test_firmware_and_application_travel_together_the_firmware_first(
    fleet: Fleet, application: Path, words: list[str]
) -> None:
    made = pack_app(fleet, *words, "--mpy")
    assert made.exit_code == 0
    assert "MicroPython v1.26.0" in made.output
    manifest = package.inspect(Path("app.ota").read_bytes()).manifest
    kinds = [component.kind for component in manifest.components]
    assert kinds == [FIRMWARE, APPLICATION]
    assert set(packed_files()) == {
        *("main.py", "pump.mpy", "link.mpy", "lib/valve.mpy"),
        *(f"ota/{name}.mpy" for name in AGENT),
    }


def test_a_package_that_cannot_be_written_is_named(fleet: Fleet, application: Path) -> None:
    refused = pack_app(fleet, "-o", "none/app.ota")
    assert refused.exit_code == 1
    assert "cannot write none/app.ota" in refused.output


def test_no_package_is_overwritten_silently_and_no_other_file_at_all(
    fleet: Fleet, application: Path
) -> None:
    assert "replaced" not in pack_app(fleet).output
    again = pack_app(fleet, "--version", "1.2.0", "--sequence", "3")
    assert "replaced app.ota, which was demo-board 1.1.0, sequence 2\n" in again.output
    main_py = application / "main.py"
    before = main_py.read_bytes()
    refused = pack_app(fleet, "-o", "app/main.py")
    assert refused.exit_code == 1
    assert "app/main.py is there already, and is no package" in refused.output
    assert main_py.read_bytes() == before


def test_patterns_choose_what_is_packed(fleet: Fleet, application: Path) -> None:
    made = pack_app(fleet, "--include", "*.py", "--exclude", "lib", "--exclude", "nothing")
    assert "lib/valve.py" not in made.output
    assert "warning: the pattern nothing matches nothing" in made.output
    assert "lib/valve.py" not in packed_files()


def test_the_agent_is_added_or_left_out_and_that_is_said(fleet: Fleet, application: Path) -> None:
    shutil.rmtree(application / "ota")
    assert "the project's own agent was added" in pack_app(fleet).output
    assert agent.BUNDLE in packed_files()
    made = pack_app(fleet, "--no-agent")
    assert "warning: without ota/" in made.output
    assert agent.BUNDLE not in packed_files()


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ([], ("console", "http", "wide")),
        (["--extensions", "none"], ()),
        (["--extensions", "http,raw"], ("http", "raw")),
        (["--extensions", "+json"], ("console", "http", "json", "wide")),
        (["--extensions", "all"], ("console", "http", "json", "raw", "report", "segments", "wide")),
    ],
)
def test_the_added_agent_has_the_extensions_that_are_named(
    fleet: Fleet, application: Path, named: list[str], wanted: tuple[str, ...]
) -> None:
    shutil.rmtree(application / "ota")
    made = pack_app(fleet, *named)
    said = f"extensions: {', '.join(wanted) or 'none'}"
    assert (
        f"the project's own agent was added, ota/agent and all that it needs; {said}\n"
        in made.output
    )
    held = bundle.read(packed_files()[agent.BUNDLE])
    assert held.extensions == wanted
    assert f"modules; {said}\n" in fleet("inspect", "app.ota").output
    missing = extensions.left_out(wanted)
    assert missing.isdisjoint(held.modules)
    assert len(held.modules) == len(list((ROOT / "firmware/ota").glob("*.py"))) - 1 - len(missing)


def test_extensions_that_make_no_sense_are_refused(fleet: Fleet, application: Path) -> None:
    refused = pack_app(fleet, "--extensions", "http,htpp")
    assert refused.exit_code == 1
    assert (
        "there is no extension 'htpp'; there are console, http, json, raw, report, segments, wide"
        in (refused.output)
    )
    assert pack_app(fleet, "--no-agent", "--extensions", "http").exit_code == 2
    firmware = ("app.bin", "--version", "1", "--sequence", "2", "-o", "x.ota")
    assert fleet("pack", *firmware, "--extensions", "all").exit_code == 2


def test_an_application_is_judged_by_the_firmware_that_runs(
    fleet: Fleet, application: Path
) -> None:
    (application / "main.py").write_text("import valve, pumps\n")
    refused = pack_app(fleet, "--runs", "app.bin")
    assert refused.exit_code == 1
    assert (
        "main.py, line 1: no module pumps is in the application or the firmware" in refused.output
    )
    assert "valve" not in refused.output
    assert not Path("app.ota").exists()
    assert pack_app(fleet, "--board-has", "pumps").exit_code == 0
    made = pack_app(fleet, "--runs", "app.bin", "--force")
    assert "warning: main.py, line 1: no module pumps" in made.output
    assert len(package.inspect(Path("app.ota").read_bytes()).manifest.components) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing to pack"),
        (["app.bin", "--firmware", "app.bin"], "mean the same"),
        (["app.bin", "--app", "app", "--runs", "app.bin"], "without firmware"),
        (["app.bin", "--mpy"], "give --app"),
        (["app.bin", "--exclude", "lib"], "give --app"),
    ],
)
def test_options_that_contradict_are_wrong_usage(
    fleet: Fleet, application: Path, options: list[str], words: str
) -> None:
    refused = fleet("pack", *options, "--version", "1", "--sequence", "1", "-o", "app.ota")
    assert refused.exit_code == 2
    assert words in refused.output
    assert not Path("app.ota").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("client.key", "private key"),
        ("settings.json", "one board's own"),
        ("boot.py", "never updated over the air"),
    ],
)
def test_an_application_with_what_must_not_travel_is_not_packed(
    fleet: Fleet, application: Path, name: str, words: str
) -> None:
    (application / name).write_text("{}")
    refused = pack_app(fleet)
    assert refused.exit_code == 1
    assert words in refused.output
    assert not Path("app.ota").exists()
    assert pack_app(fleet, "--exclude", name).exit_code == 0


def test_an_application_that_breaks_the_archive_is_neither_shown_nor_published(
    fleet: Fleet,
) -> None:
    key = keys.read_private(Path("keys/signing.pem"))
    bad = application_content(b"\0" * 1024)
    Path("bad.ota").write_bytes(signing.build([bad], key, "demo-board", "1", 1, 1))
    for words in (("inspect", "bad.ota"), ("publish", "bad.ota", "board-1")):
        refused = fleet(*words)
        assert refused.exit_code == 1
        assert "application archive: there is no main.py" in refused.output


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_what_completes_the_words_of_fleet(shell: str) -> None:
    said = CliRunner().invoke(main, ["completion", shell])
    assert said.exit_code == 0
    assert f"_FLEET_COMPLETE={shell}_complete" in said.output
    for words, wanted in (("fleet bo", "board"), ("fleet board er", "erase")):
        environment = {
            "_FLEET_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = CliRunner().invoke(main, env=environment, prog_name="fleet")
        assert f"plain,{wanted}" in done.output


# Help


def test_help_lists_every_command_once_with_a_whole_sentence() -> None:
    for group, words in ((main, []), (commands_of(main)["board"], ["board"])):
        shown = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).output
        assert isinstance(group, click.Group)
        assert "..." not in shown.replace("[ARGS]...", "").replace("COMMAND [ARGS]", "")
        for name, command in commands_of(group).items():
            sentence = command.get_short_help_str(200)
            assert len(re.findall(rf"^  {name} +{re.escape(sentence)}$", shown, re.M)) == 1, name
            assert sentence[0].isupper()
