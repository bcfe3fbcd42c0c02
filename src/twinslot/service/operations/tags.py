"""Operations on tags, of all resources that AWS tags and that are here.

AWS tags no things and no certificates: CreateThing has no `tags`, and TagResource refuses them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from twinslot.formats import aws
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import DEFAULT_PAGE, Names, invalid, not_found
from twinslot.service.store import Store, Transaction

_FOUND: Mapping[str, Callable[[Transaction, str], object]] = {
    "thinggroup": Transaction.group,
    "job": Transaction.job,
    "stream": Transaction.stream,
    "otaupdate": Transaction.update,
    "policy": Transaction.policy,
}


class TagOperations:
    """Tags."""

    def __init__(self, store: Store, names: Names) -> None:
        self._store = store
        self._names = names
        self.operations = {
            "TagResource": Operation(self._tag, {"resourceArn", "tags"}),
            "UntagResource": Operation(self._untag, {"resourceArn", "tagKeys"}),
            "ListTagsForResource": Operation(self._list, {"resourceArn", "nextToken"}),
        }

    def _tag(self, parameters: Mapping[str, Any]) -> Result:
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            kind, name = self._resource(transaction, parameters)
            if len({**transaction.tags(kind, name), **tags}) > aws.MAX_TAGS:
                raise _too_many()
            transaction.tag(kind, name, tags)
        return Result({})

    def _untag(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            kind, name = self._resource(transaction, parameters)
            transaction.untag(kind, name, parameters["tagKeys"])
        return Result({})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        listing = ("tags", parameters["resourceArn"])
        after = self._names.place(parameters.get("nextToken"), listing) or ""
        with self._store.read() as transaction:
            kind, name = self._resource(transaction, parameters)
            tags = transaction.tags(kind, name)
        found = [{"Key": key, "Value": value} for key, value in tags.items() if key > after]
        shown, token = self._names.page(
            found[: DEFAULT_PAGE + 1], DEFAULT_PAGE, lambda tag: tag["Key"], listing
        )
        return Result({"tags": list(shown), "nextToken": token})

    def _resource(self, transaction: Transaction, parameters: Mapping[str, Any]) -> tuple[str, str]:
        arn = parameters["resourceArn"]
        kind, name = self._names.parts(arn)
        if kind not in _FOUND:
            raise invalid(f"{arn}: tags are for {', '.join(_FOUND)}, as on AWS")
        if _FOUND[kind](transaction, name) is None:
            raise not_found(f"no {kind} {name}")
        return kind, name


def tags_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a request. Raises ApiError."""
    asked = parameters.get("tags", [])
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked}
    if len(tags) != len(asked):
        raise invalid("tags: a key stands there twice")
    if len(tags) > aws.MAX_TAGS:
        raise _too_many()
    for key in tags:
        if key.lower().startswith("aws:"):
            raise invalid(f"tags: {key}: keys that begin with aws: are AWS's own")
    return tags


def _too_many() -> ApiError:
    return ApiError("LimitExceededException", f"a resource has at most {aws.MAX_TAGS} tags", 410)
