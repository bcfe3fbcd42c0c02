"""Operations on policies: kept, shown and attached, and not judged.

A certificate's rights at the fleet's broker are those of `broker/acl`: the topics of the things
that it speaks for. A policy neither widens nor narrows them here; on AWS it does both.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import DEFAULT_PAGE, Names, invalid, not_found
from twinslot.service.operations import groups
from twinslot.service.operations.certificates import KIND as CERTIFICATE
from twinslot.service.operations.certificates import MARKED, certificate_of
from twinslot.service.operations.tags import tags_of
from twinslot.service.rows.groups import above
from twinslot.service.rows.policies import Policy
from twinslot.service.store import Store, Transaction

KIND = "policy"
MAX_DOCUMENT = 2048  # characters, blanks aside
MAX_POLICIES = 10  # of one target
_VERSION = "1"  # the only one that a policy has here


class PolicyOperations:
    """Policies. `clock` returns Unix seconds."""

    def __init__(self, store: Store, names: Names, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        pair = {"policyName", "target"}
        self.operations = {
            "CreatePolicy": Operation(self._create, {"policyName", "policyDocument", "tags"}),
            "GetPolicy": Operation(self._get, {"policyName"}),
            "DeletePolicy": Operation(self._delete, {"policyName"}),
            "ListPolicies": Operation(self._list, MARKED),
            "AttachPolicy": Operation(self._attach, pair),
            "DetachPolicy": Operation(self._detach, pair),
            "ListAttachedPolicies": Operation(
                self._list_attached, {"target", "recursive", "marker", "pageSize"}
            ),
        }

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        name, document = parameters["policyName"], parameters["policyDocument"]
        for problem in problems(document):
            raise ApiError("MalformedPolicyException", f"policyDocument: {problem}", 400)
        tags = tags_of(parameters)
        with self._store.write() as transaction:
            if transaction.policy(name) is not None:
                raise self._names.exists(KIND, name)
            transaction.add_policy(Policy(name, document, int(self._clock())))
            transaction.tag(KIND, name, tags)
        return Result({**self._told(name), "policyDocument": document, "policyVersionId": _VERSION})

    def _get(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            policy = _policy(transaction, parameters["policyName"])
        return Result(
            {
                **self._told(policy.name),
                "policyDocument": policy.document,
                "defaultVersionId": _VERSION,
                "creationDate": policy.created_at,
                "lastModifiedDate": policy.created_at,
            }
        )

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            policy = _policy(transaction, parameters["policyName"])
            if targets := transaction.targets_of(policy.name):
                raise ApiError(
                    "DeleteConflictException",
                    f"policy {policy.name} is attached: detach it from {', '.join(targets)}",
                    409,
                )
            transaction.untag(KIND, policy.name)
            transaction.delete_policy(policy.name)
        return Result({})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            shown, marker = self._names.marked(parameters, "policies", transaction.policies)
        return Result(
            {"policies": [self._told(policy.name) for policy in shown], "nextMarker": marker}
        )

    def _attach(self, parameters: Mapping[str, Any]) -> Result:
        name, target = parameters["policyName"], parameters["target"]
        with self._store.write() as transaction:
            _policy(transaction, name)
            self._check_target(transaction, target)
            if len({*transaction.policies_of(target), name}) > MAX_POLICIES:
                raise ApiError(
                    "LimitExceededException", f"a target has at most {MAX_POLICIES} policies", 410
                )
            transaction.attach_policy(name, target)
        return Result({})

    def _detach(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            _policy(transaction, parameters["policyName"])
            self._check_target(transaction, parameters["target"])
            transaction.detach_policy(parameters["policyName"], parameters["target"])
        return Result({})

    def _list_attached(self, parameters: Mapping[str, Any]) -> Result:
        target = parameters["target"]
        recursive = parameters.get("recursive", False)
        listing = ("attached", target, str(recursive))
        limit = parameters.get("pageSize", DEFAULT_PAGE)
        after = self._names.place(parameters.get("marker"), listing) or ""
        with self._store.read() as transaction:
            self._check_target(transaction, target)
            targets = [target, *(self._above(transaction, target) if recursive else ())]
            found = {name for one in targets for name in transaction.policies_of(one)}
        rest = sorted(name for name in found if name > after)[: limit + 1]
        shown, marker = self._names.page(rest, limit, str, listing)
        return Result({"policies": [self._told(name) for name in shown], "nextMarker": marker})

    def _check_target(self, transaction: Transaction, target: str) -> None:
        """Raises ApiError for a target that is no certificate and no group, or is not there."""
        kind, name = self._names.parts(target)
        if kind == CERTIFICATE:
            certificate_of(transaction, name)
        elif kind == groups.KIND:
            groups.group_of(transaction, name)
        else:
            raise invalid(f"{target}: policies are for certificates and thing groups here")

    def _above(self, transaction: Transaction, target: str) -> Iterator[str]:
        """The groups above a target that is a group."""
        kind, name = self._names.parts(target)
        if kind == groups.KIND:
            for group in above(name, transaction.parents()):
                yield self._names.arn(groups.KIND, group)

    def _told(self, name: str) -> dict[str, str]:
        return {"policyName": name, "policyArn": self._names.arn(KIND, name)}


def problems(document: str) -> Iterator[str]:
    """The faults in the form of a policy (IAM user guide, "JSON policy grammar")."""
    if len(re.sub(r"\s", "", document)) > MAX_DOCUMENT:
        yield f"it has over {MAX_DOCUMENT} characters, blanks aside"
        return
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        yield "it is not JSON"
        return
    if not isinstance(value, dict) or value.get("Version") not in ("2012-10-17", "2008-10-17"):
        yield 'it is no object with "Version": "2012-10-17"'
        return
    statements = value.get("Statement")
    statements = statements if isinstance(statements, list) else [statements]
    for number, statement in enumerate(statements):
        if not isinstance(statement, dict):
            yield f"Statement {number} is no object"
        elif statement.get("Effect") not in ("Allow", "Deny"):
            yield f"Statement {number}: Effect is neither Allow nor Deny"
        else:
            for word in ("Action", "Resource"):
                asked = statement.get(word)
                asked = asked if isinstance(asked, list) else [asked]
                if not asked or not all(isinstance(item, str) and item for item in asked):
                    yield f"Statement {number}: {word} is no text and no list of texts"


def _policy(transaction: Transaction, name: str) -> Policy:
    policy = transaction.policy(name)
    if policy is None:
        raise not_found(f"no policy {name}")
    return policy
