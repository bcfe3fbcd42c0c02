"""AWS's rule of attributes, which things and groups share."""

from collections.abc import Mapping
from typing import Any

from twinslot.service.names import invalid


def merged(before: Mapping[str, str], payload: Mapping[str, Any], most: int) -> dict[str, str]:
    """The attributes after an AttributePayload: replaced by it, or with `merge` merged into.

    An attribute with an empty value goes (API reference, AttributePayload). Raises ApiError for
    more than `most`.
    """
    if "attributes" not in payload:
        return dict(before)
    found = {**(before if payload.get("merge", False) else {}), **payload["attributes"]}
    found = {key: value for key, value in found.items() if value}
    if len(found) > most:
        raise invalid(f"attributes: {len(found)} are more than {most}")
    return found
