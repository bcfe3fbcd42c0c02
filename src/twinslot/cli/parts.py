"""Shared parts of the modules of the `fleet` command."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twinslot import config as configuration
from twinslot.addresses import Address, parse_address
from twinslot.cli.say import say
from twinslot.client import application
from twinslot.client.folder import AT_HOME, IGNORE_FILE
from twinslot.firmware import extensions
from twinslot.formats.component import ENCODINGS
from twinslot.formats.document import HTTP, MQTT
from twinslot.trust import keys, signers

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


def passphrase_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --passphrase-file; the command gets `ask`, None without the option."""
    return click.option(
        "--passphrase-file",
        "ask",
        callback=_asks,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="File whose first line is the passphrase of the private key.",
    )(command)


def signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which key signs; the command gets `signer`.

    That is a function of the fleet and of the usual private key's file, and returns the signer.
    """

    def with_signer(
        *,
        key_path: Path | None,
        program: str | None,
        public_path: Path | None,
        ask: keys.AskPassphrase | None,
        **rest: Any,
    ) -> None:
        if program and key_path:
            raise click.UsageError("--signer and --key both sign; give one of them")
        if public_path and not program:
            raise click.UsageError("--public goes with --signer")

        def signer(config: configuration.Config, usual: Path) -> signers.Signer:
            return signer_of(config, key_path or usual, program, public_path, ask)

        command(signer=signer, **rest)

    functools.update_wrapper(with_signer, command)
    found: Callable[..., None] = with_signer
    for option in (
        click.option(
            "--public",
            "public_path",
            type=FILE,
            metavar="FILE",
            help="Public key of --signer.  [default: the one beside the usual private key]",
        ),
        click.option(
            "--signer",
            "program",
            metavar="COMMAND",
            help="Program that signs: bytes on its standard input, the signature on its output.",
        ),
        passphrase_option,
        click.option(
            "--key",
            "key_path",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Private key instead of the usual one.",
        ),
    ):
        found = option(found)
    return found


def signer_of(
    config: configuration.Config,
    private: Path,
    program: str | None,
    public: Path | None,
    ask: keys.AskPassphrase | None,
) -> signers.Signer:
    """The signer: a program that holds the key of a public one, or a private key's file.

    public: None for the half beside `private`; ask: for a passphrase, None for the terminal.
    """
    if program:
        beside = private.with_name(private.name.removesuffix(".pem") + ".pub.pem")
        usual = config.public_key if private == config.signing_key else beside
        return signers.CommandSigner(program, keys.read_public(public or usual))
    return signers.KeySigner(keys.read_private(private, ask or _ask_at_terminal))


def _asks(
    _ctx: click.Context, _param: click.Parameter, path: Path | None
) -> keys.AskPassphrase | None:
    if path is None:
        return None
    return lambda _: configuration.first_line(path, "the passphrase")


def _ask_at_terminal(path: Path) -> str:
    found: str = click.prompt(f"Passphrase of {short(path)}", hide_input=True, err=True)
    return found


form_option = click.option(
    "--encoding",
    type=click.Choice(sorted(ENCODINGS.values())),
    help="How the package travels, whatever boards report: raw, or segments.  [default: as small "
    "as the board's report says that it reads]",
)


def encoding_of(name: str | None) -> int | None:
    """The number of an encoding by its name, None for none."""
    return next((number for number, one in ENCODINGS.items() if one == name), None)


base_option = click.option(
    "--base",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OLD",
    help="Package or image that the boards run, to which a delta is the difference.",
)


def extensions_option(whose: str, usual: str) -> Callable[[Any], Any]:
    """Make the option --extensions, whose value is None or a text for `extensions.parse`.

    whose: the agent's place, for the help; usual: the default, for the help.
    """
    return click.option(
        "--extensions",
        "chosen",
        metavar="NAMES",
        callback=_extensions,
        help=f"Extensions {whose}: none, all, or names with commas; with a + before the first they"
        f" come beside the default.  [default: {usual}]",
    )


def _extensions(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    if not text:
        return None
    extensions.parse(text)  # a fault is told first
    return text


DEFAULT_EXTENSIONS = ",".join(extensions.asked_for({}))
settings_extensions = extensions_option("of the agent", "as the settings ask for")


FOLDER_OPTIONS = (
    click.option(
        "--exclude",
        metavar="PATTERN",
        multiple=True,
        help="Files to leave out, as 'tests' or 'lib/*.txt'; may be given again."
        f" These stay at home unless {IGNORE_FILE} says otherwise: {' '.join(AT_HOME)}.",
    ),
    click.option(
        "--include",
        metavar="PATTERN",
        multiple=True,
        help="Files to take, and no others; may be given again.",
    ),
    click.option(
        "--allow-secret",
        "allowed",
        metavar="FILE",
        multiple=True,
        help="A file that may travel though it holds a key or a password; may be given again.",
    ),
    click.option(
        "--board-has",
        "elsewhere",
        metavar="MODULE",
        multiple=True,
        help="A module that the boards have in /lib or in their firmware; may be given again.",
    ),
    click.option(
        "--force", is_flag=True, help="Pack also what the boards could not run, with a warning."
    ),
)
"""About the folder of an application, whichever way it goes onto a board."""


def by_cable(command: Callable[..., None]) -> Callable[..., None]:
    """Add --app and the options about its folder; the command takes them as `app`.

    `app` is the application as files, judged as `fleet pack` does, or None without --app. What
    there is to say about it is said first.
    """

    @functools.wraps(command)
    def collected(
        *,
        folder: Path | None,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        allowed: tuple[str, ...],
        elsewhere: tuple[str, ...],
        force: bool,
        **rest: Any,
    ) -> None:
        if folder is None:
            if any((include, exclude, allowed, elsewhere, force)):
                raise click.UsageError("these options are about an application; give --app DIR")
            command(app=None, **rest)
            return
        options = application.Options(
            include,
            exclude,
            compiled=True,
            secrets=allowed,
            elsewhere=elsewhere,
            force=force,
            by_cable=True,
        )
        found = application.collect(folder, options, chip=None)
        for line in (*found.notes, *(f"warning: {warning}" for warning in found.warnings)):
            say(line)
        command(app=found.files, **rest)

    for option in (*FOLDER_OPTIONS, _APP):
        collected = option(collected)
    return collected


_APP = click.option(
    "--app",
    "folder",
    type=FOLDER,
    metavar="DIR",
    help="Folder of an application, judged as by `fleet pack`, which comes instead of the demo's.",
)


def read_config() -> configuration.Config:
    """The fleet.toml that the command line names. Raises ConfigError."""
    context = click.get_current_context()
    return configuration.load(toml_path(), to_aws=context.find_root().params["to"] == "aws")


def toml_path() -> Path:
    """Where fleet.toml lies."""
    path: Path = click.get_current_context().obj
    return path


def short(path: Path) -> str:
    """A path for people: relative, where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def address(_ctx: click.Context, _param: click.Parameter, value: str) -> Address:
    """Read an option HOST:PORT."""
    try:
        return parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
