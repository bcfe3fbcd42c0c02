"""Commands that send a package to boards, and tell what became of it."""

import functools
import time
from collections.abc import Iterable
from pathlib import Path

import click

from twinslot import disk
from twinslot.cli.parts import (
    PROTOCOLS,
    encoding_of,
    form_option,
    protocol_option,
    read_config,
)
from twinslot.cli.say import say, say_json
from twinslot.cli.views import counting, measuring, progress_view
from twinslot.client import admission, offer, report, room, rotation
from twinslot.client import publish as publishing
from twinslot.client import watch as watching
from twinslot.client.target import connect
from twinslot.formats import aws
from twinslot.keychain import Keychain


@click.command()
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
@form_option
@click.option("--force", is_flag=True, help="Send also a package that the boards will refuse.")
@click.option(
    "--without-keys", is_flag=True, help="Do not send boards the sets of keys that they lack first."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish(
    file: Path,
    things: tuple[str, ...],
    job_id: str | None,
    protocol: str,
    create_things: bool,
    timeout_minutes: int | None,
    encoding: str | None,
    force: bool,
    without_keys: bool,
    as_json: bool,
) -> None:
    """Send the package FILE to every BOARD, as one job.

    A board whose report says that it reads smaller packages gets such a form, compressed or as the
    difference to what it runs (docs/smaller-updates.md). Each form is a job of its own.

    A board that lacks sets of keys gets these first (docs/keys.md).

    It prints the job's name. It refuses a package of another product, chip, size or key, and an
    application for which a board has no room by its own report.
    """
    config = read_config()
    data = disk.read(file, "the package")
    head = None if force else publishing.check(data, config)
    clients = connect(config)
    publishing.check_number(clients, things)
    reach = clients.reach()
    if head is not None:
        publishing.check_way(reach, config, things, PROTOCOLS[protocol])
        for component in head.manifest.components:
            room.check(clients, things, component.room)
    if not without_keys:
        rotation.queue(
            clients,
            Keychain(config.folder),
            things,
            functools.partial(say, err=as_json),
            protocols=PROTOCOLS[protocol],
            create_things=create_things,
        )
    with (
        counting("boards looked up") as counted,
        measuring("smaller forms of the package") as progress,
    ):
        offered = offer.offer(
            clients,
            config,
            data,
            file.name,
            things,
            asked=encoding_of(encoding),
            progress=progress,
            job_id=job_id,
            protocols=PROTOCOLS[protocol],
            create_things=create_things,
            timeout_minutes=timeout_minutes,
            counted=counted,
        )
    if as_json:
        jobs = [vars(one.published) for one in offered]
        say_json(jobs[0] if len(jobs) == 1 else {"jobs": jobs})
        return
    for one in offered:
        published = one.published
        boards = ", ".join(published.things)
        if len(published.things) > report.MOST_LISTED:
            boards = f"{len(published.things)} boards"
        form = f", {one.form.words}: {one.size} bytes" if one.form.encoding else ""
        say(
            f"job {published.job}: {published.product} {published.version}, "
            f"sequence {published.sequence}, for {boards}{form}"
        )
        say(f"  fleet watch {published.job}")
    for warning in publishing.waits(reach):
        say(f"warning: {warning}")


@click.command()
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
    config = read_config()
    with counting("boards asked about") as counted:
        found = report.of_fleet(connect(config), jobs, counted, things)
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
    reports = {thing: board.reported for thing, board in found.items()}
    chain = Keychain(config.folder)
    for line in rotation.notes(reports, chain, now):
        say(line)
    if chain.present is None:
        say(f"warning: {admission.ONE_KEY}")


@click.command()
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Time limit.")
def watch(job: str, timeout: float | None) -> None:
    """Show JOB until every board has ended it.

    Boards that refuse a smaller form of a package get the full one, as a job that is shown after
    JOB. It exits with 0 only when every board SUCCEEDED.
    """
    if not watching.watch_all(read_config(), job, timeout, progress_view, say):
        click.get_current_context().exit(1)


@click.command()
@click.argument("job")
@click.option("--thing", metavar="BOARD", help="Cancel on this board only.")
@click.option("--force", is_flag=True, help="Cancel also on boards that have begun.")
def cancel(job: str, thing: str | None, force: bool) -> None:
    """Cancel JOB on the boards that have not begun it."""
    iot = connect(read_config()).iot
    if thing is None:
        iot.cancel_job(jobId=job, force=force)
        say(f"canceled {job}")
    else:
        iot.cancel_job_execution(jobId=job, thingName=thing, force=force)
        say(f"canceled {job} on {thing}")
