"""Operations on things, and who is refused.

AWS revokes certificates alone; here a name is refused, with a certificate or without.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twinslot.formats import aws
from twinslot.service.api import Operation, Result
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, check_version, invalid, not_found
from twinslot.service.operations.attributes import merged
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.things import Thing
from twinslot.service.store import Store, Transaction


class ThingOperations:
    """Things. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, rollouts: Rollouts, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._rollouts = rollouts
        self._clock = clock
        self.operations = {
            "CreateThing": Operation(self._create, {"thingName", "attributePayload"}),
            "DescribeThing": Operation(self._describe, {"thingName"}),
            "UpdateThing": Operation(
                self._update, {"thingName", "attributePayload", "expectedVersion"}
            ),
            "DeleteThing": Operation(self._delete, {"thingName", "expectedVersion"}),
            "ListThings": Operation(
                self._list,
                {"attributeName", "attributeValue", "usePrefixAttributeValue", *PAGING},
            ),
        }

    def revoke(self, thing: str) -> dict[str, Any]:
        """Answer this thing no more, nor record what it says."""
        with self._store.write() as transaction:
            transaction.revoke(thing, int(self._clock()))
        return {}

    def admit(self, thing: str) -> dict[str, Any]:
        """Take a revocation back."""
        with self._store.write() as transaction:
            transaction.admit(thing)
        return {}

    def revoked(self, _rest: str) -> dict[str, Any]:
        """The revoked things, and since when (Unix seconds)."""
        with self._store.read() as transaction:
            return {"things": transaction.revoked()}

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingName"]
        attributes = merged({}, parameters.get("attributePayload", {}), aws.MAX_ATTRIBUTES)
        with self._store.write() as transaction:
            existing = transaction.thing(name)
            if existing is None:
                transaction.add_thing(Thing(name, attributes, int(self._clock())))
            elif existing.attributes != attributes:
                raise self._names.exists("thing", name)
        return Result(
            {
                "thingName": name,
                "thingArn": self._names.arn("thing", name),
                "thingId": self._names.uuid(name),
            }
        )

    def _describe(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            thing = thing_of(transaction, parameters["thingName"])
        return Result(
            {
                "defaultClientId": thing.name,
                "thingId": self._names.uuid(thing.name),
                **self._told(thing),
            }
        )

    def _update(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            thing = thing_of(transaction, parameters["thingName"])
            _expect(thing, parameters)
            payload = parameters.get("attributePayload", {})
            attributes = merged(thing.attributes, payload, aws.MAX_ATTRIBUTES)
            transaction.save_thing(replace(thing, attributes=attributes, version=thing.version + 1))
        return Result({})

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingName"]
        with self._store.write() as transaction:
            thing = transaction.thing(name)
            if thing is None:
                return Result({})  # as on AWS
            _expect(thing, parameters)
            if transaction.certificates_of(name):
                raise invalid(f"thing {name} has certificates: DetachThingPrincipal first")
            self._rollouts.remove_thing(transaction, name, int(self._clock()))
            for group in transaction.groups_of(name):
                transaction.leave(name, group)
            transaction.delete_shadow(name)
            transaction.delete_thing(name)
        return Result({})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        wanted = parameters.get("attributeName"), parameters.get("attributeValue")
        prefix = parameters.get("usePrefixAttributeValue", False)
        if (wanted[0] is None) != (wanted[1] is None):
            raise invalid("attributeName and attributeValue: both or neither")
        attribute = None if wanted[0] is None else (wanted[0], str(wanted[1]))
        listing = ("things", *wanted, str(prefix))
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            found = transaction.things(
                attribute=attribute, prefix=prefix, after=after, limit=limit + 1
            )
        shown, token = self._names.page(found, limit, lambda thing: thing.name, listing)
        return Result({"things": [self._told(thing) for thing in shown], "nextToken": token})

    def _told(self, thing: Thing) -> dict[str, Any]:
        return {
            "thingName": thing.name,
            "thingArn": self._names.arn("thing", thing.name),
            "attributes": thing.attributes,
            "version": thing.version,
        }


def thing_of(transaction: Transaction, name: str) -> Thing:
    """The thing of this name. Raises ApiError."""
    thing = transaction.thing(name)
    if thing is None:
        raise not_found(f"no thing {name}")
    return thing


def _expect(thing: Thing, parameters: Mapping[str, Any]) -> None:
    check_version(f"thing {thing.name}", thing.version, parameters.get("expectedVersion"))
