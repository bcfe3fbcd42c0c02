"""The commands about identities: provision, broker-config, revoke, doctor."""

import datetime as dt
from pathlib import Path

import click

from twinslot import config as configuration
from twinslot import disk
from twinslot.cli.parts import read_config, short, toml_path
from twinslot.cli.say import say
from twinslot.client.answers import ForeignAnswerError
from twinslot.client.clients import Clients, translated
from twinslot.config import Address, Config
from twinslot.errors import FleetError, UnreachableError
from twinslot.trust.authority import Authority
from twinslot.trust.certificates import check_thing

PORT = 8883


class UnknownThingError(FleetError):
    """Neither the authority nor the service knows the thing."""


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
    from twinslot.client import policy, publish
    from twinslot.client import provision as provisioning

    config = read_config()
    check_thing(thing)
    folder = (out or config.boards / thing).absolute()
    broker = _boards_broker(config, host)
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
    clients = _service(config)
    if renew and clients is None and _is_revoked(config, thing):
        raise UnreachableError(f"{thing} is revoked: start `fleet serve`, which must hear of this")
    csr = None if csr_path is None else disk.read(csr_path, "the request")
    authority = provisioning.provision(
        config, thing, folder, broker, wifi=wifi, csr=csr, renew=renew
    )
    say(f"wrote {short(folder)}, for /etc on the board")
    say(f"and {short(config.folder / policy.FILE_NAME)}, for boards that AWS serves")
    if csr is not None:
        say("  without client.key: the key stays where the request was made")
    if wifi is None and not renew:
        say("  settings.json names no Wi-Fi yet: put ssid and password there")
    if renew:
        _copy_crl(config, authority)
    if clients is None:
        say(f"no service runs: `fleet publish --create-things` makes {thing} known to it")
    else:
        with translated():
            publish.thing_arn(clients, thing, create=True)
            clients.admit(thing)
        say(f"the service knows {thing}")


def _hosts(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        return tuple(map(configuration.parse_host, values))
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
    from twinslot.client import broker

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
    if configuration.is_local(chosen[0]):
        say("  which no real board reaches: --host NAME_OR_ADDRESS of this machine")
    say(f"Start it:    mosquitto -c {short(paths.settings)}")
    say(f"If it runs:  {_read_again(config)}; new ports and users need a restart")


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
    from twinslot.client import broker

    config = read_config()
    check_thing(thing)
    authority = Authority(config.authority) if config.authority.exists() else None
    certified = authority is not None and authority.issued(thing) is not None
    if authority is not None and certified:
        authority.revoke(thing)
        say(f"the certificate of {thing} is on the list {short(authority.crl_path)}")
        _copy_crl(config, authority)
    try:
        with translated():
            clients = Clients(config)
            if not certified:
                _expect_known(clients, thing)
            clients.revoke(thing)
    except (UnreachableError, ForeignAnswerError) as error:
        raise UnreachableError(f"{error}; then revoke {thing} again, so that it hears") from error
    say(f"the service answers {thing} no more")
    if authority is None or not certified:
        return
    if disconnect:
        broker.disconnect(authority, config.broker.address, thing)
        say("its connection is cut; it comes back if mosquitto has not read the list")
    else:
        say("A connection that is open stays open. To cut it, let mosquitto read first:")
        say(f"  fleet revoke {thing} --disconnect")


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
        text = finding.text.replace(f"{Path.cwd()}/", "")
        say(f"{'ok   ' if finding.well else 'WRONG'}  {text}")
    if wrong:
        ctx.exit(1)


def _boards_broker(config: Config, host: str | None) -> Address:
    noted = config.broker.boards
    if host is None:
        if noted is None:
            raise click.UsageError(
                "where does the board reach the broker? --host HOST[:PORT], or broker-config first"
            )
        return noted
    try:
        return Address(configuration.parse_host(host), noted.port if noted else PORT)
    except ValueError:
        pass
    try:
        return configuration.parse_address(host)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--host'") from error


def _service(config: Config) -> Clients | None:
    """The service's clients, None where no service answers."""
    try:
        with translated():
            clients = Clients(config)
            clients.revoked()
    except UnreachableError:
        return None
    return clients


def _is_revoked(config: Config, thing: str) -> bool:
    if not config.authority.exists():
        return False
    authority = Authority(config.authority)
    certificate = authority.issued(thing)
    return certificate is not None and authority.is_revoked(certificate)


def _copy_crl(config: Config, authority: Authority) -> None:
    from twinslot.client import broker

    if config.broker_folder.exists():
        broker.copy_crl(authority, config.broker_folder)
        say(f"and in {short(config.broker_folder)}. Let mosquitto read it:")
        say(f"  {_read_again(config)}")


def _read_again(config: Config) -> str:
    from twinslot.client import broker

    return f"kill -HUP $(cat {short(broker.Paths(config.broker_folder).pid)})"


def _expect_known(clients: Clients, thing: str) -> None:
    try:
        clients.iot.describe_thing(thingName=thing)
    except clients.iot.exceptions.ResourceNotFoundException as error:
        raise UnknownThingError(f"no thing {thing}, here or at the service") from error
