"""Firmware images with code that calls, and data that points, laid out by a toy linker.

So a change of one function or text moves what lies behind it, and addresses all over the image.
"""

import random
import struct
from dataclasses import dataclass, field

import esp_images

from twinslot.formats.image import DESCRIPTOR_MAGIC

DATA, CODE = 0x3F400020, 0x400D0020
_DESCRIPTOR = struct.pack("<I", DESCRIPTOR_MAGIC).ljust(256, b"\0")


@dataclass
class Function:
    """Plain instructions, the functions that it calls, and the texts that it loads, by number."""

    plain: list[bytes]
    calls: list[int]
    texts: list[int]


@dataclass
class Program:
    """Functions and texts, which `image` lays out."""

    functions: list[Function]
    texts: list[bytes]
    chip: int = 0
    version: bytes = field(default=b"MicroPython v1.26.0 on 2025-08-09\0\0\0")

    def image(self) -> bytes:
        """The image, with addresses as they come out."""
        data, places = bytearray(_DESCRIPTOR + self.version), []
        for text in self.texts:
            places.append(DATA + len(data))
            data += text.ljust(len(text) // 4 * 4 + 4, b"\0")
        entries, at = [], CODE
        for one in self.functions:
            entries.append(at + 4 * len(one.texts))
            at += 4 * len(one.texts) + -(-len(self._code(one, 0, [])) // 4) * 4
        code = bytearray()
        for one, entry in zip(self.functions, entries, strict=True):
            code += b"".join(places[text].to_bytes(4, "little") for text in one.texts)
            code += self._code(one, entry, entries)
            code += bytes(-len(code) % 4)
        segments = [(DATA, bytes(data)), (CODE, bytes(code))]
        return esp_images.wrapped(segments, chip=self.chip)

    def _code(self, one: Function, entry: int, entries: list[int]) -> bytes:
        """The instructions of a function at an address; calls lead nowhere without entries."""
        code = bytearray()
        for number, plain in enumerate(one.plain):
            code += plain
            pc = entry + len(code)
            if number < len(one.texts):
                pool = entry - 4 * (len(one.texts) - number)
                distance = (pool >> 2) - ((pc + 3) >> 2)
                code += (0xA1 | (distance & 0xFFFF) << 8).to_bytes(3, "little")
            elif number - len(one.texts) < len(one.calls):
                target = entries[one.calls[number - len(one.texts)]] if entries else entry
                distance = (target >> 2) - ((pc >> 2) + 1)
                code += (0x25 | (distance & 0x3FFFF) << 6).to_bytes(3, "little")
        return bytes(code)


def program(functions: int = 400, texts: int = 150, seed: int = 1) -> Program:
    """A program of random functions and texts."""
    chance = random.Random(seed)

    def plain() -> bytes:
        if chance.random() < 0.4:
            return bytes((chance.choice((8, 9, 10, 11, 12, 13)) | chance.randrange(16) << 4,)) + (
                chance.randbytes(1)
            )
        return bytes((chance.choice((0, 2, 3, 6, 7)) | chance.randrange(16) << 4,)) + (
            chance.randbytes(2)
        )

    made = [
        Function(
            [plain() for _ in range(chance.randrange(20, 120))],
            [chance.randrange(functions) for _ in range(chance.randrange(2, 12))],
            [chance.randrange(texts) for _ in range(chance.randrange(6))],
        )
        for _ in range(functions)
    ]
    words = [chance.randbytes(6).hex().encode() for _ in range(300)]
    return Program(
        made, [b" ".join(chance.choices(words, k=chance.randrange(2, 12))) for _ in range(texts)]
    )
