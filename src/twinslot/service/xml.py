"""XML bodies of rest-xml, which S3 speaks, by the shapes of botocore's models.

The inverse of botocore's serializer and parser, like `codec`. Names, lists and attributes follow
the model; nothing here knows any operation.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from botocore.model import Shape
from botocore.utils import parse_timestamp

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def read(shape: Shape, body: bytes) -> Any:
    """The value of a body. Raises ValueError for a body that is no such XML.

    A document type is refused: no client of AWS's sends one, and entities are declared there.
    """
    if b"<!DOCTYPE" in body:
        raise ValueError("the body has a document type")
    try:
        root = ET.fromstring(body)  # noqa: S314 - without a document type there are no entities
    except ET.ParseError as error:
        raise ValueError("the body is not XML") from error
    return _value(shape, root)


def write(shape: Shape, members: Mapping[str, Any], root: str) -> bytes:
    """A body whose root has this name; members that are None are left out."""
    element = ET.Element(root, {"xmlns": NAMESPACE})
    _fill(element, shape, members)
    found: bytes = ET.tostring(element, encoding="utf-8")
    return _DECLARATION + found


def _value(shape: Shape, element: ET.Element) -> Any:
    kind = shape.type_name
    if kind == "structure":
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            inside = [child for child in element if _local(child) == _item_name(member, wire)]
            if member.type_name == "list" and member.serialization.get("flattened"):
                if inside:
                    found[name] = [_value(member.member, child) for child in inside]
            elif inside:
                found[name] = _value(member, inside[-1])
        return found
    if kind == "list":
        return [_value(shape.member, child) for child in element]
    text = element.text or ""
    if kind in ("integer", "long"):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind == "timestamp":
        try:
            return parse_timestamp(text)
        except (OverflowError, OSError, RuntimeError) as error:  # out of all bounds
            raise ValueError(f"{text!r} is no time") from error
    return text


def _fill(element: ET.Element, shape: Shape, value: Any) -> None:
    if shape.type_name == "structure":
        for name, item in value.items():
            if item is None:
                continue
            member = shape.members[name]
            wire = member.serialization.get("name", name)
            if member.type_name != "list":
                _fill(ET.SubElement(element, wire), member, item)
            elif member.serialization.get("flattened"):
                for one in item:
                    _fill(ET.SubElement(element, _item_name(member, wire)), member.member, one)
            else:
                inside = ET.SubElement(element, wire)
                for one in item:
                    named = member.member.serialization.get("name", "member")
                    _fill(ET.SubElement(inside, named), member.member, one)
    elif shape.type_name == "timestamp":
        element.text = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    elif shape.type_name == "boolean":
        element.text = "true" if value else "false"
    else:
        element.text = str(value)


def _item_name(member: Shape, wire: str) -> str:
    """The name of a list's items that stand in its parent, or of any other element."""
    if member.type_name == "list" and member.serialization.get("flattened"):
        return str(member.member.serialization.get("name", wire))
    return wire


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
