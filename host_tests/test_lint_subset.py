"""`make lint` refuses what a chip with MicroPython 1.22 would not run: each rule by a violation."""

import pytest

from tools.subset import Rules, check

REFUSED = {
    # modules
    "import typing": "no module typing",
    "import dataclasses": "no module dataclasses",
    "from enum import Enum": "no module enum",
    "import contextlib": "no module contextlib",
    "import functools": "no module functools",
    "from pathlib import Path": "no module pathlib",
    "import os.path": "no os.path",
    "import zlib": "no module zlib",
    "import hmac": "no module hmac",
    "import base64": "no module base64",
    "import datetime": "no module datetime",
    "import threading": "no module threading",
    "import logging": "no module logging",
    "from __future__ import annotations": "no module __future__",
    "def late():\n    import string": "no module string",
    "try:\n    import typing\nexcept ValueError:\n    pass": "no module typing",
    # members
    "from collections import defaultdict": "no collections.defaultdict",
    "import time\ntime.monotonic()": "no time.monotonic",
    "import os\nos.replace('a', 'b')": "no os.replace",
    "import os\nos.environ['A']": "no os.environ",
    "import json\ntry:\n    x()\nexcept json.JSONDecodeError:\n    pass": "no json.JSONDecodeError",
    "from struct import Struct": "no struct.Struct",
    "import sys\nsys.exc_info()": "no sys.exc_info",
    # builtins
    "try:\n    f()\nexcept TimeoutError:\n    pass": "no builtin TimeoutError",
    "'x'.startswith(('a', 'b'))": "no tuple",
    "raise ConnectionError()": "no builtin ConnectionError",
    "raise FileNotFoundError('x')": "no builtin FileNotFoundError",
    "raise PermissionError": "no builtin PermissionError",
    "x = ExceptionGroup": "no builtin ExceptionGroup",
    "ascii('x')": "no builtin ascii",
    "format(1, 'x')": "no builtin format",
    "vars()": "no builtin vars",
    # methods and attributes
    "'x'.removeprefix('y')": "no method removeprefix",
    "b'x'.ljust(3)": "no method ljust",
    "'1'.zfill(3)": "no method zfill",
    "'x'.title()": "no method title",
    "'x'.translate({})": "no method translate",
    "(5).bit_length()": "no method bit_length",
    "memoryview(b'').tobytes()": "no method tobytes",
    "try:\n    f()\nexcept OSError as e:\n    e.with_traceback(None)": "no method with_traceback",
    "x = OSError().__cause__": "no attribute __cause__",
    "def f():\n    pass\nf.counter = 1": "functions have no attributes",
    # keywords and arguments
    "int.from_bytes(b'', byteorder='big')": "from_bytes() takes no keyword byteorder",
    "int.from_bytes(b'', 'big', True)": "from_bytes() takes 2 arguments",
    "int.from_bytes(b'')": "from_bytes() takes 2 arguments",
    "(1).to_bytes(2, byteorder='big')": "to_bytes() takes no keyword byteorder",
    "int('1', base=2)": "int() takes no keyword base",
    "sum([], start=1)": "sum() takes no keyword start",
    "zip([], [], strict=True)": "zip() takes no keyword strict",
    "'a'.split(maxsplit=1)": "split() takes no keyword maxsplit",
    "open('x', newline='')": "open() takes no keyword newline",
    "import json\njson.dumps({}, sort_keys=True)": "dumps() takes no keyword sort_keys",
    "import json\njson.dumps({}, indent=2)": "dumps() takes no keyword indent",
    "import collections\ncollections.deque((), maxlen=2)": "deque() takes no keyword maxlen",
    # syntax
    "match x:\n    case 1:\n        pass": "no match statement",
    "def f(a, /, b):\n    pass": "no positional-only parameters",
    "try:\n    f()\nexcept* OSError:\n    pass": "no except*",
    "raise ValueError from None": "no raise ... from",
    "x = {**a, 'b': 1}": "no {**a}",
    "x = [*a, 1]": "no [*a]",
    "x = (*a, 1)": "no [*a]",
    "x = {*a}": "no [*a]",
    "x = f\"{f'{y}'}\"": "no nested f-strings",
    "x = f'{(lambda: 1)()}'": "no lambda in an f-string",
    "x = f'{y!a}'": "no !a",
    "async def f():\n    return [x async for x in y]": "no async comprehensions",
    "class A(metaclass=B):\n    pass": "no class keyword metaclass",
    "class A:\n    def __init_subclass__(cls):\n        pass": "__init_subclass__ is never called",
    # habits
    "try:\n    f()\nexcept:\n    pass": "a bare except",
    "print('x')": "a library does not print",
}

ACCEPTED = {
    "modules of the chip": "import esp32, machine, network, ssl, hashlib, binascii, deflate",
    "relative imports": "from . import jobs\nfrom .errors import OtaError",
    "an import with a way out": "try:\n    import typing\nexcept ImportError:\n    typing = None",
    "a builtin of one's own": "class TimeoutError(Exception):\n    pass\nraise TimeoutError()",
    "a method of one's own": "class A:\n    def title(self):\n        return self.title()",
    "annotations, never evaluated": "def f(a: typing.Any) -> Final:\n    b: list[int] = []",
    "from_bytes as the chip takes it": "int.from_bytes(b'ab', 'big')\n(1).to_bytes(2, 'little')",
    "walrus, f-strings, dict union": "(n := 1)\nx = f'{n=} {n!r:>5} {n:{width}}'\ny = {} | {}",
    "unpacking on the left and in calls": "a, *b = [1, 2]\nf(*b, **c)",
    "yield from and nonlocal": (
        "def f():\n    x = 1\n    def g():\n        nonlocal x\n        yield from ()\n    return g"
    ),
    "separators, the one keyword of dumps": "import json\njson.dumps({}, separators=(',', ':'))",
}


@pytest.mark.parametrize(("source", "message"), REFUSED.items())
def test_what_the_chip_lacks_is_refused(source, message):
    findings = check(source, Rules())
    assert [f for f in findings if message in f.message], findings


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_the_chip_has_is_accepted(what):
    assert check(ACCEPTED[what], Rules()) == []


def test_a_finding_names_its_line():
    assert [finding.line for finding in check("x = 1\n\nimport typing", Rules())] == [3]


def test_programs_that_talk_to_people_may_print():
    assert check("print('x')", Rules(may_print=True)) == []


def test_a_rooms_own_modules_may_be_imported():
    assert check("import nor", Rules(frozenset({"nor"}))) == []
