"""Operations on things, and who is refused.

AWS revokes certificates alone; here a name is refused, with a certificate or without.
"""

from collections.abc import Callable, Mapping
from typing import Any

from twinslot.service.api import Operation, Result
from twinslot.service.names import DEFAULT_PAGE, PAGING, Names, not_found
from twinslot.service.rows.things import Thing
from twinslot.service.store import Store, Transaction


class ThingOperations:
    """Things. `clock` returns Unix seconds."""

    def __init__(self, store: Store, names: Names, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self.operations = {
            "CreateThing": Operation(self._create_thing, {"thingName", "attributePayload"}),
            "DescribeThing": Operation(self._describe_thing, {"thingName"}),
            "ListThings": Operation(self._list_things, PAGING),
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

    def _create_thing(self, parameters: Mapping[str, Any]) -> Result:
        name = parameters["thingName"]
        attributes = parameters.get("attributePayload", {}).get("attributes", {})
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

    def _describe_thing(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            thing = thing_of(transaction, parameters["thingName"])
        return Result(
            {
                "defaultClientId": thing.name,
                "thingName": thing.name,
                "thingId": self._names.uuid(thing.name),
                "thingArn": self._names.arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
        )

    def _list_things(self, parameters: Mapping[str, Any]) -> Result:
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        listing = ("things",)
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            found = transaction.things(after=after, limit=limit + 1)
        shown, token = self._names.page(found, limit, lambda thing: thing.name, listing)
        things = [
            {
                "thingName": thing.name,
                "thingArn": self._names.arn("thing", thing.name),
                "attributes": thing.attributes,
                "version": 1,
            }
            for thing in shown
        ]
        return Result({"things": things, "nextToken": token})


def thing_of(transaction: Transaction, name: str) -> Thing:
    """The thing of this name. Raises ApiError."""
    thing = transaction.thing(name)
    if thing is None:
        raise not_found(f"no thing {name}")
    return thing
