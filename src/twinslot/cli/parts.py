"""Shared parts of the modules of the `fleet` command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twinslot import config as configuration
from twinslot.firmware import extensions
from twinslot.formats.document import HTTP, MQTT

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PROTOCOLS = {"mqtt": [MQTT], "http": [HTTP], "both": [MQTT, HTTP]}
protocol_option = click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    default="mqtt",
    show_default=True,
    help="Way of the package to the boards; of both they choose.",
)


def extensions_option(whose: str, usual: str) -> Callable[[Any], Any]:
    """Make the option --extensions, whose value is None or a tuple of names.

    whose: the agent's place, for the help; usual: the default, for the help.
    """
    return click.option(
        "--extensions",
        "chosen",
        metavar="NAMES",
        callback=_extensions,
        help=f"Extensions {whose}: none, all, or names with commas.  [default: {usual}]",
    )


def _extensions(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    return extensions.parse(text) if text else None


DEFAULT_EXTENSIONS = ",".join(extensions.asked_for({}))
settings_extensions = extensions_option("of the agent", "as the settings ask for")


def read_config() -> configuration.Config:
    """The fleet.toml that the command line names. Raises ConfigError."""
    return configuration.load(toml_path())


def toml_path() -> Path:
    """Where fleet.toml lies."""
    path: Path = click.get_current_context().obj
    return path


def short(path: Path) -> str:
    """A path for people: relative, where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def address(_ctx: click.Context, _param: click.Parameter, value: str) -> configuration.Address:
    """Read an option HOST:PORT."""
    try:
        return configuration.parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
