"""The resource names by which a thing may be a target: its own, and those of its groups."""

from collections.abc import Collection

from twinslot.service.names import Names
from twinslot.service.rows.groups import above
from twinslot.service.store import Transaction

THING, GROUP = "thing", "thinggroup"


def is_target(transaction: Transaction, names: Names, thing: str, targets: Collection[str]) -> bool:
    """Say whether a thing is among targets: itself, or by a group."""
    own = group_arns(transaction, names, transaction.groups_of(thing))
    return not {names.arn(THING, thing), *own}.isdisjoint(targets)


def group_arns(transaction: Transaction, names: Names, groups: Collection[str]) -> set[str]:
    """The resource names of groups, and of all that are above them."""
    parents = transaction.parents()
    every = {one for group in groups for one in (group, *above(group, parents))}
    return {names.arn(GROUP, group) for group in every}
