"""`make format`: lay the pages' paragraphs and lists out at one width, as ruff does with code.

Code blocks, tables and headings stay as they are. Standard library only.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.paths import ROOT

WIDTH = 100  # columns; also ruff's and .editorconfig's

_ITEM = re.compile(r"(\s*)([-*]|\d+\.)\s+")
_AS_IT_IS = re.compile(r"\s*(\||#|<!--|!\[|\[[^]]+\]: )")
# A code span is one word, whatever blanks it has.
_WORD = re.compile(r"(?:`[^`]*`|\S)+")
# These begin a list or a heading where they begin a line.
_NEVER_FIRST = re.compile(r"[-+*>|]|#+|\d+\.")


def pages() -> list[Path]:
    """Return every page of the project: README, CHANGELOG, CONTRIBUTING and docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def wrapped(text: str) -> str:
    """Return a page with its paragraphs and list items filled to WIDTH columns."""
    return "".join(f"{line}\n" for block in _blocks(text) for line in block)


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the page's blocks in order: filled paragraphs, and other lines as they are."""
    paragraph: list[str] = []
    fence = False
    for line in text.splitlines():
        mark = line.lstrip().startswith("```")
        if fence or mark or not line.strip() or _AS_IT_IS.match(line):
            yield _filled(paragraph)
            paragraph = []
            fence ^= mark
            yield [line]
        elif _ITEM.match(line):
            yield _filled(paragraph)
            paragraph = [line]
        else:
            paragraph.append(line)
    yield _filled(paragraph)


def _filled(paragraph: list[str]) -> list[str]:
    """Fill one paragraph or list item; later lines stand below the item's text."""
    if not paragraph:
        return []
    item = _ITEM.match(paragraph[0])
    indent = paragraph[0][: len(paragraph[0]) - len(paragraph[0].lstrip())]
    first = item.group() if item else indent
    text = " ".join([paragraph[0][len(first) :], *paragraph[1:]])
    lines = [first]
    for word in _WORD.findall(text):
        line = lines[-1]
        if line == first:
            lines[-1] = line + word
        elif len(line) + 1 + len(word) <= WIDTH or _NEVER_FIRST.fullmatch(word):
            lines[-1] = f"{line} {word}"
        else:
            lines.append(" " * len(first) + word)
    return lines


def main() -> int:
    """Wrap every page in place; name those that changed."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if wrapped(text) != text:
            page.write_text(wrapped(text), encoding="utf-8")
            sys.stdout.write(f"wrapped {page.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
