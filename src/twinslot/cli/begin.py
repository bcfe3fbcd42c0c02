"""Commands that begin a fleet: its folder, and its keys."""

from pathlib import Path

import click

from twinslot import config as configuration
from twinslot.addresses import Address
from twinslot.cli.parts import address, read_config, short, toml_path
from twinslot.cli.say import say
from twinslot.formats.chips import CHIPS, DEFAULT_SLOT
from twinslot.trust import keys


def _number(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no number, such as 65536 or 0x10000") from error


@click.command()
@click.option(
    "--product",
    default="demo-board",
    show_default=True,
    metavar="NAME",
    help="Name of the product.",
)
@click.option(
    "--chip",
    type=click.Choice(list(CHIPS)),
    default="esp32",
    show_default=True,
    metavar="CHIP",
    help=f"Chip of the boards: {', '.join(CHIPS)}.",
)
@click.option(
    "--slot-size",
    callback=_number,
    metavar="BYTES",
    default=hex(DEFAULT_SLOT),
    show_default=True,
    help="Size of one OTA partition on the boards.",
)
@click.option(
    "--broker",
    callback=address,
    metavar="HOST:PORT",
    default="127.0.0.1:1883",
    show_default=True,
    help="Address of the MQTT broker.",
)
@click.option("--tls", is_flag=True, help="Talk TLS to the broker.")
def init(product: str, chip: str, slot_size: int, broker: Address, tls: bool) -> None:
    """Start a fleet: fleet.toml and its keys.

    A signing key signs packages, an access key requests to the service. The root key replaces the
    signing key, once that is lost or stolen (docs/keys.md). The command never overwrites a file.
    """
    path = toml_path()
    if path.name != configuration.FILE_NAME:
        raise click.UsageError(f"init writes a file called {configuration.FILE_NAME}")
    written = configuration.create(
        path.resolve().parent,
        product=product,
        chip=chip,
        slot_size=slot_size,
        broker=broker,
        tls=tls,
    )
    for file in written:
        say(f"wrote {short(file)}")
    say("Take keys/root.pem off line: copy it to two sticks in two places, then remove it here.")
    say("Whoever has it may say which keys your boards trust; without it a lost key stays lost.")


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), required=False)
def keygen(path: Path | None) -> None:
    """Make a signing key and its public half.

    PATH is the private key (mode 0600); the public half lies beside it. Without PATH it makes the
    files that fleet.toml names. It never overwrites a file.
    """
    if path is None:
        config = read_config()
        private_path, public_path = config.signing_key, config.public_key
    else:
        private_path, public_path = path, path.with_suffix(".pub.pem")
    key = keys.generate()
    keys.write_pair(key, private_path, public_path)
    say(f"wrote {short(private_path)} (key {keys.kid(key.public_key()).hex()})")
    say(f"wrote {short(public_path)}, for the boards' /etc/trusted_keys.pem")
