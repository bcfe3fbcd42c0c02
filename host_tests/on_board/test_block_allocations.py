"""What a block's way takes of the heap: nothing, but where `ota.transfer` says so."""

import sys
from hashlib import sha256

import contract
import engine_world
import hostile
import path_faults
import path_kits
import toy_path
from block_way import QuietPartition, Way
from ota import directory_writer, slot_writer, slot_writer_64k
from ota.slots import SECTOR, Slot

# Bytes that a block of 4096 may leave behind on a 64-bit interpreter, of which a chip has half the
# objects. base64 comes through in pieces: of each there are two copies and what it decodes to.
JSON_MOST = 20_480
CABLE_MOST = 20_480
# One slice.
WIDE_MOST = 32
# The unix port; WebAssembly's gives no memory back, so that base64 takes ten times as much there.
COUNTS_ALL = contract.COUNTS and sys.platform == "linux"


def slot():
    return Slot(QuietPartition())


def by_sector(length, same=False):
    writer = slot_writer.SlotWriter(slot(), length, 8 * SECTOR, bytearray(SECTOR) if same else None)
    writer.begin(0, same)
    return writer


def most(kit, make):
    """Return what one of the blocks takes that come through `kit`'s path into `make(length)`.

    The second time; then the far end has made all that it keeps.
    """
    for _ in range(2):
        try:
            found = Way(kit, kit.open(), make(len(kit.data))).measure()
        finally:
            kit.close()
    return found


def test_a_block_of_a_stream_in_cbor_takes_nothing_on_its_way_into_a_slot():
    if contract.COUNTS:
        assert most(path_kits.Stream("cbor"), by_sector) == 0


def test_it_takes_nothing_where_the_slot_may_hold_it_already():
    if contract.COUNTS:
        assert most(path_kits.Stream("cbor"), lambda length: by_sector(length, True)) == 0


def test_a_block_of_a_stream_in_cbor_takes_nothing_on_its_way_into_a_directory():
    if not contract.COUNTS:
        return
    kit = path_kits.Stream("cbor")
    kit.data = hostile.archive([(b"large.bin", bytes(path_kits.DATA)), (b"main.py", b"")])
    component = engine_world.component(len(kit.data), 1, digest=sha256(kit.data).digest())
    folder = engine_world.Folder()
    path = kit.open()
    board = engine_world.board(window=1000)  # so no mark of its list comes meanwhile
    writer = directory_writer.make(board, component, False)
    writer.begin(0, False)
    try:
        assert Way(kit, path, writer).measure() == 0
    finally:
        kit.close()
        folder.close()


def test_a_block_of_a_file_takes_nothing():
    if contract.COUNTS:
        assert most(path_kits.File(), by_sector) == 0


def test_a_block_into_64_kb_takes_a_slice():
    def wide(length):
        writer = slot_writer_64k.WideWriter(slot(), length, bytearray(SECTOR))
        writer.begin(0, False)
        return writer

    if contract.COUNTS:
        found = most(path_kits.Stream("cbor"), wide)
        assert found <= WIDE_MOST, found


def test_base64_takes_at_most_five_times_the_block():
    if COUNTS_ALL:
        assert SECTOR < most(path_kits.Stream("json"), by_sector) <= JSON_MOST
        assert SECTOR < most(path_kits.Cable(), by_sector) <= CABLE_MOST


class CopyingWriter(slot_writer.SlotWriter):
    def write(self, offset, data):
        super().write(offset, bytes(data))


class CopyingPath(toy_path.ToyPath):
    def lend(self, index, block):
        return super().lend(index, memoryview(bytes(block)))


def test_a_writer_and_a_path_that_copy_each_block_are_found():
    def copying(length):
        writer = CopyingWriter(slot(), length, 8 * SECTOR, None)
        writer.begin(0, False)
        return writer

    if contract.COUNTS:
        assert most(path_kits.Toy(toy_path), by_sector) == 0
        assert most(path_kits.Toy(toy_path), copying) >= SECTOR
        assert most(path_kits.Toy(path_faults.Module(CopyingPath)), by_sector) >= SECTOR
