"""The targets of jobs: things, and groups with all that are in them or in a group below.

Here alone a group becomes things. A continuous job follows those who join a group and who leave it.
"""

from collections.abc import Collection, Sequence

from twinslot.service.membership import GROUP, THING, group_arns, is_target
from twinslot.service.names import Names, invalid, not_found
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.groups import below
from twinslot.service.store import Transaction

_PAGE = 1000  # members that are read at a time


def things(transaction: Transaction, names: Names, arns: Sequence[str]) -> list[str]:
    """The things that targets stand for, each once, in the order of the targets.

    Raises ApiError for a target that is not there, and for a thing that is revoked. A revoked
    member of a group is passed over.
    """
    found: dict[str, None] = {}
    named = [names.parts(arn) for arn in arns]
    own = [name for kind, name in named if kind == THING]
    known, revoked = transaction.known_of(own), transaction.revoked_of(own)
    for arn, (kind, name) in zip(arns, named, strict=True):
        if kind == THING:
            if name not in known:
                raise not_found(f"no thing {name}")
            if name in revoked:
                raise invalid(f"thing {name} is revoked")
            found[name] = None
        elif kind == GROUP:
            if transaction.group(name) is None:
                raise not_found(f"no thing group {name}")
            inside = members(transaction, [name, *below(name, transaction.parents())])
            out = transaction.revoked_of(inside)
            found |= dict.fromkeys(member for member in inside if member not in out)
        else:
            raise invalid(f"target {arn}: neither a thing nor a thing group")
    return list(found)


def members(transaction: Transaction, groups: Collection[str]) -> list[str]:
    """All things in any of these groups, in the order of their names."""
    found: list[str] = []
    while some := transaction.members(groups, after=found[-1] if found else "", limit=_PAGE):
        found += some
    return found


def joined(
    transaction: Transaction, names: Names, course: Rollouts, thing: str, group: str, now: int
) -> None:
    """Send a thing that has joined a group the continuous jobs of this group, and of those above.

    Times are Unix seconds.
    """
    if transaction.is_revoked(thing):
        return
    for job in transaction.jobs_of_later_targets():
        if not group_arns(transaction, names, [group]).isdisjoint(job.targets):
            course.add_targets(transaction, job, [thing], now)


def left(
    transaction: Transaction,
    names: Names,
    course: Rollouts,
    gone: Collection[str],
    group: str,
    now: int,
) -> None:
    """Take the jobs of a group from things that have left it, unless they are targets otherwise."""
    for job in transaction.jobs_of_later_targets():
        if group_arns(transaction, names, [group]).isdisjoint(job.targets):
            continue
        lost = [thing for thing in gone if not is_target(transaction, names, thing, job.targets)]
        if lost:
            course.remove_targets(transaction, job, lost, now)
