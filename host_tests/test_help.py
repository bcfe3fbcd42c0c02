"""`fleet --help` and each command's help read as one hand wrote them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from fleet_commands import commands_of

from twinslot.cli.main import main

SENTENCE = re.compile(r"[A-Z](?:[^.]|\.\w)*\.")
UNITS = {"--timeout": "SECONDS", "--timeout-minutes": "MINUTES", "--slot-size": "BYTES"}


def commands(group: click.Group, names: str = "fleet") -> Iterator[tuple[str, click.Command]]:
    for name, command in commands_of(group).items():
        yield f"{names} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{names} {name}")


COMMANDS = dict(commands(main))


def options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_told_in_one_sentence_and_then_in_more(name: str) -> None:
    first, _, rest = (COMMANDS[name].help or "").partition("\n\n")
    assert SENTENCE.fullmatch(first.replace("fleet.toml", "fleet").replace("main.py", "main")), (
        first
    )
    assert not re.search(r"(^|[.] )(And|Also|Exits|Prints|Brings|Refused|Until|By) ", rest), rest


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_told_by_a_phrase_with_its_default_in_one_form(name: str) -> None:
    for option in options(COMMANDS[name]):
        text = option.help or ""
        assert re.match(r"[A-Z].*\.(  \[default: .+\])?$", text), option.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_a_value_is_named_by_what_it_is(name: str) -> None:
    for option in options(COMMANDS[name]):
        if not option.is_flag and not isinstance(option.type, click.Choice):
            assert option.metavar, option.opts
        for word in option.opts:
            assert option.metavar == UNITS.get(word, option.metavar), word


def test_an_option_of_several_commands_has_one_help() -> None:
    told: dict[str, set[tuple[str, str | None]]] = {}
    for command in COMMANDS.values():
        for option in options(command):
            told.setdefault(option.opts[0], set()).add((option.help or "", option.metavar))
    # What these mean differs with what the command makes.
    differ = {"--chip", "--slot-size", "--version", "--sequence", "--extensions", "--out", "--host"}
    differ |= {
        "--force",
        "--app",
        "--firmware",
        "--create-things",
        "--yes",
        "--database",
        "--encoding",
    }
    assert {name for name, texts in told.items() if len(texts) > 1} <= differ


def test_the_list_of_commands_tells_of_each_by_its_own_first_sentence() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"], terminal_width=200).output.split())
    for name, command in commands_of(main).items():
        assert f" {name} {command.get_short_help_str(200)} " in shown


def test_the_list_of_commands_loads_no_library_of_theirs() -> None:
    """What all commands need together takes half a second."""
    code = "import sys; from twinslot.cli.main import main; "
    code += "main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    heavy = {"boto3", "botocore", "sqlalchemy", "alembic", "rich", "paho", "esptool", "starlette"}
    assert "click" in loaded
    assert not loaded & heavy
