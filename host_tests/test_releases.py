"""Releases of MicroPython are compared as numbers, and written as people write them."""

from __future__ import annotations

import pytest

from twinslot.formats import releases


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("v1.22.0", (1, 22)),
        ("v1.26.1", (1, 26)),
        ("v1.27.0-preview.12", (1, 27)),
        ("v2.0", (2, 0)),
        ("1.26.1", (1, 26)),
        ("2.4", None),
        ("7c1f5e3b29-dirty", None),
        ("version v1.26", None),
        ("v1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_version_names_its_release(text: str | None, release: tuple[int, int] | None) -> None:
    assert releases.of(text) == release


def test_a_release_is_written_with_a_point() -> None:
    assert releases.text((1, 22)) == "1.22"
    assert releases.text([1, 9]) == "1.9"


def test_1_22_is_the_oldest_and_1_26_finds_its_file_system_by_itself() -> None:
    assert releases.text(releases.OLDEST) == "1.22"
    assert releases.text(releases.FINDS_FILES) == "1.26"
    assert releases.OLDEST < (1, 23) < releases.FINDS_FILES < (1, 100)
