"""The names of control-plane resources, and the errors that are about a name."""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from twinslot.service.codec import ApiError

ACCOUNT = "000000000000"

Entry = TypeVar("Entry")


class Names:
    """The names of one region's resources."""

    def __init__(self, region: str) -> None:
        self.region = region

    def arn(self, kind: str, name: str) -> str:
        """The resource name of a thing, stream, job or otaupdate."""
        return f"arn:aws:iot:{self.region}:{ACCOUNT}:{kind}/{name}"

    def uuid(self, thing: str) -> str:
        """The thingId of a thing; the same at all times."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.arn("thing", thing)))

    def thing(self, arn: str) -> str:
        """The thing that a job's target names. Raises ApiError."""
        prefix = self.arn("thing", "")
        if not arn.startswith(prefix):
            raise invalid(f"target {arn}: only {prefix}NAME is known")
        return arn.removeprefix(prefix)

    def exists(self, kind: str, name: str) -> ApiError:
        """The error for a name that is taken."""
        members = {"resourceId": name, "resourceArn": self.arn(kind, name)}
        message = f"{kind} {name} exists already"
        return ApiError("ResourceAlreadyExistsException", message, 409, members)


def not_found(message: str) -> ApiError:
    """The error for a name that nothing has."""
    return ApiError("ResourceNotFoundException", message, 404)


def invalid(message: str) -> ApiError:
    """The error for a request that is well-formed and wrong."""
    return ApiError("InvalidRequestException", message, 400)


def page(
    found: Sequence[Entry], limit: int, name: Callable[[Entry], str]
) -> tuple[Sequence[Entry], str | None]:
    """The entries of a page and its nextToken, None for the last; one more was looked for.

    `name` is what a nextToken says of the last entry shown.
    """
    shown = found[:limit]
    return shown, name(shown[-1]) if len(found) > limit else None


def place(token: str | None) -> int | None:
    """The place in a list that a nextToken names. Raises ApiError."""
    if token is None:
        return None
    if not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise invalid("nextToken is not one of ours")
    return int(token)
