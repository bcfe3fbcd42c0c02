"""The names of control-plane resources, and the errors that are about a name."""

import base64
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from twinslot.service.codec import ApiError

ACCOUNT = "000000000000"

DEFAULT_PAGE = 50
"""Entries of a page where a request does not say."""

PAGING = frozenset({"maxResults", "nextToken"})
"""The parameters of an operation that lists in pages."""

Entry = TypeVar("Entry")

Listing = tuple[str | None, ...]
"""A list: an operation, and the parameters that choose its entries."""

_MARK = 12  # bytes of a nextToken that say that it is one of this service's


class Names:
    """The names of one region's resources, and of places in lists of them."""

    def __init__(self, region: str, secret: str) -> None:
        """`secret` marks the nextTokens that this service gave."""
        self.region = region
        self._secret = secret.encode()

    def arn(self, kind: str, name: str) -> str:
        """The resource name of a thing, thinggroup, stream, job, otaupdate, cert or policy."""
        return f"arn:aws:iot:{self.region}:{ACCOUNT}:{kind}/{name}"

    def uuid(self, name: str, kind: str = "thing") -> str:
        """The thingId of a thing, or the id of a group; the same at all times."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.arn(kind, name)))

    def parts(self, arn: str) -> tuple[str, str]:
        """The kind and the name in a resource name of this region. Raises ApiError."""
        start = self.arn("", "")[:-1]
        kind, slash, name = arn.removeprefix(start).partition("/")
        if not arn.startswith(start) or not slash or not name:
            raise invalid(f"{arn} is none of this service's: they begin with {start}")
        return kind, name

    def exists(self, kind: str, name: str) -> ApiError:
        """The error for a name that is taken."""
        members = {"resourceId": name, "resourceArn": self.arn(kind, name)}
        message = f"{kind} {name} exists already"
        return ApiError("ResourceAlreadyExistsException", message, 409, members)

    def page(
        self, found: Sequence[Entry], limit: int, name: Callable[[Entry], str], listing: Listing
    ) -> tuple[Sequence[Entry], str | None]:
        """Return the entries of a page and its nextToken, None for the last one.

        found: one entry more than `limit`, where there are so many; name: says the place of an
        entry; listing: what is listed, to which the token belongs.
        """
        shown = found[:limit]
        if len(found) <= limit:
            return shown, None
        last = name(shown[-1]).encode()
        return shown, base64.b64encode(self._mark(last, listing) + last).decode()

    def page_of(
        self, names: Sequence[str], parameters: Mapping[str, Any], listing: Listing
    ) -> tuple[list[str], str | None]:
        """A page of sorted names as a request's `maxResults` and `nextToken` choose it.

        Raises ApiError as `place` does.
        """
        limit = parameters.get("maxResults", DEFAULT_PAGE)
        after = self.place(parameters.get("nextToken"), listing) or ""
        rest = [name for name in names if name > after][: limit + 1]
        shown, token = self.page(rest, limit, str, listing)
        return list(shown), token

    def marked(
        self,
        parameters: Mapping[str, Any],
        kind: str,
        find: Callable[..., Sequence[tuple[int, Entry]]],
    ) -> tuple[list[Entry], str | None]:
        """A page as a request's `pageSize`, `marker` and `ascendingOrder` choose it, and a marker.

        kind: what is listed; find(ascending, after, limit): returns entries with their places.
        Raises ApiError as `place` does.
        """
        limit = parameters.get("pageSize", DEFAULT_PAGE)
        ascending = parameters.get("ascendingOrder", False)
        listing = (kind, str(ascending))
        place = self.place(parameters.get("marker"), listing)
        after = None if place is None else int(place)
        found = find(ascending=ascending, after=after, limit=limit + 1)
        shown, marker = self.page(found, limit, lambda placed: str(placed[0]), listing)
        return [one for _, one in shown], marker

    def place(self, token: str | None, listing: Listing) -> str | None:
        """Return the place that a nextToken of this listing names, None for the beginning.

        Raises ApiError for a token that was not given out with a page of the same listing.
        """
        if token is None:
            return None
        try:
            given = base64.b64decode(token, validate=True)
        except ValueError:
            given = b""
        mark, last = given[:_MARK], given[_MARK:]
        if not hmac.compare_digest(mark, self._mark(last, listing)):
            raise invalid("nextToken is none that this list gave: ask without it")
        return last.decode()

    def _mark(self, last: bytes, listing: Listing) -> bytes:
        text = json.dumps(["nextToken", *listing]).encode() + last
        return hmac.digest(self._secret, text, "sha256")[:_MARK]


def not_found(message: str) -> ApiError:
    """The error for a name that nothing has."""
    return ApiError("ResourceNotFoundException", message, 404)


def invalid(message: str) -> ApiError:
    """The error for a request that is well-formed and wrong."""
    return ApiError("InvalidRequestException", message, 400)


def check_version(named: str, version: int, expected: int | None) -> None:
    """Raise the error for something that has another version than was expected, if it has."""
    if expected is not None and expected != version:
        raise ApiError(
            "VersionConflictException",
            f"{named} has version {version}, not the expected {expected}",
            409,
        )
