"""Whether an application fits onto boards, by what they reported of their file systems."""

from collections.abc import Iterator, Sequence

from botocore.exceptions import ClientError

from twinslot.client import many, shadow
from twinslot.client.clients import Clients
from twinslot.client.publish import PublishError
from twinslot.formats.littlefs_blocks import BLOCK

_NAMED = 3  # boards in the sentence
# KB by which a board may have more than it says: MicroPython counts blocks of directories twice.
_DOUBT = 32


def check(clients: Clients, things: Sequence[str], room: Sequence[int | str]) -> None:
    """Refuse an application that boards cannot hold, before anything is made of it.

    room: as in a package: blocks that it takes, then path and bytes of its largest files. A board
    has what is free and what the application before the running one gives back; one that has not
    reported both is not judged. Raises PublishError.
    """
    if not room:
        return
    needed = int(room[0]) * BLOCK >> 10
    reports = many.each(lambda thing: _report(clients, thing), things)
    short = [
        (thing, found.room + found.spare)
        for thing, found in zip(things, reports, strict=True)
        if found is not None
        and found.room is not None
        and found.spare is not None
        and found.room + found.spare + _DOUBT < needed
    ]
    if not short:
        return
    boards = ", ".join(f"{thing} has {max(0, free)} KB" for thing, free in short[:_NAMED])
    more = f" and {len(short) - _NAMED} more boards less" if len(short) > _NAMED else ""
    raise PublishError(
        f"the application takes {needed} KB of a board's file system, and {boards}{more} free for "
        f"it by their own report; its largest files: {', '.join(_largest(room))}. Leave files at "
        "home (--exclude), compile (--mpy), or keep the agent in /lib (--no-agent); --force sends "
        "it all the same"
    )


def _report(clients: Clients, thing: str) -> shadow.Reported | None:
    try:
        return shadow.of_thing(clients.data, thing)
    except ClientError:  # a key that may publish need not read shadows
        return None


def _largest(room: Sequence[int | str]) -> Iterator[str]:
    for path, size in zip(room[1::2], room[2::2], strict=True):
        yield f"{path} ({-(-int(size) // 1024)} KB)"
