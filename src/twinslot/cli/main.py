"""The `fleet` command. Thin: it reads arguments, calls one function, shows what came of it."""

import ast
import errno
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click

from twinslot import config as configuration
from twinslot.cli.say import refused, say_error
from twinslot.errors import FleetError, InterruptedByUserError

_EPILOG = """\b
Exit codes:
  0  done
  1  refused or failed; for watch and push: not every board succeeded;
     for diff: they differ
  2  wrong usage; for diff: a file is no package
  3  fleet.toml, or a file that it names, is missing or wrong
  4  no service answers
  5  watch and push: the time limit has passed
  130  ended by Ctrl-C
"""


# The commands, and their modules in twinslot.cli. A module is loaded when its command is called:
# the libraries of all take half a second.
_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "A fleet": {
        "init": "begin",
        "serve": "serve",
        "status": "jobs",
        "watch": "jobs",
        "cancel": "jobs",
        "keygen": "begin",
        "keys": "keys",
        "backup": "backup",
        "restore": "backup",
        "copy-database": "serve",
    },
    "Updates": {
        "pack": "pack",
        "inspect": "inspect",
        "diff": "inspect",
        "publish": "jobs",
        "push": "push",
    },
    "Identities": {
        "provision": "identity",
        "revoke": "identity",
        "broker-config": "identity",
        "doctor": "identity",
    },
    "A board on a cable": {
        "flash": "flash",
        "deploy": "deploy",
        "adopt": "adopt",
        "send": "send",
        "board": "board",
    },
    "More": {"mip": "mip", "completion": "completion"},
}
_AT_AWS = frozenset(
    {"status", "watch", "cancel", "keys", "pack", "publish", "push", "provision", "revoke"}
)
"""The commands that `--to aws` changes."""
_MODULES = {name: module for section in _SECTIONS.values() for name, module in section.items()}


def _told(name: str) -> click.Command:
    """A command that has the help of `name` and nothing else.

    Its module is read, and not loaded: that would be the libraries of all commands.
    """
    tree = ast.parse(Path(__file__).with_name(f"{_MODULES[name]}.py").read_bytes())
    function = name.replace("-", "_")
    (text,) = (
        ast.get_docstring(part)
        for part in tree.body
        if isinstance(part, ast.FunctionDef) and part.name == function
    )
    return click.Command(name, help=text)


class _Group(click.Group):
    """Shows errors of people and machines as sentences, and exits with their codes.

    These are a FleetError, an OSError and Ctrl-C; other errors stay tracebacks.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Name all commands."""
        return sorted(_MODULES)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"twinslot.cli.{_MODULES[cmd_name]}")
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in sections."""
        limit = formatter.width - max(map(len, _MODULES)) - 6
        for title, names in _SECTIONS.items():
            rows = [(name, _told(name).get_short_help_str(limit)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return self._invoke(ctx)
        except FleetError as error:
            say_error(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            say_error("interrupted")
            ctx.exit(InterruptedByUserError.exit_code)
        except OSError as error:  # of a machine: no room, no right, no such place
            if error.errno == errno.EPIPE:
                raise  # click ends quietly where nobody reads any more
            named = f"{error.filename}: " if error.filename else ""
            say_error(f"{named}{error.strerror or error}")
            ctx.exit(FleetError.exit_code)
        except click.ClickException as error:
            raise refused(error)  # noqa: B904 - the same error

    def _invoke(self, ctx: click.Context) -> object:
        """Carry out the command; an error of AWS's library is raised as the project's own."""
        try:
            return super().invoke(ctx)
        except (FleetError, OSError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            # Not before: AWS's library takes a fifth of a second, and most commands do without it.
            from twinslot.client.clients import translated

            with translated():
                raise error


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(configuration.FILE_NAME),
    show_default=True,
    metavar="FILE",
    help="Settings of the fleet.",
)
@click.option(
    "--to",
    type=click.Choice(["service", "aws"]),
    default="service",
    show_default=True,
    help="Where jobs and boards are: the fleet's own service, or the account of AWS that [aws] in"
    " fleet.toml names.",
)
@click.version_option(package_name="twinslot")
@click.pass_context
def main(ctx: click.Context, config_path: Path, to: str) -> None:
    """Signed over-the-air updates for MicroPython boards.

    \b
    The usual way:
      fleet init                                 once, in an empty folder
      fleet serve                                beside an MQTT broker, stays up
      fleet pack app.bin --version 1.1.0 --sequence 2 -o app.ota
      fleet publish app.ota board-1              new boards: --create-things
      fleet watch JOB                            until every board is done

    \b
    While you write an application:
      fleet push DIR board-1                     pack, publish and watch in one
    """
    ctx.obj = config_path
    if to == "aws" and ctx.invoked_subcommand not in _AT_AWS:
        raise click.UsageError(
            f"{ctx.invoked_subcommand} does nothing at AWS; with --to aws there are "
            f"{', '.join(sorted(_AT_AWS))}"
        )
