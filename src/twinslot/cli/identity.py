"""The commands about identities: provision, broker-config, revoke, doctor."""

import datetime as dt
from pathlib import Path

import click

from twinslot import config as configuration
from twinslot import disk
from twinslot.addresses import Address, is_local, parse_address, parse_host
from twinslot.cli.parts import read_config, short, toml_path
from twinslot.cli.say import say
from twinslot.trust.authority import Authority
from twinslot.trust.certificates import check_thing

PORT = 8883


@click.command()
@click.argument("thing", metavar="BOARD")
@click.option(
    "--host",
    metavar="HOST[:PORT]",
    help="Address of the broker for the board.  [default: as broker-config noted]",
)
@click.option("--wifi-ssid", metavar="SSID", help="Network that the board joins.")
@click.option(
    "--wifi-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File whose first line is the password.",
)
@click.option(
    "--csr",
    "csr_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Certificate signing request (PEM or DER) of a key that was made elsewhere.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write.  [default: boards/BOARD]",
)
@click.option("--renew", is_flag=True, help="Replace the certificate, and revoke the old one.")
def provision(
    thing: str,
    host: str | None,
    wifi_ssid: str | None,
    wifi_password_file: Path | None,
    csr_path: Path | None,
    out: Path | None,
    renew: bool,
) -> None:
    """Make key, certificate and settings folder of BOARD.

    BOARD is the name of its thing, its MQTT client id and the certificate's common name. The first
    time the command also makes the fleet's certificate authority, in ca/.
    """
    from twinslot.client import policy, target
    from twinslot.client import provision as provisioning

    config = read_config()
    check_thing(thing)
    folder = (out or config.boards / thing).absolute()
    issuer = target.issuer(config)
    broker = _boards_broker(issuer.broker(), host)
    wifi = None
    if wifi_ssid is not None:
        password = (
            ""
            if wifi_password_file is None
            else configuration.first_line(wifi_password_file, "the Wi-Fi's password")
        )
        wifi = provisioning.Wifi(wifi_ssid, password)
    elif wifi_password_file is not None:
        raise click.UsageError("--wifi-password-file needs --wifi-ssid")
    csr = None if csr_path is None else disk.read(csr_path, "the request")
    provisioning.provision(config, thing, folder, broker, issuer, wifi=wifi, csr=csr, renew=renew)
    say(f"wrote {short(folder)}, for /etc on the board")
    say(f"and {short(config.folder / policy.FILE_NAME)}, for boards that AWS serves")
    if csr is not None:
        say("  without client.key: the key stays where the request was made")
    if wifi is None and not renew:
        say("  settings.json names no Wi-Fi yet: put ssid and password there")
    issuer.introduce(thing, _say, renew=renew)


def _hosts(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        return tuple(map(parse_host, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("broker-config")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    callback=_hosts,
    metavar="HOST",
    help="Name or address of the broker for the boards; may be given again. `fleet provision` puts"
    " the first into settings.  [default: as the last time]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help=f"TCP port for boards.  [default: as the last time, or the first free one from {PORT} on]",
)
@click.option(
    "--service-port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="TCP port for the service, on 127.0.0.1.  [default: --port + 1]",
)
@click.option(
    "--bind", default="", metavar="ADDRESS", help="Address to listen on for boards.  [default: all]"
)
@click.option(
    "--user", metavar="USER", help="User of mosquitto when root starts it.  [default: you]"
)
def broker_config(
    hosts: tuple[str, ...],
    port: int | None,
    service_port: int | None,
    bind: str,
    user: str | None,
) -> None:
    """Write the folder from which mosquitto runs.

    The folder is broker/, with TLS, access rules and the revocation list. Certificates are the only
    way in. The command changes [broker] in fleet.toml to match. Run it again to make the revocation
    list valid for ten more years.
    """
    from twinslot.client import broker, own_issuer

    config = read_config()
    authority = Authority.open(config.authority, f"{config.product} authority")
    port = port or broker.known_port(config.broker_folder) or broker.free_port(PORT)
    chosen = list(hosts) or broker.known_hosts(config.broker_folder) or ["127.0.0.1"]
    wanted = broker.Wanted(
        hosts=chosen,
        bind=bind,
        port=port,
        service_port=service_port or port + 1,
        user=user or broker.default_user(),
    )
    paths = broker.configure(config.broker_folder, authority, wanted)
    certificate, key = broker.service_identity(authority, config.folder / "keys")
    configuration.set_broker(
        toml_path(),
        {
            "host": "127.0.0.1",
            "port": wanted.service_port,
            "tls": True,
            "ca": "ca/ca.pem",
            "user": "",
            "password": "",
            "certificate": str(certificate.relative_to(config.folder)),
            "key": str(key.relative_to(config.folder)),
            "boards": f"{chosen[0]}:{port}",
        },
    )
    say(f"wrote {short(paths.folder)}; mosquitto runs as {wanted.user} when root starts it")
    say(f"fleet.toml: the service at 127.0.0.1:{wanted.service_port}, boards at")
    say(f"  {chosen[0]}:{port} by a certificate for {', '.join(chosen)}")
    if is_local(chosen[0]):
        say("  which no real board reaches: --host NAME_OR_ADDRESS of this machine")
    say(f"Start it:    mosquitto -c {short(paths.settings)}")
    again = own_issuer.read_again(config.broker_folder)
    _say(f"If it runs:  {again}; new ports and users need a restart")


@click.command()
@click.argument("thing", metavar="BOARD")
@click.option(
    "--disconnect", is_flag=True, help="Cut its connection, once mosquitto has read the list."
)
def revoke(thing: str, disconnect: bool) -> None:
    """Refuse BOARD from now on, at the service and at the broker.

    The command revokes the board's certificate. `fleet provision BOARD --renew` takes the board in
    again, with a new certificate.
    """
    from twinslot.client import target

    check_thing(thing)
    target.issuer(read_config()).revoke(thing, _say, disconnect=disconnect)


@click.command()
@click.option(
    "--days",
    type=click.IntRange(0),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="Time ahead in which to look for ends.",
)
@click.pass_context
def doctor(ctx: click.Context, days: int) -> None:
    """Check keys, certificates, broker and service.

    The command checks the revocation list, too, and changes nothing. It exits with 1 when anything
    is wrong or ends soon.
    """
    from twinslot.client import doctor as examination

    wrong = 0
    for finding in examination.examine(read_config(), dt.datetime.now(dt.UTC), days):
        wrong += not finding.well
        _say(f"{'ok   ' if finding.well else 'WRONG'}  {finding.text}")
    if wrong:
        ctx.exit(1)


def _say(line: str) -> None:
    """Print a line with the paths below the current folder as `short` has them."""
    say(line.replace(f"{Path.cwd()}/", ""))


def _boards_broker(noted: Address | None, host: str | None) -> Address:
    if host is None:
        if noted is None:
            raise click.UsageError(
                "where does the board reach the broker? --host HOST[:PORT], or broker-config first"
            )
        return noted
    try:
        return Address(parse_host(host), noted.port if noted else PORT)
    except ValueError:
        pass
    try:
        return parse_address(host)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--host'") from error
