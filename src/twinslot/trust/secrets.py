"""Private keys and passwords in a file, found by its content. Pure: bytes in, a name for them out.

A key counts when it parses, or would with its passphrase: the label of a PEM file, as TLS libraries
hold it among their strings, is none. It is looked for in the bytes as they are, and in the
constants of Python source and JSON, where line ends are written as "\\n" and a text is put together
from pieces. Keys are also found in base64 and in hexadecimal digits, without a label.
"""

import ast
import base64
import binascii
import bisect
import contextlib
import json
import re
import tomllib
import warnings
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?)-----")
_LONGEST = 2**16  # bytes between the labels
_SEALED = re.compile(rb"Proc-Type: *4, *ENCRYPTED")  # RFC 1421, as OpenSSL writes it
# Between the lines of base64: line ends as source has them, headers, the quotes of pieces.
_NO_BASE64 = re.compile(
    rb"""\\[nrt]|^[A-Za-z-]+: .*$|["']\s*[+.,\\]?\s*["']|[^A-Za-z0-9+/=]""", re.M
)
_OPENSSH = b"openssh-key-v1\0"
# SEQUENCE, then the version: PKCS #8 and PKCS #1 (0, or 1 with the public key), SEC 1 (1).
_KEY = re.compile(rb"\x30(?:[\x10-\x7f]|\x81.|\x82..)\x02\x01[\0\x01][\x02\x04\x30]", re.S)
# Encrypted PKCS #8: an algorithm of PKCS #5 or #12; PKCS #12: version 3 and its content's type.
_ENCRYPTED = re.compile(
    rb"\x30(?:[\x10-\x7f]|\x81.|\x82..)\x30(?:.|\x81.)\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d"
    rb"\x01(?:\x05|\x0c\x01)",
    re.S,
)
_PKCS12 = re.compile(
    rb"\x30(?:\x80|\x82..)\x02\x01\x03\x30(?:\x80|\x81.|\x82..)\x06\x09\x2a\x86\x48\x86\xf7\x0d"
    rb"\x01\x07",
    re.S,
)
# Of a SEQUENCE, in lines or in one, in either alphabet (RFC 4648).
_BASE64 = re.compile(
    rb"(?<![A-Za-z0-9+/_-])M[A-I][A-Za-z0-9+/_-](?:[A-Za-z0-9+/_-]|\r?\n){37,8192}"
)
_TO_PLAIN = bytes.maketrans(b"-_", b"+/")
_HEX = re.compile(rb"(?<![0-9A-Fa-f])30[0-9A-Fa-f]{78,16384}(?![0-9A-Fa-f])")
# In JSON, YAML or Python: the kind of key, and near it the member that only a private one has.
_JWK = re.compile(rb"""\bkty["']?\s*[:=]\s*["']?(?:EC|RSA|OKP|oct)\b""")
_JWK_PRIVATE = re.compile(
    rb"""(?<![\w-])[dk]["']?\s*[:=]\s*(?:["'][A-Za-z0-9_-]{16,}={0,2}["']|[A-Za-z0-9_-]{16,}\s*$)""",
    re.M,
)
_JWK_REACH = 4096  # bytes
_PPK = b"PuTTY-User-Key-File-", b"\nPrivate-Lines:"
_JKS = (b"\xfe\xed\xfe\xed\0\0\0\x01", b"\xfe\xed\xfe\xed\0\0\0\x02")
_NVS_PAGE = 4096  # bytes (ESP-IDF, nvs_flash: page structure)
_NVS_STATES = {0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8}  # active, full, freeing

_PASSWORD = re.compile(
    r"(?:^|[_.-])(?:password|passwd|passphrase|passwort|pass|psk|pwd|pw|(?:wifi|wlan|wpa)_?key"
    r"|(?:secret|api|private)_?key|(?:access|auth)_?token)$",
    re.I,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_EXAMPLE = re.compile(
    r"\W*|.*(?:\.\.\.|<.*>|\{.*\}|x{3,}|\*{3}).*|(?:your|my|change|example).*", re.I
)
# NAME=VALUE or NAME: VALUE in a line; in YAML also as an item, with the value in the next line, and
# between braces, as in JSON with comments.
_LINE = re.compile(
    r"""^[ \t]*(?:-[ \t]+)*(?:export )?["']?([\w.-]{2,40})["']?[ \t]*[=:][ \t]*"""
    r"""(?:[|>][+-]?[ \t]*\n[ \t]+)?(\S.*?)[ \t]*$""",
    re.M,
)
_INLINE = re.compile(r"""[{,]\s*["']?([\w.-]{2,40})["']?\s*:\s*([^\s,}][^\n,}]*)""")
_ELEMENT = re.compile(r"<([\w.-]{2,40})>([^<>]{3,200})</\1>")
_PLAIN = (".txt", ".env", ".ini", ".cfg", ".conf", ".properties", ".yaml", ".yml", ".dat")
_WRAPPERS = ("const", "str", "bytes", "bytearray")
_WITH_BRACES = (".json", ".jsonc", ".json5", ".yaml", ".yml")


def private_key(path: str, data: bytes) -> str | None:
    """The kind of private key in a file, with its article, None without one.

    path: of the file; its end says whether it is Python or JSON.
    """
    if _is_nvs(data):
        return "an NVS image, which may hold a password of Wi-Fi or a key"
    data = _plain(data)
    for part in (data, *_constants(path, data)):
        if found := _key_in(part):
            return found
    return None


def password(path: str, data: bytes) -> str | None:
    """The name under which a settings file holds a password, None without one.

    Settings files are JSON, TOML, YAML, XML, lines of NAME=VALUE, also those without an end, and
    the constants of a Python module. An empty value and an example, such as "your-password" or
    "<secret>", are none.
    """
    try:
        text = _plain(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return next((name for name, value in _settings(path, text) if _is_password(name, value)), None)


def _key_in(data: bytes) -> str | None:
    for match in _BEGIN.finditer(data):
        end = data.find(b"-----END %s-----" % match[1], match.end(), match.end() + _LONGEST)
        text = data[match.end() : max(end, 0)]
        body = base64.b64decode(_padded(_NO_BASE64.sub(b"", text)))
        if _SEALED.search(text) or body.startswith(_OPENSSH) or _is_der(body):
            return "a private key in PEM"
        if match[1].startswith(b"PGP") and body[:1] >= b"\x80":
            return "a private key of OpenPGP's"
    for shape in (_KEY, _ENCRYPTED, _PKCS12):
        if any(_is_der(data[match.start() :]) for match in shape.finditer(data)):
            return "a private key in DER"
    if _is_jwk(data):
        return "a private key as JWK"
    if 0 <= data.find(_PPK[0]) < data.rfind(_PPK[1]):
        return "a private key of PuTTY's"
    if data.startswith(_JKS):
        return "a key store of Java's"
    for match in _BASE64.finditer(data):
        body = match[0].translate(_TO_PLAIN, b"\r\n")
        if _is_der(base64.b64decode(_padded(body))):
            return "a private key in base64"
    for match in _HEX.finditer(data):
        if _is_der(bytes.fromhex(match[0][: len(match[0]) & ~1].decode())):
            return "a private key in hexadecimal digits"
    return None


def _is_jwk(data: bytes) -> bool:
    """Whether a kind of key and the member of a private one stand near each other."""
    kinds = [match.start() for match in _JWK.finditer(data)]
    if not kinds:
        return False
    for match in _JWK_PRIVATE.finditer(data):
        at = bisect.bisect(kinds, match.start() - _JWK_REACH)
        if at < len(kinds) and kinds[at] < match.start() + _JWK_REACH:
            return True
    return False


def _is_der(data: bytes) -> bool:
    """Whether the bytes begin with a private key, encrypted or not."""
    if _PKCS12.match(data) or _ENCRYPTED.match(data):
        return True
    if not _KEY.match(data):
        return False
    try:
        serialization.load_der_private_key(data[: _length(data)], password=None)
    except UnsupportedAlgorithm:
        return True
    except (ValueError, TypeError):
        return False
    return True


def _length(data: bytes) -> int:
    """The length of the SEQUENCE at the start, its head included, in bytes."""
    if data[1] < 0x80:
        return 2 + data[1]
    digits = data[1] & 0x7F
    return 2 + digits + int.from_bytes(data[2 : 2 + digits], "big")


def _padded(text: bytes) -> bytes:
    text = text.rstrip(b"=")
    text = text[: len(text) - 1] if len(text) % 4 == 1 else text
    return text + b"=" * (-len(text) % 4)


def _is_nvs(data: bytes) -> bool:
    return any(
        int.from_bytes(data[at : at + 4], "little") in _NVS_STATES
        and binascii.crc32(data[at + 4 : at + 28], 0xFFFFFFFF)
        == int.from_bytes(data[at + 28 : at + 32], "little")
        for at in range(0, len(data) - 31, _NVS_PAGE)
    )


def _plain(data: bytes) -> bytes:
    """The same text in UTF-8, where its first bytes say that it is UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16").encode()
    return data


def _constants(path: str, data: bytes) -> Iterator[bytes]:
    """The constants of Python source, or of JSON, that may hold a key."""
    if path.endswith(".py"):
        for node in ast.walk(_tree(data)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                value = node.value
                yield value.encode("utf-8", "replace") if isinstance(value, str) else value
            elif isinstance(node, ast.List | ast.Tuple):
                yield _bytes_of([one.value for one in node.elts if isinstance(one, ast.Constant)])
    elif path.endswith(".json"):
        found = _json(data)
        for _, value in _flat("", found):
            if isinstance(value, str):
                yield value.encode("utf-8", "replace")
        yield _bytes_of([value for _, value in _flat("", found)])


def _bytes_of(values: list[Any]) -> bytes:
    """The numbers of bytes among these, as bytes: a key is written as a list, too."""
    return bytes(one for one in values if type(one) is int and 0 <= one < 256)


def _settings(path: str, text: str) -> Iterator[tuple[str, Any]]:
    """The names and values in a settings file."""
    name = path.rpartition("/")[2]
    end = "." + name.rpartition(".")[2]
    read = _json(text) if end == ".json" else None
    if read is not None:
        yield from _flat("", read)
    elif path.endswith(".toml"):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _flat("", tomllib.loads(text))
    elif path.endswith(".py"):
        yield from _assigned(_tree(text))
    elif end in (".xml", ".plist"):
        yield from ((match[1], match[2]) for match in _ELEMENT.finditer(text))
    elif end in (*_WITH_BRACES, *_PLAIN) or "." not in name:
        for shape in (_LINE, _INLINE) if end in _WITH_BRACES else (_LINE,):
            yield from ((match[1], match[2].strip(" \t,\"'")) for match in shape.finditer(text))


def _assigned(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """The constants to which a module gives names, wherever: also arguments, and dictionaries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _named(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _named(node.target, node.value)
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg, _constant(node.value)
        elif isinstance(node, ast.Dict):
            for key, item in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), _constant(item)


def _named(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Any]]:
    """The names of one assignment, and what they get: a tuple's one by one."""
    several = ast.Tuple | ast.List
    if isinstance(target, several) and isinstance(value, several):
        for one, item in zip(target.elts, value.elts, strict=False):
            yield from _named(one, item)
    else:
        yield ast.unparse(target), _constant(value)


def _constant(value: ast.expr) -> Any:
    """The constant that an expression is, also as `const(...)`; None for any other."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) in _WRAPPERS and value.args:
        value = value.args[0]
    found = value.value if isinstance(value, ast.Constant) else None
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(str(key), item)
    elif isinstance(value, list):
        for item in value:
            yield from _flat(name, item)
    else:
        yield name, value


def _is_password(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) > 2
        and _PASSWORD.search(_CAMEL.sub("_", name)) is not None
        and _EXAMPLE.fullmatch(value) is None
    )


def _json(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _tree(source: bytes | str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.Module([], [])
