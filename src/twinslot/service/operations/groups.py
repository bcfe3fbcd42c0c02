"""Operations on static thing groups.

Rules: AWS IoT developer guide, "Static thing groups". Dynamic groups need fleet indexing, which is
not here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twinslot.formats import aws
from twinslot.service import targets
from twinslot.service.api import Operation, Result
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, check_version, invalid, not_found
from twinslot.service.operations.attributes import merged
from twinslot.service.operations.tags import tags_of
from twinslot.service.operations.things import thing_of
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.groups import Group, Parents, above, below
from twinslot.service.store import Store, Transaction

KIND = "thinggroup"


class GroupOperations:
    """Thing groups. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, rollouts: Rollouts, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._rollouts = rollouts
        self._clock = clock
        member = {"thingName", "thingArn", "thingGroupName", "thingGroupArn"}
        self.operations = {
            "CreateThingGroup": Operation(
                self._create, {"thingGroupName", "parentGroupName", "thingGroupProperties", "tags"}
            ),
            "DescribeThingGroup": Operation(self._describe, {"thingGroupName"}),
            "UpdateThingGroup": Operation(
                self._update, {"thingGroupName", "thingGroupProperties", "expectedVersion"}
            ),
            "DeleteThingGroup": Operation(self._delete, {"thingGroupName", "expectedVersion"}),
            "ListThingGroups": Operation(
                self._list, {"parentGroup", "namePrefixFilter", "recursive", *PAGING}
            ),
            # No dynamic group is here whose membership could be overridden.
            "AddThingToThingGroup": Operation(self._add, {*member, "overrideDynamicGroups"}),
            "RemoveThingFromThingGroup": Operation(self._remove, member),
            "ListThingsInThingGroup": Operation(
                self._list_members, {"thingGroupName", "recursive", *PAGING}
            ),
            "ListThingGroupsForThing": Operation(self._list_of_thing, {"thingName", *PAGING}),
        }

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingGroupName"]
        parent = parameters.get("parentGroupName")
        asked = parameters.get("thingGroupProperties", {})
        made = _changed(Group(name, parent, None, {}, int(self._clock())), asked)
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            existing = transaction.group(name)
            if existing is None:
                if parent is not None:
                    group_of(transaction, parent)
                    if len([*above(parent, transaction.parents())]) >= aws.MAX_GROUP_DEPTH - 1:
                        raise invalid(f"groups lie {aws.MAX_GROUP_DEPTH} deep at most")
                transaction.add_group(made)
                transaction.tag(KIND, name, tags)
            elif (
                replace(made, created_at=existing.created_at, version=existing.version) != existing
            ):
                raise self._names.exists(KIND, name)
        return Result(self._identity(name))

    def _describe(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            group = group_of(transaction, parameters["thingGroupName"])
            line = list(above(group.name, transaction.parents()))[::-1]
        metadata = {
            "parentGroupName": group.parent,
            "rootToParentThingGroups": [self._told(name) for name in line],
            "creationDate": group.created_at,
        }
        return Result(
            {
                **self._identity(group.name),
                "version": group.version,
                "thingGroupProperties": {
                    "thingGroupDescription": group.description,
                    "attributePayload": {"attributes": group.attributes},
                },
                "thingGroupMetadata": metadata,
            }
        )

    def _update(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            group = group_of(transaction, parameters["thingGroupName"])
            _expect(group, parameters)
            changed = _changed(group, parameters["thingGroupProperties"])
            transaction.save_group(replace(changed, version=group.version + 1))
        return Result({"version": group.version + 1})

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingGroupName"]
        with self._store.write() as transaction:
            group = transaction.group(name)
            if group is None:
                return Result({})  # as on AWS
            _expect(group, parameters)
            children = [child for child, up in transaction.parents().items() if up == name]
            if children:
                raise invalid(f"group {name} has children: delete {', '.join(children)} first")
            transaction.untag(KIND, name)
            transaction.detach_policies(self._names.arn(KIND, name))
            members = targets.members(transaction, [name])
            transaction.leave_all(name)
            targets.left(
                transaction, self._names, self._rollouts, members, name, int(self._clock())
            )
            transaction.delete_group(name)
        return Result({})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        parent, prefix = parameters.get("parentGroup"), parameters.get("namePrefixFilter", "")
        recursive = parameters.get("recursive", True)
        with self._store.read() as transaction:
            parents = transaction.parents()
            if parent is not None:
                group_of(transaction, parent)
        chosen = [
            name
            for name, up in parents.items()
            if name.startswith(prefix)
            and (up == parent or (recursive and (parent is None or parent in above(name, parents))))
        ]
        return self._page(parameters, chosen, ("groups", parent, prefix, str(recursive)))

    def _add(self, parameters: Mapping[str, Any]) -> Result:
        thing, name = self._thing_and_group(parameters)
        with self._store.write() as transaction:
            thing_of(transaction, thing)
            group_of(transaction, name)
            parents = transaction.parents()
            others = [group for group in transaction.groups_of(thing) if group != name]
            if len(others) >= aws.MAX_GROUPS:
                raise invalid(f"thing {thing} is in {aws.MAX_GROUPS} groups, the most there may be")
            for other in others:
                if _root(other, parents) == _root(name, parents):
                    raise invalid(
                        f"thing {thing} is in group {other} of the same hierarchy: remove it there"
                    )
            if name not in transaction.groups_of(thing):
                transaction.join(thing, name)
                targets.joined(
                    transaction, self._names, self._rollouts, thing, name, int(self._clock())
                )
        return Result({})

    def _remove(self, parameters: Mapping[str, Any]) -> Result:
        thing, name = self._thing_and_group(parameters)
        with self._store.write() as transaction:
            thing_of(transaction, thing)
            group_of(transaction, name)
            if name in transaction.groups_of(thing):
                transaction.leave(thing, name)
                targets.left(
                    transaction, self._names, self._rollouts, [thing], name, int(self._clock())
                )
        return Result({})

    def _list_members(self, parameters: Mapping[str, Any]) -> Result:
        name, recursive = parameters["thingGroupName"], parameters.get("recursive", False)
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        listing = ("members", name, str(recursive))
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            group_of(transaction, name)
            groups = [name, *(below(name, transaction.parents()) if recursive else ())]
            found = transaction.members(groups, after=after, limit=limit + 1)
        shown, token = self._names.page(found, limit, str, listing)
        return Result({"things": list(shown), "nextToken": token})

    def _list_of_thing(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        with self._store.read() as transaction:
            thing_of(transaction, thing)
            groups = transaction.groups_of(thing)
        return self._page(parameters, groups, ("groups of", thing))

    def _page(
        self, parameters: Mapping[str, Any], names: list[str], listing: tuple[str | None, ...]
    ) -> Result:
        shown, token = self._names.page_of(names, parameters, listing)
        return Result({"thingGroups": [self._told(name) for name in shown], "nextToken": token})

    def _thing_and_group(self, parameters: Mapping[str, Any]) -> tuple[str, str]:
        return (
            self._named(parameters, "thing", "thingName", "thingArn"),
            self._named(parameters, KIND, "thingGroupName", "thingGroupArn"),
        )

    def _named(self, parameters: Mapping[str, Any], kind: str, by_name: str, by_arn: str) -> str:
        """The name that a request gives, as it is or in an ARN. Raises ApiError."""
        name: str | None = parameters.get(by_name)
        if by_arn not in parameters:
            if name is None:
                raise invalid(f"{by_name} or {by_arn} is required")
            return name
        found, of_arn = self._names.parts(parameters[by_arn])
        if found != kind or name not in (None, of_arn):
            raise invalid(f"{by_arn}: {parameters[by_arn]} is not that of {kind} {name or ''}")
        return of_arn

    def _identity(self, name: str) -> dict[str, Any]:
        arn = self._names.arn(KIND, name)
        return {
            "thingGroupName": name,
            "thingGroupArn": arn,
            "thingGroupId": self._names.uuid(name, KIND),
        }

    def _told(self, name: str) -> dict[str, str]:
        return {"groupName": name, "groupArn": self._names.arn(KIND, name)}


def group_of(transaction: Transaction, name: str) -> Group:
    """The group of this name. Raises ApiError."""
    group = transaction.group(name)
    if group is None:
        raise not_found(f"no thing group {name}")
    return group


def _root(name: str, parents: Parents) -> str:
    return [name, *above(name, parents)][-1]


def _changed(group: Group, asked: Mapping[str, Any]) -> Group:
    payload = asked.get("attributePayload", {})
    return replace(
        group,
        description=asked.get("thingGroupDescription", group.description),
        attributes=merged(group.attributes, payload, aws.MAX_GROUP_ATTRIBUTES),
    )


def _expect(group: Group, parameters: Mapping[str, Any]) -> None:
    check_version(f"group {group.name}", group.version, parameters.get("expectedVersion"))
