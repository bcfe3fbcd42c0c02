"""The faults that are planted in a source, one at a time. Pure."""

import ast
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

# In the order in which docs/testing.md names them.
OPERATORS = {
    "comparison": "`<` becomes `<=`, `==` becomes `!=`, `in` becomes `not in`, and back",
    "constant": "a number is one more, a text another, `True` becomes `False`, and back",
    "branch": "a condition is negated, a loop never entered, a handler passes its error on",
    "logic": "`and` becomes `or`, and back; `not` is removed",
    "arithmetic": "`+` becomes `-`, `<<` becomes `>>`, a bitwise `and` an `or`, and back",
    "statement": "a statement is removed; what is returned is `None`",
}

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.BitXor: "|",
}
_REMOVABLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, ast.Delete, ast.Assert)


@dataclass(frozen=True)
class Mutant:
    """A fault: bytes start..end of a source, `before`, are replaced by `after`.

    line: where it is, from 1; operator: a key of OPERATORS; text: the whole line, stripped.
    """

    line: int
    operator: str
    before: str
    after: str
    text: str
    start: int
    end: int

    def applied(self, source: bytes) -> bytes:
        """Return the source with this fault in it."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants(source: bytes) -> list[Mutant]:
    """Return every fault that the operators know for a source, by place."""
    found = _Source(source).found(ast.parse(source))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.operator))


def sampled(found: Iterable[Mutant], most: int, seed: str) -> list[Mutant]:
    """Return at most `most` mutants of each line, of different operators while there are.

    The choice depends on the seed and on the line's own text, so that it stays when other lines
    change.
    """
    lines = defaultdict(list)
    for mutant in found:
        lines[mutant.line].append(mutant)
    chosen: list[Mutant] = []
    for there in lines.values():
        random.Random(f"{seed} {there[0].text}").shuffle(there)
        seen: dict[str, int] = defaultdict(int)
        ranked = []
        for place, mutant in enumerate(there):
            ranked.append((seen[mutant.operator], place, mutant))
            seen[mutant.operator] += 1
        ranked.sort(key=lambda entry: entry[:2])
        chosen += [mutant for _, _, mutant in ranked[:most]]
    return sorted(chosen, key=lambda mutant: (mutant.start, mutant.end))


class _Source:
    """A source in which to find places of faults."""

    def __init__(self, source: bytes) -> None:
        self._bytes = source
        self._lines = source.decode().splitlines()
        lengths = (len(line) for line in source.splitlines(keepends=True))
        self._starts = [0, *accumulate(lengths)]

    def found(self, node: ast.AST) -> Iterator[Mutant]:
        """Return the faults in a node and below it."""
        yield from self._here(node)
        if isinstance(node, ast.JoinedStr):
            return  # taken as a whole: its parts have no places of their own in Python 3.11
        for name, field in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue  # types are the type checker's
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST) and not _is_passive(child):
                    yield from self.found(child)

    def _here(self, node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Compare():
                yield from self._comparisons(node)
            case ast.JoinedStr():
                yield self._fault("constant", node, node, '"mutant"')
            case ast.Constant():
                if (after := _other(node.value)) is not None:
                    yield self._fault("constant", node, node, after)
            case ast.BoolOp():
                after = "or" if isinstance(node.op, ast.And) else "and"
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield self._joint("logic", left, right, after)
            case ast.UnaryOp(op=ast.Not()):
                yield self._fault("logic", node, node, self._text(node.operand))
            case ast.BinOp() if not _is_text(node.left):
                if after := _ARITHMETIC.get(type(node.op), ""):
                    yield self._joint("arithmetic", node.left, node.right, after)
            case ast.AugAssign() if after := _ARITHMETIC.get(type(node.op), ""):
                yield self._joint("arithmetic", node.target, node.value, f"{after}=")
            case ast.If() | ast.IfExp() | ast.While():
                yield self._fault("branch", node.test, node.test, f"not ({self._text(node.test)})")
            case ast.For():
                yield self._fault("branch", node.iter, node.iter, "()")
            case ast.comprehension(ifs=[condition, *_]):
                after = f"not ({self._text(condition)})"
                yield self._fault("branch", condition, condition, after)
            case ast.ExceptHandler(body=[first, *_]) if not isinstance(first, ast.Raise):
                yield self._fault("branch", first, node.body[-1], "raise", at=node)
        yield from self._removed(node)

    def _removed(self, node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Break() | ast.Continue():
                yield self._fault("statement", node, node, "pass")
            case ast.Return(value=None | ast.Constant(value=None)):
                yield self._fault("statement", node, node, "pass")
            case ast.Return() if node.value is not None:
                yield self._fault("statement", node.value, node.value, "None", at=node)
            case ast.AnnAssign(value=ast.expr()):
                yield self._fault("statement", node, node, "pass")
            case ast.stmt() if isinstance(node, _REMOVABLE):
                yield self._fault("statement", node, node, "pass")

    def _comparisons(self, node: ast.Compare) -> Iterator[Mutant]:
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            yield self._joint("comparison", left, right, _COMPARISONS[type(operator)])

    def _joint(self, operator: str, left: ast.expr, right: ast.expr, after: str) -> Mutant:
        """Return the fault that replaces what stands between two expressions, but brackets."""
        start, end = self._span(left)[1], self._span(right)[0]
        between = self._bytes[start:end].decode()
        opened = between.rstrip("( \n\\")
        closed = opened.lstrip(") \n\\")
        start += len(opened.encode()) - len(closed.encode())
        end -= len(between.encode()) - len(opened.encode())
        return self._mutant(operator, left.end_lineno or left.lineno, start, end, after)

    def _fault(
        self, operator: str, first: ast.AST, last: ast.AST, after: str, at: ast.AST | None = None
    ) -> Mutant:
        start, end = self._span(first)[0], self._span(last)[1]
        if isinstance(first, ast.expr) and after != "()":
            after = f"({after})"
        line: int = getattr(at or first, "lineno")  # noqa: B009 - every statement has it
        return self._mutant(operator, line, start, end, after)

    def _mutant(self, operator: str, line: int, start: int, end: int, after: str) -> Mutant:
        before = self._bytes[start:end].decode()
        return Mutant(line, operator, before, after, self._lines[line - 1].strip(), start, end)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, (ast.expr, ast.stmt))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._bytes[start:end].decode()


def _other(value: object) -> str | None:
    """Return a constant that differs from `value`, as source; None where there is none."""
    match value:
        case bool():
            return repr(not value)
        case int() | float():
            return repr(value + 1)
        case str():
            return repr("mutant" if value != "mutant" else "")
        case bytes():
            return repr(value[:-1] + bytes([value[-1] ^ 1]) if value else b"mutant")
    return None


def _is_text(node: ast.expr) -> bool:
    """Return whether it is a text, to which `%` means something else."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )


def _is_passive(node: ast.AST) -> bool:
    """Return whether nothing runs there: a docstring, an import, what only types are made of."""
    match node:
        case (
            ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.FormattedValue()
        ):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Global() | ast.Nonlocal():
            return True
    return False
