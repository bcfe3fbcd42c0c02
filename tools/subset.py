"""The Python that a chip with MicroPython 1.22 runs, as a check of the syntax tree.

mpy-cross refuses what its parser does not know, mypy what the stubs do not list. This check refuses
what both let through and the chip does not: modules, builtins, methods, keyword arguments and
syntax that newer versions, other ports or CPython have. host_tests/test_lint_subset.py proves every
rule by a violation.
"""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.paths import ROOT

# Importable on an ESP32 with 1.22: built in, or frozen by the port's manifest.
CHIP_MODULES = frozenset(
    """
    _thread aioespnow apa106 array asyncio binascii bluetooth btree builtins cmath collections
    cryptolib deflate dht ds18x20 errno esp esp32 espnow flashbdev framebuf gc hashlib heapq
    inisetup io json lwip machine math micropython mip neopixel network ntptime onewire os platform
    random re requests select socket ssl struct sys time uctypes umqtt upysh urequests webrepl
    websocket
    """.split()
)

# Of sim/chip: gives CPython what MicroPython has, and is only imported there.
CPYTHON = frozenset({"chip_cpython.py", "cpython_sockets.py", "deflate.py", "shims.py"})

# What MicroPython 1.22 has of CPython's builtins, and of its own.
CHIP_BUILTINS = frozenset(
    """
    ArithmeticError AssertionError AttributeError BaseException EOFError Ellipsis Exception False
    GeneratorExit ImportError IndentationError IndexError KeyError KeyboardInterrupt LookupError
    MemoryError NameError None NotImplemented NotImplementedError OSError OverflowError RuntimeError
    StopAsyncIteration StopIteration SyntaxError SystemExit True TypeError UnicodeError ValueError
    ViperTypeError ZeroDivisionError __build_class__ __debug__ __file__ __import__ __name__ abs all
    any bin bool bytearray bytes callable chr classmethod compile complex delattr dict dir divmod
    enumerate eval exec execfile filter float frozenset getattr globals hasattr hash help hex id
    input int isinstance issubclass iter len list locals map max memoryview min next object oct open
    ord pow print property range repr reversed round set setattr slice sorted staticmethod str sum
    super tuple type zip
    """.split()
)

# Members that CPython's modules have and the chip's of the same name have not.
MISSING_MEMBERS = frozenset(
    """
    binascii.crc_hqx collections.ChainMap collections.Counter collections.UserDict
    collections.abc collections.defaultdict hashlib.blake2b hashlib.new hashlib.sha384
    hashlib.sha512 io.TextIOBase json.JSONDecodeError json.JSONDecoder json.JSONEncoder
    os.environ os.fsync os.getenv os.getpid os.makedirs os.path os.replace os.scandir os.walk
    random.sample random.shuffle re.IGNORECASE re.findall re.finditer re.fullmatch re.split
    socket.create_connection socket.timeout struct.Struct struct.iter_unpack sys.exc_info
    sys.getsizeof sys.intern time.monotonic time.perf_counter time.process_time time.strftime
    time.strptime
    """.split()
)

# Methods that take a tuple of texts in CPython.
AFFIXES = frozenset({"startswith", "endswith"})

# Methods of CPython's types that MicroPython's lack.
MISSING_METHODS = frozenset(
    """
    add_note as_integer_ratio bit_count bit_length capitalize casefold expandtabs format_map
    is_integer isalnum isascii isdecimal isidentifier isnumeric isprintable istitle ljust maketrans
    move_to_end nbytes removeprefix removesuffix rjust swapcase title tobytes tolist translate
    with_traceback zfill
    """.split()
)
MISSING_ATTRIBUTES = frozenset({"__cause__", "__context__", "__doc__", "__traceback__"})
MISSING_SPECIAL = frozenset({"__class_getitem__", "__init_subclass__", "__prepare__"})

# The keyword arguments that these take; of calls not named here all are let through.
_STRING_METHODS = """
    decode encode endswith join lstrip replace rpartition rsplit rstrip split startswith strip
    """
KEYWORDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_STRING_METHODS.split(), frozenset()),
    **dict.fromkeys(
        "bytearray bytes complex deque float hexlify int round str sum".split(), frozenset()
    ),
    **dict.fromkeys(
        "from_bytes namedtuple pack pow sha1 sha256 to_bytes unpack zip".split(), frozenset()
    ),
    "dump": frozenset({"separators"}),
    "dumps": frozenset({"separators"}),
    "enumerate": frozenset({"start"}),
    "max": frozenset({"default", "key"}),
    "min": frozenset({"default", "key"}),
    "open": frozenset({"buffering", "encoding", "mode"}),
    "print": frozenset({"end", "file", "sep"}),
    "sort": frozenset({"key", "reverse"}),
    "sorted": frozenset({"key", "reverse"}),
}
# MicroPython ignores what these take beyond so many positional arguments, or wants exactly so many.
POSITIONAL = {"from_bytes": (2, 2), "to_bytes": (2, 2)}


@dataclass(frozen=True)
class Finding:
    """One violation: `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class Rules:
    """What holds for one room: its modules beside the chip's, and whether it may print."""

    modules: frozenset[str] = field(default=frozenset())
    may_print: bool = False


def check(source: str, rules: Rules) -> list[Finding]:
    """Return what in `source` a chip with MicroPython 1.22 would not run, in order of lines."""
    tree = ast.parse(source)
    checker = _Checker(rules, _names_defined(tree))
    checker.visit(tree)
    return sorted(checker.findings, key=lambda finding: finding.line)


def check_tree() -> list[str]:
    """Check everything in the work tree that runs on a chip; return `path:line: message` lines."""
    return [
        f"{path.relative_to(ROOT)}:{finding.line}: {finding.message}"
        for path, rules in _files()
        for finding in check(path.read_text(encoding="utf-8"), rules)
    ]


def chip_files() -> list[Path]:
    """Return every file that runs on a chip, or stands for one under MicroPython."""
    return [path for path, _ in _files()]


def _files() -> Iterator[tuple[Path, Rules]]:
    # An application's two modules are looked for by name.
    own = {path.stem for path in (ROOT / "firmware").iterdir()} | {"app", "selftest"}
    firmware = [ROOT / "boot.py", *sorted((ROOT / "firmware").rglob("*.py"))]
    for path in firmware:
        may_print = path.name in ("boot.py", "main.py", "console.py")
        yield path, Rules(frozenset(own), may_print)
    for folder in (
        "bench/on_board",
        "src/twinslot/board/on_board",
    ):  # what is brought there for a while
        for path in sorted((ROOT / folder).glob("*.py")):
            yield path, Rules(frozenset(own), may_print=True)
    chip = [path for path in sorted((ROOT / "sim/chip").rglob("*.py")) if path.name not in CPYTHON]
    # The simulated chip is made of modules that import each other, and runs in the unix port.
    beside = frozenset({*own, *(path.stem for path in chip), "__main__", "boot", "tls", "vfs"})
    for path in chip:
        yield path, Rules(beside, may_print=True)


def _names_defined(tree: ast.AST) -> frozenset[str]:
    """Return every name that the module binds somewhere: those are not builtins there."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return frozenset(names)


class _Checker(ast.NodeVisitor):
    def __init__(self, rules: Rules, defined: frozenset[str]) -> None:
        self.findings: list[Finding] = []
        self._rules = rules
        self._defined = defined
        self._functions: set[str] = set()
        self._guards = 0
        self._fields = 0

    def _refuse(self, node: ast.AST, message: str) -> None:
        self.findings.append(Finding(getattr(node, "lineno", 1), message))

    # --- modules ----------------------------------------------------------------------

    def _module(self, node: ast.AST, name: str) -> None:
        """Refuse a module that is not there, unless an `except ImportError` provides for that."""
        top = name.split(".")[0]
        if not self._guards and top not in CHIP_MODULES | self._rules.modules:
            self._refuse(node, f"no module {top} on the chip")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._module(node, alias.name)
            self._member(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return
        module = node.module or ""
        self._module(node, module)
        self._member(node, module)
        for alias in node.names:
            self._member(node, f"{module}.{alias.name}")

    def _member(self, node: ast.AST, dotted: str) -> None:
        if not self._guards and dotted in MISSING_MEMBERS:
            self._refuse(node, f"no {dotted} on the chip")

    def visit_Try(self, node: ast.Try) -> None:
        caught = {
            name.id if isinstance(name, ast.Name) else name.attr
            for handler in node.handlers
            if handler.type
            for name in ast.walk(handler.type)
            if isinstance(name, ast.Name | ast.Attribute)
        }
        # Whatever such a statement tries is an attempt, and says what else is done.
        guard = bool(caught & {"AttributeError", "ImportError"})
        self._guards += guard
        for part in (*node.body, *node.handlers):
            self.visit(part)
        self._guards -= guard
        for part in (*node.orelse, *node.finalbody):
            self.visit(part)

    # --- names ----------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        name = node.id
        if not isinstance(node.ctx, ast.Load) or name in self._defined or name in CHIP_BUILTINS:
            return
        if hasattr(builtins, name) and not self._guards:
            self._refuse(node, f"no builtin {name} on the chip")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name):
            self._member(node, f"{node.value.id}.{node.attr}")
        if node.attr in MISSING_ATTRIBUTES:
            self._refuse(node, f"no attribute {node.attr} on the chip")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id in self._functions
            ):
                self._refuse(node, "functions have no attributes on the chip")
        self.generic_visit(node)

    # --- calls ----------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = ""
        if isinstance(function, ast.Name) and function.id not in self._defined:
            name = function.id
        elif isinstance(function, ast.Attribute) and not _is_self(function.value):
            name = function.attr
            if name in MISSING_METHODS:
                self._refuse(node, f"no method {name} on the chip")
            if name in AFFIXES and node.args and not _is_text(node.args[0]):
                self._refuse(node, f"{name}() takes one text, no tuple, before MicroPython 1.23")
        if name == "print" and isinstance(function, ast.Name) and not self._rules.may_print:
            self._refuse(node, "a library does not print")
        for keyword in node.keywords:
            if name in KEYWORDS and keyword.arg is not None and keyword.arg not in KEYWORDS[name]:
                self._refuse(node, f"{name}() takes no keyword {keyword.arg} on the chip")
        if name in POSITIONAL and not node.keywords:
            least, most = POSITIONAL[name]
            if not least <= len(node.args) <= most:
                self._refuse(node, f"{name}() takes {most} arguments on the chip")
        self.generic_visit(node)

    # --- syntax ----------------------------------------------------------------------

    def visit_Match(self, node: ast.Match) -> None:
        self._refuse(node, "no match statement on the chip")
        self.generic_visit(node)

    def visit_TryStar(self, node: ast.AST) -> None:
        self._refuse(node, "no except* on the chip")
        self.generic_visit(node)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        self._refuse(node, "no type statement on the chip")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is None:
            self._refuse(node, "a bare except also stops Ctrl-C and reset; name what is caught")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.cause is not None:
            self._refuse(node, "no raise ... from on the chip")
        self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        if node.posonlyargs:
            self._refuse(node.posonlyargs[0], "no positional-only parameters on the chip")
        # Annotations are parsed and never evaluated there.
        for default in (*node.defaults, *node.kw_defaults):
            if default is not None:
                self.visit(default)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.add(node.name)
        if node.name in MISSING_SPECIAL:
            self._refuse(node, f"{node.name} is never called on the chip")
        if getattr(node, "type_params", None):
            self._refuse(node, "no type parameters on the chip")
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for keyword in node.keywords:
            self._refuse(node, f"no class keyword {keyword.arg} on the chip")
        if getattr(node, "type_params", None):
            self._refuse(node, "no type parameters on the chip")
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        if None in node.keys:
            self._refuse(node, "no {**a} on the chip")
        self.generic_visit(node)

    def _display(self, node: ast.List | ast.Tuple | ast.Set) -> None:
        store = isinstance(getattr(node, "ctx", None), ast.Store)
        if not store and any(isinstance(element, ast.Starred) for element in node.elts):
            self._refuse(node, "no [*a] on the chip")
        self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        self._display(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._display(node)

    def visit_Set(self, node: ast.Set) -> None:
        self._display(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self._refuse(node.target, "no async comprehensions on the chip")
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        if self._fields:
            self._refuse(node, "no lambda in an f-string on the chip")
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if self._fields:
            self._refuse(node, "no nested f-strings on the chip")
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        if node.conversion == ord("a"):
            self._refuse(node, "no !a in an f-string on the chip")
        # The format's own fields, as in {x:{width}}, are fine; they are left alone.
        self._fields += 1
        self.visit(node.value)
        self._fields -= 1


def _is_text(node: ast.expr) -> bool:
    """Say whether an argument may be one text, as far as can be seen."""
    return not isinstance(node, ast.Tuple)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")
