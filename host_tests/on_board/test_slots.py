"""What otadata, image header and trailer say is read as ESP-IDF and the package format write it."""

from binascii import crc32, unhexlify

import heads
from chip_bench import Bench, image
from expect import raises
from hardware import PWRON
from layout import find
from ota import installed, package, slots
from ota.compat import finish
from ota.errors import FlashError, ImageError, StateError
from ota.slots import ABORTED, INVALID, NEW, PENDING, VALID

OTADATA = find("otadata")[3]
# sequence: CRC of its record; ESP-IDF takes it over the four bytes of the sequence alone.
CRCS = {1: 0x4743989A, 2: 0x55F63774}


def record(sequence, state, crc=None):
    """Return an otadata record: sequence, label (unused), state, CRC."""
    crc = CRCS[sequence] if crc is None else crc
    return (
        sequence.to_bytes(4, "little")
        + b"\xff" * 20
        + state.to_bytes(4, "little")
        + crc.to_bytes(4, "little")
    )


def with_otadata(first=None, second=None):
    """Return the Slots of a board that runs ota_0 and then finds these records."""
    bench = Bench()
    for sector, content in ((0, first), (1, second)):
        bench.flash.erase(OTADATA // 4096 + sector)
        if content:
            bench.flash.program(OTADATA + sector * 4096, content)
    return slots.Slots()


def states(here):
    return here.state(here.running), here.state(here.other)


def test_the_crc_of_an_otadata_record_is_that_of_esp_idf():
    for sequence in CRCS:
        assert crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF) == CRCS[sequence]


def test_a_record_belongs_to_the_slot_its_sequence_counts_to():
    for state in (NEW, PENDING, VALID, INVALID, ABORTED):
        assert states(with_otadata(record(1, state))) == (state, None)
        assert states(with_otadata(None, record(1, state))) == (state, None)
        assert states(with_otadata(record(2, state))) == (None, state)
        assert states(with_otadata(record(1, VALID), record(2, state))) == (VALID, state)


def test_blank_otadata_has_no_records():
    here = with_otadata()
    assert states(here) == (None, None)
    assert not here.active_is_running
    assert not here.pending


def test_a_record_with_a_wrong_crc_is_none():
    for crc in (0, 0xFFFFFFFF, CRCS[1] ^ 1, CRCS[2]):
        assert states(with_otadata(record(1, VALID, crc))) == (None, None)


def test_the_active_record_is_the_highest_that_is_neither_invalid_nor_aborted():
    assert with_otadata(record(1, VALID)).active_is_running
    assert with_otadata(record(1, PENDING)).active_is_running
    assert not with_otadata(record(1, VALID), record(2, NEW)).active_is_running
    assert not with_otadata(record(1, VALID), record(2, PENDING)).active_is_running
    assert with_otadata(record(1, VALID), record(2, ABORTED)).active_is_running
    assert with_otadata(record(1, VALID), record(2, INVALID)).active_is_running
    assert not with_otadata(record(1, ABORTED)).active_is_running


def test_only_a_running_image_that_is_active_is_pending():
    assert with_otadata(record(1, PENDING)).pending
    assert not with_otadata(record(1, VALID)).pending
    assert not with_otadata(record(1, PENDING), record(2, PENDING)).pending


def test_mark_valid_is_refused_while_the_active_record_names_the_other_slot():
    here = with_otadata(record(1, PENDING), record(2, PENDING))
    raises(StateError, here.mark_valid)
    assert states(here) == (PENDING, PENDING)
    here = with_otadata(record(1, PENDING))
    here.mark_valid()
    assert states(here) == (VALID, None)


def test_an_application_image_for_this_chip_is_taken():
    start = application()
    slots.check_image(start, 0)
    slots.check_image(memoryview(start), 0)
    start[12:14] = (0x0109).to_bytes(2, "little")
    slots.check_image(start, 0x0109)


def application():
    start = bytearray(image("app")[:36])
    start[32:36] = (0xABCD5432).to_bytes(4, "little")
    return start


def test_what_is_no_application_image_is_refused():
    for at, value in ((0, 0xFF), (0, 0x4F), (32, 0x33), (35, 0x00)):
        start = application()
        start[at] = value
        assert "not an ESP32" in str(raises(ImageError, slots.check_image, start, 0))
    assert "not an ESP32" in str(raises(ImageError, slots.check_image, bytes(36), 0))


def test_an_image_for_another_chip_is_refused_by_its_number():
    assert "chip 0" in str(raises(ImageError, slots.check_image, application(), 9))


def test_a_slot_names_the_chip_of_its_image():
    bench = Bench()
    bench.put(1, image("other", chip=13))
    assert slots.Slots().running.chip_id() == 0
    assert slots.Slots().other.chip_id() == 13
    bench.put(1, bytes(64))
    assert slots.Slots().other.chip_id() is None


def test_a_trailer_has_the_bytes_of_the_worked_example():
    Bench()
    slot = slots.Slots().other
    buf = bytearray(4096)
    example = heads.framed(heads.EXAMPLE_COSE)[: 8 + len(heads.EXAMPLE_COSE)]
    slot.write_trailer([example], heads.EXAMPLE["trailer_directory"], buf)
    slot.read(slot.capacity, buf)
    assert buf[-32:] == unhexlify(heads.EXAMPLE["trailer_sha256_field"])
    records, directory = slot.read_trailer(buf)
    assert directory == "app_1"
    keys = {heads.kid(heads.KEY): heads.public(heads.KEY)}
    manifest = finish(installed.reading_record(package.record_of(records), keys))
    assert manifest.identity == heads.EXAMPLE_IDENTITY


def test_a_slot_without_a_whole_trailer_has_none():
    bench = Bench()
    slot = slots.Slots().other
    buf = bytearray(4096)
    assert slot.read_trailer(buf) is None
    slot.write_trailer([b"record"], "", buf)
    assert slot.read_trailer(buf)[1] == ""
    bench.flash.program(slot.address + slot.capacity, b"\x00")
    assert slot.read_trailer(buf) is None


def test_a_slot_that_is_being_filled_has_no_trailer():
    Bench()
    slot = slots.Slots().other
    buf = bytearray(4096)
    slot.write_trailer([b"record"], "app_0", buf)
    slot.begin(b"record", buf)
    assert slot.read_trailer(buf) is None


def test_a_slot_knows_the_package_that_it_held_or_was_to_hold():
    bench = Bench()
    slot = slots.Slots().other
    buf = bytearray(4096)
    assert not slot.begin(b"record", buf)
    before = bench.flash.operations
    assert slot.begin(b"record", buf)
    assert bench.flash.operations == before, "nothing is erased to say the same again"
    assert not slot.begin(b"another", buf)
    slot.write_trailer([b"record"], "", buf)
    assert slot.begin(b"record", buf)
    assert slot.read_trailer(buf) is None
    assert slot.begin(b"record", buf)


def test_a_cut_while_a_slot_is_claimed_leaves_it_without_trailer():
    buf = bytearray(4096)
    for operation in (1, 2):
        bench = Bench()
        slot = slots.Slots().other
        slot.write_trailer([b"record"], "", buf)
        assert bench.cut(lambda: slot.begin(b"another", buf), operation)  # noqa: B023
        bench.boot(PWRON)
        slot = slots.Slots().other
        slot.begin(b"another", buf)
        assert slot.begin(b"another", buf)
        assert slot.read_trailer(buf) is None


def test_64_kb_at_a_multiple_of_64_kb_are_erased_by_one_command():
    bench = Bench()
    slot = slots.Slots().other
    data = bytes(65536)
    before = bench.flash.operations
    slot.replace(65536, data)
    assert bench.flash.operations - before == 1 + 256, "one erase, a page of 256 bytes at a time"
    before = bench.flash.operations
    slot.replace(4096, data)
    assert bench.flash.operations - before == 16 + 256
    before = bench.flash.operations
    slot.replace(0, data[:8192])
    assert bench.flash.operations - before == 2 + 32


def test_past_the_end_of_a_slot_is_a_flash_error():
    Bench()
    slot = slots.Slots().other
    raises(FlashError, slot.program, slot.size, b"\x00" * 16)
    raises(FlashError, slot.replace, slot.capacity, bytes(8192))
    raises(FlashError, slot.replace, 0, bytes(100))
    raises(FlashError, slot.erase, slot.size // 4096)
    raises(FlashError, slot.read, slot.size, bytearray(16))
