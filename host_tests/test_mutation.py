"""`make mutation` plants the faults that it names, in every line, the same ones in each run."""

from __future__ import annotations

import ast

import pytest
from test_phases import PURE

from tools.mutation import __main__ as mutation
from tools.mutation import report
from tools.mutation.operators import OPERATORS, Mutant, mutants, sampled
from tools.mutation.report import Result
from tools.mutation.trial import HUNG, KILLED, SURVIVED
from tools.paths import ROOT


def planted(source: str) -> set[tuple[str, str]]:
    """Return (operator, the whole source with the fault) of every mutant."""
    data = source.encode()
    return {(found.operator, found.applied(data).decode()) for found in mutants(data)}


@pytest.mark.parametrize(
    ("source", "operator", "faults"),
    [
        ("a < b", "comparison", {"a <= b"}),
        ("a == b != c", "comparison", {"a != b != c", "a == b == c"}),
        ("(a) in (b)", "comparison", {"(a) not in (b)"}),
        ("a is not b", "comparison", {"a is b"}),
        ("f(7)", "constant", {"f((8))"}),
        ("f('x', b'ab', True)", "constant",
         {"f(('mutant'), b'ab', True)", "f('x', (b'ac'), True)", "f('x', b'ab', (False))"}),
        ("f(f'{a} b')", "constant", {'f(("mutant"))'}),
        ("if a:\n    f()", "branch", {"if (not (a)):\n    f()"}),
        ("while a:\n    f()", "branch", {"while (not (a)):\n    f()"}),
        ("for a in b:\n    f()", "branch", {"for a in ():\n    f()"}),
        ("x = [a for a in b if c]", "branch", {"x = [a for a in b if (not (c))]"}),
        ("try:\n    f()\nexcept E:\n    g()\n    h()", "branch",
         {"try:\n    f()\nexcept E:\n    raise"}),
        ("f(a and b)", "logic", {"f(a or b)"}),
        ("f(not a)", "logic", {"f((a))"}),
        ("f((a) + (b))", "arithmetic", {"f((a) - (b))"}),
        ("x <<= 1", "arithmetic", {"x >>= 1"}),
        ("f('%d' % a)", "arithmetic", set()),
        ("def f():\n    return a", "statement", {"def f():\n    return (None)"}),
        ("def f():\n    return", "statement", {"def f():\n    pass"}),
        ("def f():\n    return None", "statement", {"def f():\n    pass"}),
        ("raise E('\u00fc')", "statement", {"pass"}),
        ("x: int = 1", "statement", {"pass"}),
    ],
)  # fmt: skip
def test_an_operator_plants_what_it_says(source: str, operator: str, faults: set[str]) -> None:
    assert {fault for name, fault in planted(source) if name == operator} == faults


def test_what_does_not_run_gets_no_fault() -> None:
    assert planted('"""Text."""\nimport a\nfrom a import b\nif TYPE_CHECKING:\n    f(1)\n') == set()
    assert planted("def f(a: 'int') -> 'int':\n    '''Text.'''\n    global x\n") == set()


@pytest.mark.parametrize("module", mutation.targets())
def test_every_line_that_runs_gets_a_fault_and_every_fault_is_python(module: str) -> None:
    source = (ROOT / module).read_bytes()
    chosen = sampled(mutants(source), mutation.MOST, module)
    for mutant in chosen:
        assert mutant.operator in OPERATORS
        compile(mutant.applied(source), module, "exec")
    lines = {mutant.line for mutant in chosen}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Return() | ast.Raise() | ast.Assign() | ast.AugAssign() | ast.If() | ast.For():
                assert node.lineno in lines, (module, node.lineno)
            case ast.While() | ast.Delete() | ast.Break() | ast.Continue():
                assert node.lineno in lines, (module, node.lineno)


def test_the_choice_of_a_line_is_the_same_in_every_run_and_wherever_the_line_is() -> None:
    line = b"x = a < 1 and b + 2 == c\n"
    alone = sampled(mutants(line), 2, "seed")
    later = sampled(mutants(b"# more\n\ny = 1\n" + line), 2, "seed")
    assert len(alone) == 2
    assert len({mutant.operator for mutant in alone}) == 2
    assert [report.fault(mutant) for mutant in later if mutant.line == 4] == [
        report.fault(mutant) for mutant in alone
    ]


def test_every_pure_module_is_judged() -> None:
    formats = {path.stem for path in (ROOT / "src/twinslot/formats").glob("*.py")}
    formats -= {"__init__", "bundle_words"}  # the latter is a row of bytes
    judged = {f"firmware/ota/{name}.py" for name in PURE | {"phases"}}
    judged |= {f"src/twinslot/formats/{name}.py" for name in formats}
    for path in (ROOT / "src/twinslot").rglob("*.py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if "Pure." in text:
            judged.add(path.relative_to(ROOT).as_posix())
    assert judged | {"boot.py", "firmware/ota/transfer.py"} == set(mutation.targets())


def test_the_tests_of_every_module_are_there() -> None:
    for module, tests in mutation.targets().items():
        assert (ROOT / module).is_file()
        for test in tests:
            path, _, name = test.partition("[")[0].partition("::")
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8"), test


# -- the page -------------------------------------------------------------------------------------


def result(module: str, source: str, number: int, outcome: str) -> Result:
    return Result(module, mutants(source.encode())[number], outcome)


def test_a_run_of_a_part_leaves_the_rows_of_the_other_modules() -> None:
    one = [result("a.py", "f(1 | 2)", 0, SURVIVED), result("a.py", "f(1 | 2)", 1, KILLED)]
    two = [result("b.py", "f(3)", 0, HUNG), result("b.py", "f(3)", 1, KILLED)]
    judged = {one[0].key: "equivalent: why"}
    page = report.page("", one, judged, date="2026-01-01", most=2)
    page = report.page(page, two, judged, date="2026-01-02", most=2)
    assert report.rows(page, "module") == [
        ["`a.py`", "2", "1", "0", "1", "50.0%", "2026-01-01"],
        ["`b.py`", "2", "2", "1", "0", "100.0%", "2026-01-02"],
    ]
    (survivor,) = report.rows(page, "in")
    assert survivor[0] == "`a.py:1`"
    assert survivor[3] == "equivalent: why"
    assert "Of 4 mutants 3 were killed: **75.0%**" in page
    again = [result("a.py", "f(1 | 2)", 0, KILLED)]
    page = report.page(page, again, {}, date="2026-01-03", most=2)
    assert report.rows(page, "in") == []


def test_a_survivor_that_nobody_judged_and_a_judgement_of_none_are_named() -> None:
    survivor, killed = result("a.py", "f(1)", 0, SURVIVED), result("a.py", "g(2)", 0, KILLED)
    assert report.complaints([survivor], {survivor.key: "accepted: why"}) == []
    (said,) = report.complaints([survivor], {})
    assert said.startswith("a.py:1: f(1) -> pass survives and is not judged")
    (said,) = report.complaints([killed], {killed.key: "accepted: why"})
    assert "g(2) -> pass is judged and does not survive" in said
    assert report.complaints([survivor], {("b.py", "x", "y"): "", survivor.key: ""}) == []


def test_the_page_has_the_judgements_that_are_written_down() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    judged = report.judgements()
    said = {row[3] for row in report.rows(page, "in")}
    assert said <= set(judged.values())
    assert {f"`{module}`" for module in mutation.targets()} >= {
        row[0] for row in report.rows(page, "module")
    }


def test_a_mutant_is_what_it_replaces() -> None:
    mutant = Mutant(1, "constant", "1", "(2)", "f(1)", 2, 3)
    assert mutant.applied(b"f(1)") == b"f((2))"
    assert report.fault(mutant) == "1 -> (2)"
