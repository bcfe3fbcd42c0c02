"""Job documents and stream messages as no service sends them.

A message is made from a seed and its number alone, so that a single one can be made again. JSON is
changed as text, CBOR put together by hand: neither the firmware nor a library has a say in it.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from mutation import Mutations

JOB = "AFR_OTA-mutant"
# Of the file that the messages are about: bytes of a block; blocks.
BLOCK = 4096
BLOCKS = 11
FILE_SIZE = BLOCKS * BLOCK
# The longest document that a board takes, and the longest message made here (bytes).
LONGEST = 4096
TOO_LONG = LONGEST + 256

_FILE = f'{{"filepath":"/a.ota","filesize":{FILE_SIZE},"fileid":0}}'
_URL = '"update_data_url":"https://bucket.example/a.ota?X-Amz-Expires=60"'
_AUTH = '"auth_scheme":"aws.s3.presigned","sig-sha256-ecdsa":"MEUCIGarghx/ZM93"'


def document(
    status: str = "QUEUED",
    details: str = "{}",
    protocols: str = '["MQTT"]',
    file: str = _FILE,
) -> str:
    """Return the message that names a job, as AWS makes it."""
    return (
        f'{{"clientToken":"0:board-1","timestamp":1800000000,"execution":{{"jobId":"{JOB}",'
        f'"status":"{status}","statusDetails":{details},"queuedAt":1800000000,'
        '"lastUpdatedAt":1800000000,"versionNumber":1,"executionNumber":1,"jobDocument":'
        f'{{"afr_ota":{{"protocols":{protocols},"streamname":"{JOB}","files":[{file}]}}}}}}}}'
    )


def _file(*more: str) -> str:
    return ",".join([_FILE[:-1], *more]) + "}"


# Nothing is wrong with these.
DOCUMENTS = (
    document(),
    document(protocols='["MQTT","HTTP"]', file=_file(_URL, _AUTH)),
    document(protocols='["HTTP"]', file=_file(_URL.replace("https", "http"), _AUTH)),
    document("IN_PROGRESS", '{"self_test":"ready","updatedBy":"0x1"}'),
    document("IN_PROGRESS", '{"receive":"1/11"}', file=_FILE.replace(":0", ':"0"')),
)

_NUMBERS = (
    "0 1 2 255 256 -1 -0 1.5 1e3 1e400 -1e400 1e-400 3094168447 3094168448 4294967295 4294967296 "
    "18446744073709551616 " + "9" * 300
).split()
_TEXTS = (
    *("", "0", "7", "-1", "0x2", "0x", "4294967296", "1e3", " 1", "\\ud800", "\\u0000", "\\n"),
    *("x", "a/b", "+", "#", "$next", "J" * 64, "J" * 65, "S" * 128, "S" * 129, "\u00fc", ".."),
    *("MQTT", "HTTP", "aws.s3.presigned", "ready"),
)
_URLS = (
    *("", "h", "://", "http:", "http://", "http:///", "http://h/\u00e4", "http://h/x y"),
    *(
        "http://h:x/",
        "http://:/",
        f"http://h:{'9' * 600}",
        "https://h",
        "ftp://h/x",
        "http://h/\\u0000",
    ),
)
_STRUCTURES = (
    *("[]", "{}", "[[]]", "[{}]", '{"a":[]}', "[7]", '[""]', "[" * 40 + "]" * 40, "NaN"),
    *("null", "true", "false", f"[{_FILE},{_FILE}]", _FILE, '["HTTP"]', '["MQTT","HTTP"]'),
    *('{"self_test":"active","updatedBy":"0x0"}', '{"self_test":"","updatedBy":"9"}'),
    *('{"self_test":7}', '{"self_test":"ready","updatedBy":[]}'),
)
_KEYS = (
    *"execution timestamp jobId status statusDetails jobDocument afr_ota protocols".split(),
    *"streamname files filepath filesize fileid update_data_url auth_scheme self_test".split(),
    *("", "x", "\u00fc", "k" * 200),
)
# What is repeated where a value should be, some of it until no board takes the message.
_FLOODS = (*'[ {"a": [], "x", 9 \\u0041 {"":0}, x \u20ac " } ]'.split(), " ")


@dataclass
class _Block:
    """A stream message in the making: what begins the map, its pairs, what ends it."""

    begin: bytes
    pairs: list[tuple[bytes, bytes]]
    end: bytes


@dataclass
class Messages:
    """Makes hostile messages. data: BLOCK bytes, of which blocks are made."""

    seed: int
    data: bytes = bytes(BLOCK)
    _random: random.Random = field(init=False, repr=False)

    def job(self, number: int) -> bytes:
        """Return a job document that something was done to."""
        self._random = random.Random(f"job {self.seed} {number}")
        text = self._random.choice(DOCUMENTS)
        kind = self._random.randrange(8)
        if kind == 0:
            return self._flooded(text).encode()[:TOO_LONG]
        if kind < 7:
            for _ in range(self._random.randint(1, 2)):
                text = self._changed(text)
        return self._damaged(text.encode()) if kind > 5 else text.encode()

    def block(self, number: int, index: int) -> bytes:
        """Return a stream message that something was done to. index: of the block it might be."""
        self._random = random.Random(f"block {self.seed} {number}")
        block = _Block(
            b"\xbf",
            [
                (b"\x61f", head(0, 0)),
                (b"\x61i", head(0, index)),
                (b"\x61l", head(0, BLOCK)),
                (b"\x61p", self._item(BLOCK)),
            ],
            b"\xff",
        )
        if self._random.randrange(2):
            block.begin, block.end = head(5, 4), b""
        kind = self._random.randrange(8)
        if kind < 7:
            for _ in range(self._random.randint(1, 2)):
                self._change(block)
        message = block.begin + b"".join(itertools.chain(*block.pairs)) + block.end
        message = message[:TOO_LONG]
        if kind < 6:
            return message
        if kind == 6:  # cut, or too long
            return message[: self._random.randrange(len(message) + 1)] + bytes(
                self._random.choice((0, 0, 0, 7, 70))
            )
        return self._damaged(message[:24]) + message[24:]

    def _damaged(self, data: bytes) -> bytes:
        return bytes(Mutations(self._random.getrandbits(32)).of(data))

    # -- JSON -------------------------------------------------------------------------------------

    def _changed(self, text: str) -> str:
        """Change one key, value, pair or element, wherever in the document it is."""
        choice = self._random.choice
        try:
            found = spans(text)
        except (IndexError, ValueError):
            return text  # it is no JSON any more
        kind, start, end = choice(found)
        here = text[start:end]
        if kind == "key":
            return f'{text[:start]}"{choice(_KEYS)}"{text[end:]}'
        if kind == "value":
            return text[:start] + self._other_than(here) + text[end:]
        if self._random.randrange(2):  # twice
            return text[:end] + choice((",", ",", ",", "", ":")) + here + text[end:]
        if text[end] == ",":
            return text[:start] + text[end + 1 :]
        return text[:start].removesuffix(",") + text[end:]

    def _other_than(self, value: str) -> str:
        """Return another value, often one of the same kind."""
        choice = self._random.choice
        if self._random.randrange(3) == 0:
            return choice(_STRUCTURES)
        if value.isdigit() ^ (self._random.randrange(4) == 0):
            return choice(_NUMBERS)
        return f'"{choice(_URLS if "://" in value else _TEXTS)}"'

    def _flooded(self, text: str) -> str:
        """Put a flood in the place of a value, in quotes or not."""
        choice = self._random.choice
        _, start, end = choice(spans(text))
        flood = choice(_FLOODS)
        flood *= choice((10, 65, 300, 1000, LONGEST - len(text), LONGEST)) // len(flood) + 1
        quote = choice(("", '"'))
        return text[:start] + quote + flood + quote + text[end:]

    # -- CBOR -------------------------------------------------------------------------------------

    def _item(self, size: int, major: int = 2) -> bytes:
        return head(major, size) + self.data[:size]

    def _change(self, block: _Block) -> None:
        choice, pairs = self._random.choice, block.pairs
        kind = self._random.randrange(9)
        at = self._random.randrange(len(pairs) or 1)
        if kind == 0 or not pairs:
            block.begin = choice(_BEGINNINGS)
        elif kind == 1:
            block.end = choice((b"", b"\xff", b"\xff\xff", b"\x00"))
        elif kind == 2:
            pairs.pop(at)
        elif kind == 3:
            pairs.insert(self._random.randrange(len(pairs)), pairs[at])
        elif kind == 4:
            pairs[at] = choice(_CBOR_KEYS), pairs[at][1]
        elif kind == 5:
            pairs.insert(at, (choice(_OTHER_KEYS), choice(_CBOR_VALUES)))
        elif kind == 6:
            pairs[at] = pairs[at][0], choice(_CBOR_VALUES)
        elif kind == 7:
            pairs[at] = pairs[at][0], head(0, choice(_CBOR_NUMBERS), choice((0, 1, 2, 4, 8)))
        elif self._random.randrange(8) == 0:  # the data is damaged where a package says most
            data = self._item(BLOCK)
            self._put(block, data[:3] + self._damaged(data[3:500]) + data[500:])
        else:  # the data is shorter, longer or something else than it should be
            size = choice((0, 1, 63, 64, 65, BLOCK - 1, BLOCK))
            self._put(block, self._item(size, choice((2, 2, 2, 2, 3, 0, 4, 5, 6, 7))))

    @staticmethod
    def _put(block: _Block, data: bytes) -> None:
        block.pairs = [(key, data if key == b"\x61p" else value) for key, value in block.pairs]


def head(major: int, value: int, least: int = 0) -> bytes:
    """Return the head of a CBOR item (RFC 8949, 3). least: bytes its argument takes at least."""
    if value < 24 and not least:
        return bytes([major << 5 | value])
    size = next(n for n in (1, 2, 4, 8) if n >= least and value < 1 << 8 * n)
    return bytes([major << 5 | 23 + size.bit_length()]) + value.to_bytes(size, "big")


_CBOR_NUMBERS = (0, 1, 2, 10, 11, 12, 255, 256, 4095, 4096, 4097, 1 << 31, 1 << 63)
_LENGTHS = (0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
_BEGINNINGS = tuple(
    bytes.fromhex(text)
    for text in "bf a0 a3 a4 a5 84 9f c1a4 b804 baffffffff bbffffffffffffffff bc 04 64 ff".split()
)
_CBOR_KEYS = tuple(
    bytes.fromhex(text)
    for text in "6166 6169 616c 6170 6163 616f 60 626666 01 4166 7f6166ff 80 ff 780170 "
    "7bffffffffffffffff f6".split()
)
_OTHER_KEYS = (b"\x61c", b"\x61z", b"\x62no", b"\x61o", b"\x64code")
_CBOR_VALUES = (
    *map(
        bytes.fromhex,
        "00 17 18ff 191000 20 3bffffffffffffffff 40 4161 60 63c32800 80 a0 f4 f6 f97e00 f8ff ff fc "
        "fb0000000000000000 1c 1f 3f df 5f41614162ff 7f6161ff 9f00bf616101ffff 9f bf6161 c100 "
        "d82060".split(),
    ),
    *(count * nest + b"\x00" for count in (5, 6, 7, 900) for nest in (b"\x81", b"\xa1\0", b"\xc1")),
    *(900 * nest for nest in (b"\x9f", b"\xbf", b"\x5f")),
    *(head(major, length) for major in (2, 3, 4, 5) for length in _LENGTHS),
)


def spans(text: str) -> list[tuple[str, int, int]]:
    """Return (kind, start, end) of all in a JSON text without blanks.

    kind: "value", "key", or "part": a pair of an object, an element of a list. Raises IndexError or
    ValueError for what is no JSON.
    """
    found: list[tuple[str, int, int]] = []
    _scan(text, 0, found)
    return found


def _scan(text: str, at: int, found: list[tuple[str, int, int]]) -> int:
    if text[at] in "{[":
        end = at + 1
        while text[end] not in "}]":
            start = end
            if text[at] == "{":
                end = text.index('"', start + 1) + 1
                found.append(("key", start, end))
                end += 1
            end = _scan(text, end, found)
            found.append(("part", start, end))
            if text[end] == ",":
                end += 1
        end += 1
    elif text[at] == '"':
        end = text.index('"', at + 1) + 1
    else:
        end = at + 1
        while text[end] not in ",]}":
            end += 1
    found.append(("value", at, end))
    return end
