"""What is printed at the REPL fits 79 columns, and a rollback begins only where it may."""

from hashlib import sha256

import hardware
import heads
from chip_bench import Bench, image
from expect import raises
from ota import console, outcome, roll_back, slots
from ota import journal as phases
from ota.errors import ImageError, StateError, UnknownKeyError
from ota.journal import Journal
from ota.slots import ABORTED, INVALID, NEW, VALID

KEYS = {heads.kid(heads.KEY): heads.public(heads.KEY)}


def printed(action, *arguments):
    """Return what `action` prints at the REPL, as lines."""
    out = []
    console.print = lambda text, end="\n": out.append(text + end)
    try:
        action(*arguments)
    finally:
        del console.print
    return "".join(out).split("\n")[:-1]


# -- in 79 columns ----------------------------------------------------------------------------


def test_long_sentences_are_broken_between_words():
    words = " ".join(["word%d" % i for i in range(40)])
    lines = printed(console.say, words, "    ")
    assert all(len(line) <= 79 for line in lines)
    assert all(line.startswith("    word") for line in lines[1:])
    assert " ".join([line.strip() for line in lines]) == words


def test_what_has_no_blank_is_broken_anywhere():
    lines = printed(console.say, "x" * 200, "  ")
    assert [len(line) for line in lines] == [79, 79, 46]


def test_a_text_of_79_columns_stays_on_its_line():
    assert printed(console.say, "x" * 79) == ["x" * 79]
    assert printed(console.say, "x" * 75 + " abc") == ["x" * 75 + " abc"]
    assert printed(console.say, "x" * 75 + " abcd") == ["x" * 75, "abcd"]


def concluded(count, job="job-%d", detail="it did not answer", version=None):
    """Return the journal of a board on which so many updates have failed."""
    Bench()
    journal = Journal()
    for number in range(1, count + 1):
        journal.job, journal.sequence = job % number, number
        outcome.conclude(
            journal, "FAILED", {"cause": "self_test", "detail": detail, "version": version}
        )
    return journal


class Agent:
    def __init__(self, journal):
        self.journal = journal


def test_the_last_eight_results_are_kept_newest_first():
    lines = printed(console.history, Agent(concluded(9)))
    assert lines[:2] == ["FAILED  job job-9  sequence 9  self_test", " " * 10 + "it did not answer"]
    assert [line.split()[2] for line in lines[::2]] == ["job-%d" % n for n in range(9, 1, -1)]


LONG_JOB = "a-job-whose-name-is-as-long-as-the-service-will-take-it--64---%d"


def test_eight_results_are_kept_however_long_and_the_newest_is_told_in_full():
    detail = "the detail of a failure is kept as well, " * 4
    entries = concluded(12, LONG_JOB, detail, version="10.20.30-rc.1").history()
    assert [entry["sequence"] for entry in entries] == list(range(12, 4, -1))
    assert entries[0]["detail"] == detail[:96]
    kept = entries[-1]["detail"]
    assert len(kept) >= 24 and detail.startswith(kept)
    assert all(entry["job"] == LONG_JOB % entry["sequence"] for entry in entries)
    assert all(len(line) <= 79 for line in printed(console.history, None))


def test_details_that_fit_are_not_shortened():
    entries = concluded(8, detail="x" * 90).history()
    assert [entry["detail"] for entry in entries] == ["x" * 90] * 8


def test_where_nothing_can_be_shortened_the_oldest_results_go():
    entries = concluded(8, LONG_JOB, version="v" * 128).history()
    assert 5 <= len(entries) < 8
    assert [entry["sequence"] for entry in entries] == list(range(8, 8 - len(entries), -1))


def test_an_older_result_stays_unsent_when_a_rollback_ends():
    journal = concluded(1)
    journal.finish(origin=phases.PERSON)
    outcome.conclude(journal, "SUCCEEDED", {})
    assert Journal().result["job"] == "job-1"
    assert [entry["origin"] for entry in Journal().history()] == ["person", "job"]


# -- where a rollback may lead ----------------------------------------------------------------


def bench(sequence=1, key=heads.KEY):
    """Return a bench whose slot 1 holds a verified image of this sequence, and its Slots."""
    board = Bench()
    other = image(b"\x32\x54\xcd\xab" + b"older")
    board.put(1, other)
    size = len(other)
    firmware = heads.Map((1, 0), (2, 0), (3, size), (4, size), (5, sha256(other).digest()), (6, 0))
    manifest = heads.MANIFEST.but(k3="0.9.0", k4=sequence, k7=[firmware])
    record = heads.framed(heads.cose(heads.encode(manifest), key=key))[:500]
    slots.Slots().other.write_trailer([record], "", bytearray(4096))
    return board, slots.Slots()


def find(pair, journal=None, sequence=5):
    return roll_back.find(pair, journal or Journal(), sequence, KEYS, bytearray(4096))


def refusal(pair, journal=None, sequence=5):
    return str(raises(StateError, find, pair, journal, sequence))


def states(pair, running, other):
    """Let otadata say this of the slots; `active` follows from it."""
    pair.state = lambda slot: running if slot is pair.running else other
    return pair


def test_an_older_verified_image_may_be_returned_to():
    _, pair = bench()
    for other in (VALID, None, 0xFFFFFFFF):
        assert find(states(pair, VALID, other)).version == "0.9.0"


def test_what_was_rolled_back_or_refused_may_not():
    _, pair = bench()
    for other in (ABORTED, INVALID):
        assert "did not prove itself here" in refusal(states(pair, VALID, other))


def test_what_was_never_accepted_may_not():
    _, pair = bench(sequence=6)
    assert "never accepted here" in refusal(pair)
    journal = Journal()
    journal.keep_accepted(6, 0, 0, "")
    assert find(pair, journal).sequence == 6
    _, pair = bench(sequence=6)
    assert "never accepted here" in refusal(states(pair, NEW, VALID), Journal(), 6)


def test_a_slot_without_a_trailer_may_not():
    Bench()
    pair = slots.Slots()
    assert "no trailer" in refusal(pair)
    journal = Journal()
    journal.phase = phases.RECEIVING
    assert "filled by an update" in refusal(pair, journal)


def test_a_strangers_image_may_not():
    _, pair = bench(key=heads.STRANGER)
    raises(UnknownKeyError, find, pair)


def test_a_bootloader_without_rollback_may_not_be_asked():
    _, pair = bench()
    journal = Journal()
    journal.no_rollback = True
    assert "no rollback" in refusal(pair, journal)


def test_an_image_under_test_is_not_left_that_way():
    board, pair = bench()
    pair.other.set_boot()
    assert board.boot() == 1
    assert "ota_1 is under test" in refusal(slots.Slots())


def test_otadata_that_names_another_slot_needs_a_reset_first():
    _, pair = bench()
    pair.other.set_boot()
    assert "machine.reset() comes first" in refusal(slots.Slots())


def test_what_begins_is_journalled_before_it_boots():
    board, pair = bench()
    ticks = []
    made = find(pair)
    assert board.run(lambda: begin(pair, made, ticks)) == hardware.HARD
    assert len(ticks) == 10
    journal = Journal()
    assert (journal.phase, journal.origin, journal.slot) == ("ACTIVATED", "person", "ota_1")
    assert (journal.sequence, journal.tries, journal.accepted()[0]) == (1, 1, 5)
    assert board.records()[1] == (2, NEW)


def begin(pair, made, ticks):
    buf = bytearray(4096)
    roll_back.begin(pair, Journal(), made, ("1.1.0", 5), buf, lambda: ticks.append(1))


def test_what_differs_from_its_manifest_is_not_begun():
    board, pair = bench()
    made = find(pair)
    board.flash.program(pair.other.address + 40, b"\x00")
    raises(ImageError, begin, pair, made, [])
    assert Journal().lost
    assert board.records()[1] is None
