"""The `fleet` command. Thin: it reads arguments, calls one function, shows what came of it."""

import errno
import logging
import time
from collections.abc import Iterable
from pathlib import Path

import click

from twinslot import config as configuration
from twinslot import disk
from twinslot.cli.adopt import adopt
from twinslot.cli.backup import backup, restore
from twinslot.cli.board import board
from twinslot.cli.completion import completion
from twinslot.cli.deploy import deploy
from twinslot.cli.flash import flash
from twinslot.cli.identity import broker_config, doctor, provision, revoke
from twinslot.cli.mip import mip
from twinslot.cli.pack import diff, inspect, pack
from twinslot.cli.parts import PROTOCOLS, address, protocol_option, read_config, short, toml_path
from twinslot.cli.push import push
from twinslot.cli.say import LogFormatter, refused, say, say_error, say_json
from twinslot.cli.send import send
from twinslot.cli.views import progress_view
from twinslot.client import publish as publishing
from twinslot.client import report
from twinslot.client import watch as watching
from twinslot.client.clients import Clients, translated
from twinslot.errors import FleetError, InterruptedByUserError
from twinslot.formats import aws
from twinslot.formats.chips import CHIPS, DEFAULT_SLOT
from twinslot.trust import keys

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


_SECTIONS = {
    "A fleet": "init serve status watch cancel keygen backup restore",
    "Updates": "pack inspect diff publish push",
    "Identities": "provision revoke broker-config doctor",
    "A board on a cable": "flash deploy adopt send board",
    "More": "mip completion",
}


class _Group(click.Group):
    """Shows errors of people and machines as sentences, and exits with their codes.

    These are a FleetError, an OSError and Ctrl-C; other errors stay tracebacks.
    """

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in sections."""
        limit = formatter.width - max(map(len, self.commands)) - 6
        for title, names in _SECTIONS.items():
            rows = [(name, self.commands[name].get_short_help_str(limit)) for name in names.split()]
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with translated():
                return super().invoke(ctx)
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
@click.version_option(package_name="twinslot")
@click.pass_context
def main(ctx: click.Context, config_path: Path) -> None:
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


def _number(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no number, such as 65536 or 0x10000") from error


@main.command()
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
def init(product: str, chip: str, slot_size: int, broker: configuration.Address, tls: bool) -> None:
    """Start a fleet: fleet.toml, a signing key, an access key.

    It never overwrites a file.
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


@main.command()
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


@main.command()
@click.option(
    "--database",
    metavar="URL",
    help="Database of the service, as SQLAlchemy names it, such as postgresql://USER@HOST/NAME."
    "  [default: SQLite in the state folder]",
)
@click.option("--die-with-parent", is_flag=True, help="End when the process that started it ends.")
@click.option("-v", "--verbose", is_flag=True, help="Log connections, not only problems.")
def serve(database: str | None, die_with_parent: bool, verbose: bool) -> None:
    """Run the update service beside an MQTT broker.

    It runs until SIGTERM or Ctrl-C. It prints one line when it is ready: `ready control=URL
    data=URL broker=HOST:PORT`. Its log goes to standard error. Killed at any point it loses
    nothing: start it again.
    """
    # The service's libraries, which no other command needs.
    from twinslot.service import serve as service
    from twinslot.service.repeats import CountingHandler

    handler = CountingHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    service.run(
        read_config(),
        database=database,
        die_with_parent=die_with_parent,
        announce=say,
    )


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("things", metavar="BOARD...", nargs=-1, required=True)
@click.option("--job", "job_id", metavar="JOB", help="Name of the job.  [default: a new one]")
@protocol_option
@click.option("--create-things", is_flag=True, help="Make new boards known to the service.")
@click.option(
    "--timeout-minutes",
    type=click.IntRange(1, aws.MAX_TIMEOUT),
    metavar="MINUTES",
    help="Time limit of each board.",
)
@click.option("--force", is_flag=True, help="Send also a package that the boards will refuse.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish(
    file: Path,
    things: tuple[str, ...],
    job_id: str | None,
    protocol: str,
    create_things: bool,
    timeout_minutes: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Send the package FILE to every BOARD, as one job.

    It prints the job's name. It refuses a package of another product, chip, size or key.
    """
    config = read_config()
    data = disk.read(file, "the package")
    if not force:
        publishing.check(data, config)
    clients = Clients(config)
    reach = clients.reach()
    if not force:
        publishing.check_way(reach, config, things, PROTOCOLS[protocol])
    published = publishing.publish(
        clients,
        data,
        file.name,
        things,
        job_id=job_id,
        protocols=PROTOCOLS[protocol],
        create_things=create_things,
        timeout_minutes=timeout_minutes,
    )
    if as_json:
        say_json(vars(published))
        return
    boards = ", ".join(published.things)
    say(
        f"job {published.job}: {published.product} {published.version}, "
        f"sequence {published.sequence}, for {boards}"
    )
    say(f"  fleet watch {published.job}")
    for warning in publishing.waits(reach):
        say(f"warning: {warning}")


@main.command()
@click.argument("things", metavar="[BOARD...]", nargs=-1)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Number of newest jobs to show.",
)
@click.option(
    "--all", "every", is_flag=True, help=f"List more than {report.MOST_LISTED} boards, too."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(things: tuple[str, ...], jobs: int, every: bool, as_json: bool) -> None:
    """Show what each board reports, and its newest job.

    Without BOARD it shows every board of the fleet. Boards report what they run if their settings
    say so (docs/reports.md).
    """
    found = report.of_fleet(Clients(read_config()), jobs)
    unknown = [thing for thing in things if thing not in found]
    if unknown:
        raise FleetError(f"the service knows no board {', '.join(unknown)}")
    if things:
        found = {thing: found[thing] for thing in things}
    if as_json:
        say_json(report.as_json(found))
        return
    now = time.time()
    if not found:
        lines: Iterable[str] = [
            "no boards yet: `fleet publish FILE BOARD --create-things` makes them known"
        ]
    elif things:
        lines = report.as_text(found, now)
    elif every or len(found) <= report.MOST_LISTED:
        lines = report.as_table(found, now)
    else:
        lines = report.as_counts(found)
    for line in lines:
        say(line)


@main.command()
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Time limit.")
def watch(job: str, timeout: float | None) -> None:
    """Show JOB until every board has ended it.

    It exits with 0 only when every board SUCCEEDED.
    """
    if not watching.watch(read_config(), job, timeout, progress_view()):
        click.get_current_context().exit(1)


@main.command()
@click.argument("job")
@click.option("--thing", metavar="BOARD", help="Cancel on this board only.")
@click.option("--force", is_flag=True, help="Cancel also on boards that have begun.")
def cancel(job: str, thing: str | None, force: bool) -> None:
    """Cancel JOB on the boards that have not begun it."""
    iot = Clients(read_config()).iot
    if thing is None:
        iot.cancel_job(jobId=job, force=force)
        say(f"canceled {job}")
    else:
        iot.cancel_job_execution(jobId=job, thingName=thing, force=force)
        say(f"canceled {job} on {thing}")


for command in (
    *(pack, inspect, diff, push, backup, restore),
    *(provision, broker_config, revoke, doctor),
    *(flash, deploy, adopt, send, board, mip),
    completion,
):
    main.add_command(command)
