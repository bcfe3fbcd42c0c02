"""The forms of one package: as it is, compressed, or as the difference to what a board runs.

All of them have the package's product, version, sequence and dates, and a board gets the same from
each. Which form a board gets is decided by its report alone. Pure.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from twinslot.client.shadow import Reported
from twinslot.formats.component import APPLICATION, FIRMWARE, RAW, SEGMENTS

MOST_DELTAS = 4
"""Deltas of one package: each takes half a minute to make. Boards with a rarer base get another."""


@dataclass(frozen=True)
class Form:
    """How a package travels. `bases`: kind of component and SHA-256, of those that are deltas."""

    encoding: int = RAW
    bases: tuple[tuple[int, str], ...] = ()

    @property
    def words(self) -> str:
        """The form for people."""
        if self.bases:
            return "the difference to what they run"
        return "compressed" if self.encoding == SEGMENTS else "as it is"


def form_of(
    said: Reported | None,
    kinds: Collection[int],
    known: Collection[tuple[int, str]],
    asked: int | None = None,
) -> Form:
    """The smallest form that a board can take, by its report.

    kinds: of the package's components; known: kind and SHA-256 (hexadecimal) of the bases that the
    fleet has; asked: RAW or SEGMENTS by a person, who then knows more than a board without report.
    """
    reads = said is not None and bool((said.encodings or 0) & 1 << SEGMENTS)
    if asked == RAW or not (reads or asked == SEGMENTS):
        return Form()
    runs = {} if said is None else {FIRMWARE: said.image, APPLICATION: said.files}
    found = [(kind, runs[kind]) for kind in sorted(kinds) if kind in runs]
    return Form(SEGMENTS, tuple(base for base in found if base in known))


def chosen(
    reports: Mapping[str, Reported | None],
    kinds: Collection[int],
    known: Collection[tuple[int, str]],
    asked: int | None = None,
) -> dict[Form, list[str]]:
    """The boards by their form, raw first, then the most frequent. Parameters as of `form_of`."""
    forms = {thing: form_of(said, kinds, known, asked) for thing, said in reports.items()}
    counts = Counter(form for form in forms.values() if form.bases)
    kept = {form for form, _ in counts.most_common(MOST_DELTAS)}
    boards: dict[Form, list[str]] = {}
    for thing, form in forms.items():
        usual = Form(form.encoding)
        boards.setdefault(form if form in kept else usual, []).append(thing)
    return dict(sorted(boards.items(), key=_order))


def _order(item: tuple[Form, Sequence[str]]) -> tuple[int, int, int]:
    form, things = item
    return form.encoding, len(form.bases), -len(things)
