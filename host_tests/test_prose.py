"""How the project's text reads: plain words, short sentences, one width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import prose
from tools.paths import ROOT

# Each has a plainer word that every reader knows.
OLD_WORDS = re.compile(
    r"\b(shall|anew|hence|thereof|therein|whereby|wherein|whence|herein|heretofore|that which)\b",
    re.IGNORECASE,
)
CODE = ("bench", "board_tests", "demo", "firmware", "host_tests", "sim", "src", "tools")
FENCED = re.compile(r"^\s*```.*?^\s*```$", re.DOTALL | re.MULTILINE)
PAGES = {page.relative_to(ROOT).as_posix(): page for page in prose.pages()}


def texts() -> Iterator[Path]:
    yield from PAGES.values()
    yield from ROOT.glob("*.py")
    yield ROOT / "Makefile"
    for folder in CODE:
        yield from (ROOT / folder).rglob("*.py")


def sentences(page: str) -> Iterator[str]:
    """Return the sentences of a page's paragraphs and list items."""
    text = re.sub(r"^\|.*$", "", FENCED.sub("", page), flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. ))", text):
        yield from re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split()))


def test_no_text_has_a_word_that_plain_english_does_without() -> None:
    for path in texts():
        if path != Path(__file__).resolve():
            lines = path.read_text(encoding="utf-8").splitlines()
            found = [line.strip() for line in lines if OLD_WORDS.search(line)]
            assert not found, path.relative_to(ROOT)


def test_a_docstring_of_the_host_names_its_noun() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert not re.search(r'"""Wh(at|o) ', path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("page", PAGES)
def test_a_sentence_has_one_semicolon_at_most(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    assert not [sentence for sentence in sentences(text) if sentence.count(";") > 1]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_width_that_make_format_gives_it(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    assert prose.wrapped(text) == text, "`make format` wraps it"


def test_code_and_pages_have_one_width() -> None:
    width = prose.WIDTH
    assert f"line-length = {width}\n" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    editor = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    assert re.findall(r"^max_line_length = (\d+)$", editor, re.MULTILINE) == [str(width)]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a\nb\n", "a b\n"),
        ("- a\n  b\n- c\n", "- a b\n- c\n"),
        ("1. a\n   b\n", "1. a b\n"),
        ("# a\nb\n| c |\n", "# a\nb\n| c |\n"),
        ("```sh\na\n  b\n```\n", "```sh\na\n  b\n```\n"),
        (f"{'x' * 95} `a b c`\n", f"{'x' * 95}\n`a b c`\n"),
        (f"- {'x' * 95} - yy\n", f"- {'x' * 95} -\n  yy\n"),
    ],
)
def test_paragraphs_and_items_are_filled_and_all_else_stays(text: str, filled: str) -> None:
    assert prose.wrapped(text) == filled
