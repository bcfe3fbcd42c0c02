"""A board takes a new set of keys with a package, by docs/package-format.md, "Sets of keys"."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import hardware
import nvs
import pytest
from agent_bench import KEY, Bench, Chip, application, pack, packed
from layout import SLOT_SIZE
from nor import PowerCut

from twinslot.formats.trailer import read_trailer
from twinslot.formats.trust_set import RELEASE, REVOKED, ROOT, Entry, TrustSet, make_set
from twinslot.trust import keys

ROOT_KEY, SECOND, STRANGER = keys.generate(), keys.generate(), keys.generate()
LAST = 2**31 - 1
IN_2099 = 4_070_908_800


def entry(key: keys.PrivateKey, roles: int) -> Entry:
    return Entry(keys.public_bytes(key.public_key()), roles)


def kid(key: keys.PrivateKey) -> str:
    return keys.kid(key.public_key()).hex()


APART = make_set(1, [entry(KEY, RELEASE), entry(ROOT_KEY, ROOT)])
"""The first set: the key that boards have signs packages, another one admits sets."""
REVOKES = make_set(2, [entry(KEY, REVOKED), entry(ROOT_KEY, ROOT), entry(SECOND, RELEASE)])
"""The second one: the first key was stolen."""
RETIRES = make_set(2, [entry(ROOT_KEY, ROOT), entry(SECOND, RELEASE)])


def update(bench: Bench, job: str, data: bytes) -> tuple[str, str]:
    """Send a package and let the board come to rest. Returns status and cause."""
    bench.service.add(job, data)
    bench.until_quiet()
    return bench.service.status(job), bench.service.details(job).get("cause", "")


def said(bench: Bench, job: str) -> str:
    return str(bench.service.details(job)["detail"])


def accepted(bench: Bench, job: str, data: bytes) -> None:
    assert update(bench, job, data) == ("SUCCEEDED", ""), bench.service.details(job)


def refused(bench: Bench, job: str, data: bytes, cause: str, words: str) -> None:
    """The package is refused from its head, before anything is erased."""
    slots = [bench.board.slot_bytes(index, SLOT_SIZE) for index in (0, 1)]
    assert update(bench, job, data) == ("FAILED", cause), bench.service.details(job)
    assert words in said(bench, job)
    assert [bench.board.slot_bytes(index, SLOT_SIZE) for index in (0, 1)] == slots


def blob(bench: Bench) -> dict[str, Any]:
    stored = nvs.Store(bench.board.flash).get("ota", "trust")
    return json.loads(bytes(stored[1:])) if stored else {}


def number(bench: Bench) -> int:
    stored = nvs.Store(bench.board.flash).get("ota", "trust_version")
    return int.from_bytes(stored[1:], "little") if stored else 0


def copy(bench: Bench) -> Path:
    return bench.board.folder / "etc" / "trust.json"


def holds(bench: Bench, trust: TrustSet, floor: int) -> None:
    """NVS, its number and the copy say that this set is in force."""
    for stored in (blob(bench), json.loads(copy(bench).read_text())):
        assert (stored["set"], stored["digest"]) == (trust.version, trust.digest[:8].hex())
        assert stored["floor"] == floor
    assert number(bench) == trust.version


def forget(bench: Bench, *names: str) -> None:
    """Take entries of NVS away, and the copy if it is named."""
    for name in names:
        if name == "copy":
            copy(bench).unlink()
        else:
            nvs.Store(bench.board.flash).set("ota", name, b"")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A board that has the first set: sequence 2, signed by the only key that it had."""
    bench = Bench(tmp_path)
    accepted(bench, "first", packed("1.1.0", 2, trust=APART))
    return bench


@pytest.fixture
def plain(tmp_path: Path) -> Bench:
    """A board that was never given a set."""
    return Bench(tmp_path)


def test_a_set_holds_with_the_acceptance_of_its_package(bench: Bench) -> None:
    holds(bench, APART, 2)
    refused(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY), "unknown_key", "takes a release key")
    accepted(bench, "job-3", packed("1.2.0", 3))
    holds(bench, APART, 3)


def test_a_board_without_a_set_goes_on_as_ever(plain: Bench) -> None:
    accepted(plain, "job-1", packed("1.1.0", 2))
    seal = plain.board.slot_bytes(plain.board.running, SLOT_SIZE)[-32:].hex()
    assert blob(plain) == {"v": 1, "floor": 2, "created": 1_790_000_000, "seal": seal}
    assert number(plain) == 0
    assert not copy(plain).exists()


def test_valid_first_then_the_set_then_the_success(plain: Bench, monkeypatch: Any) -> None:
    order: list[str] = []
    plain.service.add("job-1", packed("1.1.0", 2, trust=APART))
    for _ in range(8):
        plain.boot()
        journal: Any = importlib.import_module("ota.journal")
        keep = journal.keep_trust

        def kept(fields: Any, keep: Any = keep) -> None:
            slots: Any = importlib.import_module("ota.slots")
            valid = "VALID" if slots.Slots().proved else "PENDING"
            order.append(f"set {fields['set']}, {valid}")
            order.append(plain.service.status("job-1"))
            keep(fields)

        monkeypatch.setattr(journal, "keep_trust", kept)
        if plain.step() is None:
            break
    assert plain.service.status("job-1") == "SUCCEEDED"
    assert order == ["set 1, VALID", "IN_PROGRESS"]


def rejected(bench: Bench, job: str, data: bytes) -> None:
    """The application takes the package, and says no to it under test."""
    ota: Any = importlib.import_module("ota")

    def callback(event: str, _detail: Any) -> None:
        if event == ota.EVENT_ACTIVATE:
            bench.agent.activate()
        elif event == ota.EVENT_START_TEST:
            stored = blob(bench)["set"]
            bench.agent.reject(f"set {stored} holds")

    bench.service.add(job, data)
    bench.until_quiet(callback)
    assert bench.service.status(job) == "FAILED"
    assert said(bench, job) == "set 1 holds", "under test"


def test_the_old_set_holds_under_test_and_after_a_rollback(bench: Bench) -> None:
    bad = packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES)
    rejected(bench, "job-2", bad)
    holds(bench, APART, 2)
    accepted(bench, "job-3", packed("1.3.0", 4))
    accepted(bench, "job-4", bad)
    holds(bench, REVOKES, 3)


def test_a_link_that_failed_may_be_replaced_by_another_with_the_same_set(bench: Bench) -> None:
    rejected(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    accepted(bench, "job-3", packed("1.2.1", 4, key=ROOT_KEY, trust=REVOKES))
    holds(bench, REVOKES, 4)


@pytest.mark.parametrize("key", [KEY, SECOND, STRANGER], ids=["release", "new", "stranger"])
def test_only_a_root_key_of_the_present_set_admits_a_set(
    bench: Bench, key: keys.PrivateKey
) -> None:
    words = "takes a root key" if key is KEY else f"set 1, which does not know key {kid(key)}"
    refused(bench, "job-2", packed("1.2.0", 3, key=key, trust=REVOKES), "unknown_key", words)


def test_the_version_of_a_set_only_rises(bench: Bench) -> None:
    again = packed("1.2.0", 3, key=ROOT_KEY, trust=APART)
    refused(bench, "job-2", again, "same_sequence", "has set 1 of keys already")
    accepted(bench, "job-3", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    older = packed("1.3.0", 4, key=ROOT_KEY, trust=APART)
    refused(bench, "job-4", older, "old_sequence", "set 1 of keys is older than set 2")


def test_a_root_undoes_the_last_sequence_of_all_and_a_created_of_2099(bench: Bench) -> None:
    accepted(bench, "thief", packed("6.6.6", LAST, created=IN_2099))
    refused(bench, "job-2", packed("1.2.0", 3), "old_sequence", f"is below {LAST}")
    accepted(bench, "job-3", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    holds(bench, REVOKES, 3)
    assert blob(bench)["created"] == 1_790_000_000
    again = packed("6.6.7", LAST, created=IN_2099)
    refused(bench, "thief-2", again, "unknown_key", "a revoked key in set 2")
    accepted(bench, "job-4", packed("1.3.0", 4, key=SECOND))
    assert bench.agent.running == ("1.3.0", 4)


def test_what_a_revoked_key_signed_is_voided_and_nothing_goes_back_to_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(bench, "thief", packed("6.6.6", LAST))
    theirs = bench.board.running
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    assert bench.board.running != theirs
    assert bench.board.slot_bytes(theirs, 4096) == b"\xff" * 4096, "no bootloader starts it"
    assert bench.board.slot_bytes(theirs, SLOT_SIZE)[-4096:] == b"\xff" * 4096
    bench.board.run(lambda: __import__("ota").rollback(True))
    assert "holds no verified image" in capsys.readouterr().out
    bench.boot()
    assert bench.agent.running == ("1.2.0", 3)


def test_what_a_retired_key_signed_stays_bootable_and_nothing_else_of_it_comes(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(bench, "job-2", packed("1.2.0", 3))
    accepted(bench, "job-3", packed("1.3.0", 4, key=ROOT_KEY, trust=RETIRES))
    refused(bench, "job-4", packed("1.4.0", 5), "unknown_key", "a retired key in set 2")
    bench.board.run(lambda: __import__("ota").rollback(True))
    assert "holds version 1.2.0" in capsys.readouterr().out
    bench.until_quiet()
    assert bench.agent.running == ("1.2.0", 3)
    holds(bench, RETIRES, 4)
    accepted(bench, "job-5", packed("1.5.0", 6, key=SECOND))


def test_nobody_goes_back_above_the_floor_that_a_root_has_reset(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(bench, "thief", packed("6.6.6", LAST))
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=RETIRES))
    bench.board.run(lambda: __import__("ota").rollback(True))
    assert "was never accepted here" in capsys.readouterr().out
    holds(bench, RETIRES, 3)


def test_a_running_record_of_a_retired_key_raises_no_floor(bench: Bench) -> None:
    accepted(bench, "job-2", packed("1.2.0", 9))
    # The running record is by a key that the second set does not list.
    found = blob(bench)
    stored: Any = importlib.import_module("ota.keyset")
    before = stored.of_stored(found)
    item = {1: 2, 2: [{1: -7, 2: one.public, 3: one.roles} for one in RETIRES.entries]}
    kids = list(before.keys)
    fields = stored.stored(stored.following(before, item, kids, 1, 1))
    copy(bench).write_text(json.dumps(fields))
    bench.boot()
    assert blob(bench)["set"] == 2
    assert blob(bench)["floor"] == 1
    accepted(bench, "job-3", packed("1.3.0", 4, key=SECOND))


def test_a_set_that_revokes_the_key_of_what_would_stay_is_refused(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    accepted(chip, "first", pack("1.1.0", 2, application("1.1.0"), behaviour="good", trust=APART))
    alone = pack("1.2.0", 3, application("1.2.0"), key=ROOT_KEY, trust=REVOKES)
    refused(chip, "job-2", alone, "unknown_key", f"set 2 revokes key {kid(KEY)}")
    assert "bring the firmware" in said(chip, "job-2")
    firmware = pack("1.2.0", 3, behaviour="good", key=ROOT_KEY, trust=REVOKES)
    refused(chip, "job-3", firmware, "unknown_key", f"set 2 revokes key {kid(KEY)}")
    both = application("1.2.0")
    accepted(chip, "job-4", pack("1.2.0", 3, both, behaviour="good", key=ROOT_KEY, trust=REVOKES))
    holds(chip, REVOKES, 3)
    accepted(chip, "job-5", pack("1.3.0", 4, application("1.3.0"), key=SECOND))
    assert chip.entered


def test_a_set_that_revokes_the_key_that_signs_it_is_refused(bench: Bench) -> None:
    own = make_set(2, [entry(ROOT_KEY, REVOKED), entry(SECOND, RELEASE | ROOT)])
    data = packed("1.2.0", 3, key=ROOT_KEY, trust=own)
    refused(bench, "job-2", data, "unknown_key", f"revokes key {kid(ROOT_KEY)}")


def test_a_second_root_replaces_one_that_was_lost(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    two = [entry(KEY, RELEASE), entry(ROOT_KEY, ROOT), entry(SECOND, ROOT)]
    accepted(bench, "first", packed("1.1.0", 2, trust=make_set(1, two)))
    without = make_set(2, [entry(KEY, RELEASE), entry(ROOT_KEY, REVOKED), entry(SECOND, ROOT)])
    accepted(bench, "job-2", packed("1.2.0", 3, key=SECOND, trust=without))
    later = make_set(3, [entry(KEY, RELEASE), entry(ROOT_KEY, ROOT)])
    data = packed("1.3.0", 4, key=ROOT_KEY, trust=later)
    refused(bench, "job-3", data, "unknown_key", "a revoked key in set 2")
    accepted(bench, "job-4", packed("1.3.0", 4))


def test_a_key_once_revoked_stays_so_though_a_later_set_does_not_list_it(bench: Bench) -> None:
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    third = make_set(3, [entry(ROOT_KEY, ROOT), entry(SECOND, RELEASE)])
    accepted(bench, "job-3", packed("1.3.0", 4, key=ROOT_KEY, trust=third))
    refused(bench, "job-4", packed("1.4.0", 5), "unknown_key", "a revoked key in set 3")
    fourth = make_set(4, [entry(ROOT_KEY, ROOT), entry(KEY, RELEASE)])
    data = packed("1.4.0", 5, key=ROOT_KEY, trust=fourth)
    refused(bench, "job-5", data, "unknown_key", "is revoked here for good")


def test_a_set_that_breaks_a_rule_of_the_format_is_refused(bench: Bench) -> None:
    from twinslot.formats import cbor, component, package
    from twinslot.formats.head import protected_header, signed_bytes

    content = component.firmware_content(b"\xe9" + bytes(4999))
    fields = {1: 1, 2: "demo-board", 3: "9", 4: 9, 5: 1, 7: [component.described(content)]}
    for number, item in enumerate((1, {}, {1: 2}, {1: 2, 2: []})):
        payload = cbor.dumps({**fields, 8: item})
        protected = protected_header(keys.kid(ROOT_KEY.public_key()))
        signature = keys.sign(ROOT_KEY, signed_bytes(protected, payload))
        data = package.assemble([content], protected, payload, signature)
        refused(bench, f"job-{number}", data, "bad_package", "set of keys")


@pytest.mark.parametrize("lost", [("trust",), ("copy",), ("trust", "trust_version")])
def test_blob_and_copy_stand_in_for_each_other(bench: Bench, lost: tuple[str, ...]) -> None:
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    forget(bench, *lost)
    bench.boot()
    holds(bench, REVOKES, 3)
    refused(bench, "job-3", packed("1.3.0", 4), "unknown_key", "a revoked key in set 2")
    accepted(bench, "job-4", packed("1.3.0", 4, key=SECOND))


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b'{"v":1,"set":9}', b"\xff\xfe"])
def test_a_damaged_blob_or_copy_counts_as_none(bench: Bench, damaged: bytes) -> None:
    whole = copy(bench).read_bytes()
    copy(bench).write_bytes(damaged)
    bench.boot()
    holds(bench, APART, 2)
    assert json.loads(copy(bench).read_bytes()) == json.loads(whole)
    nvs.Store(bench.board.flash).set("ota", "trust", b"b", damaged)
    bench.boot()
    holds(bench, APART, 2)


def test_the_higher_version_counts_then_the_higher_floor(bench: Bench) -> None:
    old = copy(bench).read_bytes()
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    newest = copy(bench).read_bytes()
    copy(bench).write_bytes(old)
    bench.boot()
    holds(bench, REVOKES, 3)
    nvs.Store(bench.board.flash).set("ota", "trust", b"b", old)
    copy(bench).write_bytes(newest)
    bench.boot()
    holds(bench, REVOKES, 3)
    higher = {**json.loads(newest), "floor": 7}
    copy(bench).write_text(json.dumps(higher))
    bench.boot()
    holds(bench, REVOKES, 7)


def test_without_blob_and_copy_the_set_of_what_runs_is_taken(bench: Bench) -> None:
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    forget(bench, "trust", "copy")
    bench.boot()
    holds(bench, REVOKES, 3)
    refused(bench, "job-3", packed("1.3.0", 4), "unknown_key", "set 2")
    accepted(bench, "job-4", packed("1.3.0", 4, key=SECOND))


@pytest.mark.parametrize("lost", [("trust", "copy"), ("trust", "copy", "trust_version")])
def test_a_set_that_is_gone_is_a_refusal_with_a_sentence_and_never_version_0(
    bench: Bench, lost: tuple[str, ...]
) -> None:
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    accepted(bench, "job-3", packed("1.3.0", 4, key=SECOND))  # its trailer has no set
    forget(bench, *lost)
    bench.boot()
    words = "had set 2 of keys and has lost it" if len(lost) == 2 else "cannot be believed by"
    for index, key in enumerate((KEY, ROOT_KEY, SECOND)):
        data = packed("1.4.0", 5 + index, key=key)
        refused(bench, f"job-{4 + index}", data, "settings", words)


def test_an_older_copy_does_not_bring_an_older_set_back(bench: Bench) -> None:
    old = copy(bench).read_bytes()
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    accepted(bench, "job-3", packed("1.3.0", 4, key=SECOND))
    forget(bench, "trust")
    copy(bench).write_bytes(old)
    bench.boot()
    refused(bench, "job-4", packed("1.4.0", 5), "settings", "had set 2 of keys and has lost it")


def test_a_full_nvs_leaves_the_set_to_the_copy(bench: Bench, monkeypatch: Any) -> None:
    store = nvs.Store.set

    def full(self: Any, namespace: str, key: str, kind: bytes, value: bytes = b"") -> None:
        if key.startswith("trust"):
            raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        store(self, namespace, key, kind, value)

    monkeypatch.setattr(nvs.Store, "set", full)
    accepted(bench, "job-2", packed("1.2.0", 3, key=ROOT_KEY, trust=REVOKES))
    assert "NVS is full" in said(bench, "job-2")
    refused(bench, "job-3", packed("1.3.0", 4), "unknown_key", "a revoked key in set 2")
    monkeypatch.undo()
    bench.boot()
    holds(bench, REVOKES, 3)


@pytest.mark.parametrize("trust", [None, APART], ids=["no set", "a set"])
def test_a_start_verifies_the_trailer_that_was_accepted_last_no_more_and_every_other_one(
    plain: Bench, trust: TrustSet | None
) -> None:
    accepted(plain, "job-1", packed("1.1.0", 2, trust=trust))
    board = plain.board
    running = board.running
    end = bytearray(board.slot_bytes(running, SLOT_SIZE)[-4096:])
    last = read_trailer(bytes(end))[0][0].record
    end[len(last) - 1] ^= 1  # of the signature
    end[-32:] = hashlib.sha256(end[:-32]).digest()
    board.flash_slot(running, board.slot_bytes(running, SLOT_SIZE - 4096), bytes(end))
    plain.boot()
    assert not plain.agent.board.believed
    assert plain.agent.running[1] == 0, "its sequence is not believed, either"
    for stored in (blob(plain), json.loads(copy(plain).read_text()) if trust else {}):
        assert stored.get("seal") != end[-32:].hex(), "what is not verified is never known"
    known = {**blob(plain), "seal": end[-32:].hex()}
    nvs.Store(board.flash).set("ota", "trust", b"b", json.dumps(known).encode())
    plain.boot()
    assert plain.agent.board.believed
    assert plain.agent.running == ("1.1.0", 2)


def test_what_a_start_knows_is_known_of_a_valid_image_alone(bench: Bench) -> None:
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.boot(activate=True)
    bench.step()
    known = blob(bench)["seal"]
    bench.boot()  # the test begins
    assert known != bench.board.slot_bytes(bench.board.running, SLOT_SIZE)[-32:].hex()
    assert blob(bench)["seal"] == known
    bench.step()
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert blob(bench)["seal"] == bench.board.slot_bytes(bench.board.running, SLOT_SIZE)[-32:].hex()


def test_the_status_names_the_set(bench: Bench) -> None:
    repl_status: Any = importlib.import_module("ota.repl_status")
    assert "Keys      set 1" in repl_status.lines(bench.agent)


def rotation(folder: Path, cut_at: int | None) -> tuple[Bench, bool]:
    """A board that a thief's image runs on takes a set that revokes his key; the power is cut."""
    bench = Bench(folder)
    accepted(bench, "first", packed("1.1.0", 2, size=9000, trust=APART))
    accepted(bench, "thief", packed("6.6.6", LAST, size=9000))
    bench.service.add("job-1", packed("1.2.0", 3, size=9000, key=ROOT_KEY, trust=REVOKES))
    bench.board.flash.operations = 0
    bench.board.flash.cut_at = cut_at
    was_cut = False
    for _ in range(12):
        ended = bench.boot(checkpoint_blocks=2) or bench.step()
        was_cut = was_cut or isinstance(ended, PowerCut)
        if isinstance(ended, PowerCut):
            runs = bench.board.running
            new = hashlib.sha256(bench.board.slot_bytes(runs, 9000)).digest()
            assert blob(bench).get("set") in (1, 2), "the old set or the new one, always"
            if blob(bench)["set"] == 2:
                assert new != thief_image(bench), "the new set never comes with the old image"
        if ended is None:
            return bench, was_cut
    raise AssertionError(f"cut at operation {cut_at}: the board resets without end")


def thief_image(bench: Bench) -> bytes:
    from sim import image

    return hashlib.sha256(image.firmware(version="6.6.6", size=9000)[:9000]).digest()


def is_rotated(bench: Bench) -> None:
    assert bench.agent.running == ("1.2.0", 3)
    assert bench.service.status("job-1") == "SUCCEEDED"
    holds(bench, REVOKES, 3)
    other = 1 - bench.board.running
    assert bench.board.slot_bytes(other, 4096) == b"\xff" * 4096
    bench.service.add("job-2", packed("6.6.7", LAST, size=9000))
    bench.step()
    assert bench.service.details("job-2")["cause"] == "unknown_key"


def test_a_cut_in_a_rotation_ends_in_the_new_set(tmp_path: Path) -> None:
    whole, _ = rotation(tmp_path / "count", None)
    last = int(whole.board.flash.operations)
    is_rotated(whole)
    # The last operations are the acceptance, its set and the voided slot.
    for cut_at in range(max(1, last - 40), last + 1):
        bench, was_cut = rotation(tmp_path / str(cut_at), cut_at)
        assert was_cut, f"operation {cut_at} never came"
        is_rotated(bench)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(4))
def test_a_cut_at_every_operation_of_a_rotation_ends_in_the_new_set(
    tmp_path: Path, part: int
) -> None:
    whole, _ = rotation(tmp_path / "count", None)
    for cut_at in range(1 + part, int(whole.board.flash.operations) + 1, 4):
        bench, was_cut = rotation(tmp_path / str(cut_at), cut_at)
        assert was_cut
        is_rotated(bench)
        assert hardware.board is not None
