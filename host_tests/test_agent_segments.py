"""A board takes packages in encoding 1: compressed, and as a delta against what it runs."""

from __future__ import annotations

import builtins
import importlib
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from agent_bench import IMAGE, Bench, Chip, application, pack, packed, receive, tree
from chipboard import on_load
from layout import SLOT_SIZE
from nor import PowerCut
from segments_bench import APPLICATION, FIRMWARE, Coded, Plain, package
from web_server import serving

from sim import image
from twinslot.formats import archive

SIZE = 150_000  # bytes of the new image: three segments
SMALL = 9_000
SEED = 20261130


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def base(version: str = "1.0.0") -> bytes:
    """Return the image that a Bench runs."""
    return image.firmware(version=version, size=IMAGE)


def firmware(version: str = "1.1.0", size: int = SIZE) -> bytes:
    """Return a new image, most of which is that of `base`, over and over."""
    old = (base() * 9)[: max(1000, size - 9000)]
    return image.firmware("good", version=version, size=size, modules={"old.bin": old})


def delta(result: bytes, **options: Any) -> Coded:
    """Return the component of a result over the image that a Bench runs."""
    old, at, alignments = base(), -1, [0]
    while (at := result.find(old[:64], at + 1)) >= 0:
        alignments.append(-at)
    return Coded(FIRMWARE, result, old, alignments=tuple(alignments), **options)


def check(bench: Bench, result: bytes, job: str = "job-1") -> None:
    """Check that the board runs a new image, accepted, byte by byte."""
    assert bench.service.status(job) == "SUCCEEDED", bench.service.jobs[job]
    assert bench.board.running == 1
    assert bench.board.slot_bytes(1, len(result)) == result
    assert bench.agent.running == ("1.1.0", 2)
    assert (bench.agent.image_state, bench.agent.state) == (2, "Ready")


def refused(bench: Bench, data: bytes, cause: str, words: str, *, erased: bool = False) -> None:
    """Check that a package is refused: before anything is erased, unless `erased`."""
    other = bench.board.slot_bytes(1, 200_000)
    bench.service.add("job-1", data)
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED", bench.service.jobs["job-1"]
    details = bench.service.details("job-1")
    assert (details["cause"], words in details["detail"]) == (cause, True), details
    assert bench.board.running == 0
    assert bench.agent.state == "Ready"
    if not erased:
        assert bench.board.slot_bytes(1, 200_000) == other


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets as a chip has them."""
    found: Any = importlib.import_module("cpython_sockets")
    monkeypatch.setitem(sys.modules, "socket", found.socket)


# -- what arrives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [256, 4096, 16384])
def test_a_compressed_image_becomes_the_image(bench: Bench, block: int) -> None:
    result = firmware() + noise(1, 20_000)
    bench.service.add("job-1", package("1.1.0", 2, Coded(FIRMWARE, result)))
    for _ in range(4):
        if bench.boot(block_size=block) is None and bench.step(5000) is None:
            break
    check(bench, result)


def test_a_delta_becomes_the_image(bench: Bench) -> None:
    result = firmware()
    data = package("1.1.0", 2, delta(result))
    assert 3 * len(data) < len(package("1.1.0", 2, Coded(FIRMWARE, result)))
    bench.service.add("job-1", data)
    bench.until_quiet()
    check(bench, result)


def test_the_next_delta_is_against_the_image_that_came_by_one(bench: Bench) -> None:
    first = firmware()
    bench.service.add("job-1", package("1.1.0", 2, delta(first)))
    bench.until_quiet()
    second = first[:100_000] + noise(2, 777) + first[100_000:]
    coded = Coded(FIRMWARE, second, first, alignments=(0, -777))
    bench.service.add("job-2", package("1.2.0", 3, coded))
    bench.until_quiet()
    assert bench.service.status("job-2") in ("SUCCEEDED", "FAILED")
    detail = bench.service.details("job-2").get("detail", "")
    assert "refuses to boot" in detail, "all of it came, and is no image any more"
    assert bench.board.slot_bytes(0, len(second)) == second


def test_a_compressed_application_becomes_the_directory(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    files = application("1.1.0", more={"data.bin": noise(3, 90_000)})
    data = package("1.1.0", 2, Coded(APPLICATION, archive.build(files)))
    assert chip.update("job-1", data) == "SUCCEEDED", chip.service.jobs
    assert tree(tmp_path / chip.entered) == files


def running(folder: Path, files: dict[str, bytes]) -> Chip:
    """Return a board that runs an application out of a directory."""
    chip = Chip(folder)
    assert chip.update("job-0", pack("1.1.0", 2, files)) == "SUCCEEDED"
    return chip


FILES = application("1.1.0", more={f"part_{n}.py": noise(n, 6000) for n in range(20)})


def changed() -> tuple[dict[str, bytes], Coded]:
    """Return new files, of which a line in the middle is another, and the delta to them."""
    files = {**FILES, "part_12.py": FILES["part_12.py"][:3000] + b"!" * 1000}
    old, new = archive.build(FILES), archive.build(files)
    return files, Coded(APPLICATION, new, old, alignments=(0, len(old) - len(new)))


def test_unchanged_files_of_an_application_do_not_travel(tmp_path: Path) -> None:
    chip = running(tmp_path, FILES)
    files, coded = changed()
    data = package("1.2.0", 3, coded)
    assert len(data) <= 8192
    assert chip.update("job-1", data) == "SUCCEEDED", chip.service.jobs
    assert tree(tmp_path / chip.entered) == files
    assert chip.agent.running == ("1.2.0", 3)


def test_both_halves_may_come_by_encoding_1_and_one_of_them_raw(tmp_path: Path) -> None:
    new = firmware("1.2.0")
    for number, parts in enumerate(
        (
            lambda code: (delta(new), code),
            lambda code: (code, delta(new)),
            lambda code: (Plain(FIRMWARE, new), code),
            lambda code: (delta(new), Plain(APPLICATION, code.result)),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        chip = running(folder, FILES)
        files, coded = changed()
        data = package("1.2.0", 3, *parts(coded))
        assert chip.update("job-1", data) == "SUCCEEDED", chip.service.jobs
        assert tree(folder / chip.entered) == files
        assert chip.board.slot_bytes(chip.board.running, len(new)) == new


@pytest.mark.usefixtures("sockets")
def test_http_brings_it(bench: Bench) -> None:
    result = firmware()
    with serving(package("1.1.0", 2, delta(result))) as server:
        bench.service.add("job-1", server.data)
        bench.service.offer_http("job-1", f"{server.url}?X-Amz-Expires=60&X-Amz-Signature=1")
        for _ in range(4):
            if bench.boot() is None and bench.step(20_000) is None:
                break
    check(bench, result)


@pytest.mark.usefixtures("sockets")
@pytest.mark.parametrize("road", ["file", "address", "cable"])
def test_what_no_job_brings_may_be_encoded(tmp_path: Path, road: str) -> None:
    bench = Bench(tmp_path)
    result = firmware()
    data = package("1.1.0", 2, delta(result))
    with serving(data) as server:
        bench.boot()
        if road == "file":
            (tmp_path / "x.ota").write_bytes(data)
            bench.agent.install(str(tmp_path / "x.ota"))
        else:
            bench.agent.install(server.url if road == "address" else Wire(data))
        while bench.step(20_000) is not None:
            bench.boot()
    assert bench.agent.journal.history()[0]["status"] == "SUCCEEDED"
    assert bench.board.slot_bytes(1, len(result)) == result


class Wire:
    """A source as the cable is one (`repl_install.Cable`)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, view: Any) -> int:
        """Fill `view`."""
        view[:] = self._data[offset : offset + len(view)]
        return len(view)

    def close(self) -> None:
        """Nothing is open."""


def test_a_step_does_a_bounded_piece_of_a_delta(bench: Bench) -> None:
    """Three stored blocks have the whole image; a step writes two sectors of it at most."""
    bench.service.add("job-1", package("1.1.0", 2, delta(firmware())))
    bench.boot()
    most = before = 0
    for _ in range(3000):
        bench.client.deliver()
        before = bench.board.flash.operations
        if not isinstance(bench.board.run(bench.agent.step), int):
            break
        if bench.in_hand and bench.in_hand.state == "receiving":
            most = max(most, bench.board.flash.operations - before)
    sector = 1 + 4096 // 256
    assert sector <= most <= 2 * sector + 20, "NVS has a note now and then"


# -- a fault on the way ----------------------------------------------------------------------------


def test_a_block_that_is_damaged_on_the_way_comes_again(bench: Bench) -> None:
    result = firmware() + noise(1, 20_000)
    data = package("1.1.0", 2, Coded(FIRMWARE, result))
    bad = bytearray(data)
    bad[4096 + 3 * 4096 + 5] ^= 1
    tries: list[int] = []

    class Faulty(Wire):
        def read(self, offset: int, view: Any) -> int:
            at = 4096 + 3 * 4096
            self._data = data
            if offset <= at < offset + len(view) and len(tries) < 2:
                tries.append(offset)
                self._data = bytes(bad)
            return super().read(offset, view)

    for block in (1024, 4096):
        tries.clear()
        bench.boot(block_size=block)
        bench.agent.install(Faulty(data))
        assert bench.step(20_000) is not None
        assert len(tries) == 2
        bench.board.flash.cut_at = None
        assert bench.board.slot_bytes(1, len(result)) == result
        bench = Bench(bench.board.folder / str(block))


def test_a_block_that_is_damaged_three_times_ends_the_job(bench: Bench) -> None:
    result = firmware() + noise(1, 20_000)
    data = bytearray(package("1.1.0", 2, Coded(FIRMWARE, result)))
    data[4096 + 3 * 4096 + 5] ^= 1
    said = "stored block 3 has another hash, 3 times"
    refused(bench, bytes(data), "encoding", said, erased=True)


def test_memory_that_fails_within_a_segment_costs_that_segment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = firmware() + noise(1, 20_000)
    bench.service.add("job-1", package("1.1.0", 2, Coded(FIRMWARE, result)))
    blocks = []

    def failing(module: Any) -> None:
        real = module.sha256

        def sha256(*data: bytes) -> Any:
            blocks.append(data)
            if len(blocks) == 25:
                raise MemoryError
            return real(*data)

        module.sha256 = sha256

    bench.boot()
    on_load("payload", failing)
    lacks = 0
    for _ in range(4000):
        bench.client.deliver()
        try:
            if not isinstance(bench.board.run(bench.agent.step), int):
                break
        except MemoryError:
            lacks += 1
    assert lacks == 1
    bench.until_quiet()
    check(bench, result)


# -- power that fails ------------------------------------------------------------------------------


def update(bench: Bench, data: bytes, cut_at: int | None = None) -> bool:
    """Carry out one update from a fresh board, cut at an operation. Says whether the cut came."""
    bench.service.add("job-1", data)
    bench.board.flash.cut_at = cut_at
    was_cut = False
    for _ in range(12):
        ended = bench.boot() or bench.step()
        was_cut = was_cut or isinstance(ended, PowerCut)
        if ended is None:
            return was_cut
    raise AssertionError(f"cut at operation {cut_at}: the board resets without end")


def sweep(folder: Path, result: bytes, data: bytes, chosen: Any) -> None:
    """Cut the update at the operations that `chosen(how many)` names."""
    folder.mkdir(exist_ok=True)
    first = Bench(folder / "count")
    assert not update(first, data)
    for at in chosen(int(first.board.flash.operations)):
        bench = Bench(folder / str(at))
        assert update(bench, data, at), f"operation {at} never came"
        check(bench, result)


def some(count: int) -> Any:
    return lambda last: random.Random(SEED).sample(range(1, last + 1), count)


def test_a_cut_at_sampled_operations_of_a_delta_ends_in_the_new_version(tmp_path: Path) -> None:
    result = firmware(size=70_000)
    sweep(tmp_path, result, package("1.1.0", 2, delta(result)), some(16))


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, 70_000])
def test_a_cut_at_every_operation_of_a_delta_ends_in_the_new_version(
    tmp_path: Path, size: int
) -> None:
    result = firmware(size=size)
    step = 1 if size == SMALL else 3
    sweep(
        tmp_path,
        result,
        package("1.1.0", 2, delta(result)),
        lambda last: range(1, last + 1, step),
    )


def test_after_a_cut_the_update_goes_on_at_the_border_of_a_segment(bench: Bench) -> None:
    result = firmware()[:4096] + noise(1, SIZE)
    data = package("1.1.0", 2, Coded(FIRMWARE, result))
    source = Wire(data)
    bench.boot(checkpoint_blocks=1)
    (bench.board.folder / "x.ota").write_bytes(data)
    bench.agent.install(str(bench.board.folder / "x.ota"))
    receive(bench, 36)
    assert source.size
    erased = bench.board.flash.operations
    bench.boot()
    seen = []
    for _ in range(400):
        bench.agent.step()
        if bench.agent.progress:
            seen.append(bench.agent.progress[0])
    assert min(n for n in seen if n > 1) >= 1 + 32, "two segments are not fetched again"
    bench.step()
    assert bench.board.slot_bytes(1, len(result)) == result
    assert bench.board.flash.operations > erased


# -- what is refused from the head -----------------------------------------------------------------


def test_a_board_without_the_base_refuses_before_anything_is_erased(bench: Bench) -> None:
    other = base("0.9.0")
    data = package("1.1.0", 2, Coded(FIRMWARE, firmware(), other))
    refused(bench, data, "base", "the delta is for another image than that in ota_0")


@pytest.mark.parametrize("size", [len(base()) + 1, len(base()) - 1, 1, SLOT_SIZE - 4095, 1 << 40])
def test_a_base_of_another_size_is_refused(bench: Bench, size: int) -> None:
    refused(
        bench,
        package("1.1.0", 2, delta(firmware(), keys={9: size})),
        "base",
        "the delta is for another image",
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({7: None}, "not 32 bytes"),
        ({7: b"short"}, "not 32 bytes"),
        ({7: 7}, "not 32 bytes"),
        ({8: b"short"}, "not 32 bytes"),
        ({8: None}, "do not fit"),
        ({9: None}, "do not fit"),
        ({9: 0}, "do not fit"),
        ({9: -1}, "do not fit"),
        ({9: b"9"}, "do not fit"),
    ],
)
def test_impossible_keys_are_refused(bench: Bench, keys: dict[int, Any], words: str) -> None:
    refused(bench, package("1.1.0", 2, delta(firmware(), keys=keys)), "encoding", words)


def test_a_length_that_is_no_whole_blocks_is_refused(bench: Bench) -> None:
    coded = delta(firmware())
    length = coded.made()[0][3]
    coded.keys = {3: length - 1}
    refused(bench, package("1.1.0", 2, coded), "encoding", "no whole blocks")


def test_keys_of_encoding_1_are_refused_in_a_raw_component(bench: Bench) -> None:
    result = firmware()
    plain = Coded(FIRMWARE, result, keys={2: 0, 3: len(result)}, payload=result)
    refused(bench, package("1.1.0", 2, plain), "bad_package", "unknown key 7")


def test_an_image_for_another_chip_or_too_large_is_refused(bench: Bench) -> None:
    coded = delta(firmware(), keys={6: 5})
    refused(bench, package("1.1.0", 2, coded), "wrong_target", "for chip 5")
    bench.service.jobs.clear()
    coded = delta(firmware(), keys={4: SLOT_SIZE - 4095})
    refused(bench, package("1.1.0", 2, coded), "too_large", "the slot takes")


def test_a_board_without_the_extension_says_so_before_anything_is_erased(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refusing(name: str, *arguments: Any) -> Any:
        if name == "ota.image_base":
            raise ImportError("no module named 'ota.image_base'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refusing)
    data = package("1.1.0", 2, delta(firmware()))
    refused(bench, data, "extension", "no extension segments")


def test_an_application_that_was_changed_by_hand_is_no_base(tmp_path: Path) -> None:
    for number, change in enumerate(("other", "gone", "list")):
        folder = tmp_path / str(number)
        folder.mkdir()
        chip = running(folder, FILES)
        _, coded = changed()
        path = folder / chip.entered
        if change == "other":
            (path / "part_3.py").write_bytes(b"x" + FILES["part_3.py"][1:])
        elif change == "gone":
            (path / "part_3.py").unlink()
        else:
            (path / ".files").write_text("?")
        spare = {path.name for path in folder.iterdir()}
        chip.service.add("job-1", package("1.2.0", 3, coded))
        chip.until_quiet()
        details = chip.service.details("job-1")
        assert details["cause"] == "base", details
        assert {path.name for path in folder.iterdir()} == spare


def test_a_flat_board_has_no_base_for_an_application(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    _, coded = changed()
    chip.service.add("job-1", package("1.2.0", 3, coded))
    chip.until_quiet()
    assert chip.service.details("job-1")["cause"] == "base"


# -- what a signer got wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "noise", "more", "other"])
def test_a_payload_that_is_wrong_ends_the_job_with_what_runs_untouched(
    bench: Bench, how: str
) -> None:
    result = firmware()
    payload = bytes(delta(result).made()[1])
    right = b"".join(payload[at : at + 4064] for at in range(0, len(payload), 4096))
    wrong = {
        "cut": right[:3000],
        "noise": right[:2000] + noise(5, 9000),
        "more": right + bytes(4064),
        "other": right,
    }[how]
    coded = delta(result, payload=wrong)
    cause = "encoding"
    if how == "other":
        coded = delta(result, payload=wrong, keys={5: bytes(32)})
        cause = "bad_image"
    refused(bench, package("1.1.0", 2, coded), cause, "", erased=True)
    bench.service.add("job-2", packed("1.1.0", 2))
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED", "the full package follows"


def test_a_board_keeps_the_record_of_an_encoded_image(bench: Bench) -> None:
    """The trailer has keys 7 to 9, and verifies at each start."""
    data = package("1.1.0", 2, delta(firmware()))
    bench.service.add("job-1", data)
    bench.until_quiet()
    record = data[: 8 + int.from_bytes(data[4:8], "big")]
    assert bench.board.slot_bytes(1, SLOT_SIZE)[-4096:].startswith(record + b"\xff")
    assert bench.boot() is None
    assert bench.agent.running == ("1.1.0", 2)
