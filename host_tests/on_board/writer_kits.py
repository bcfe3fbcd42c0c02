"""The component writers with their places, as `component_writer_suite` wants them."""

from binascii import hexlify
from hashlib import sha256

import engine_world
import esp32
import hostile
import segments_bytes
from chip_bench import Bench
from chip_bench import image as esp_image
from ota import (
    archive_base,
    directory_writer,
    image_base,  # noqa: F401, its writer finds it
    readback,
    rebuild,
    segments_writer,
    settings,
    slot_writer,
    slot_writer_64k,
)
from ota.compat import finish
from ota.slots import SECTOR, Slots

# Time of a sector's erase, in programmed pages; 64 KB at once take as long as four sectors.
_ERASE = 40


def image(length, seed=1):
    """Return an image whose pieces all differ."""
    data = bytearray(length)
    for at in range(0, length - 3, 32):
        data[at : at + 4] = ((at * 2654435761 + seed) & 0xFFFFFFFF).to_bytes(4, "little")
    return data


class SlotKit:
    """A slot on simulated flash.

    module: has `make`; size: bytes of the image; changes: of settings; data: as it travels, if that
    is another thing.
    """

    def __init__(self, module, size, blocks, data=None, **changes):
        self._module = module
        self._image = memoryview(image(size))
        self.data = memoryview(data or self._image)
        self.blocks = blocks
        self._changes = changes
        self._bench = None

    def fresh(self):
        self._bench = Bench()
        self._erased = 0
        flash = self._bench.flash
        flash.erase = self._counted(flash.erase, 1)
        flash.erase_block = self._counted(flash.erase_block, 4)

    def again(self):
        """What lies there stays."""

    def stale(self):
        self.fresh()
        self._bench.put(1, image(len(self._image), 7))

    def open(self, same):
        board = engine_world.board(**self._changes)
        component = engine_world.component(len(self._image), length=len(self.data))
        return self._module.make(board, component, same)

    def lies(self, count):
        return slot_holds(self._image, count * len(self._image) // len(self.data))

    def spent(self):
        return self._bench.flash.operations + _ERASE * self._erased

    def _counted(self, erase, sectors):
        def counted(where):
            self._erased += sectors
            erase(where)

        return counted

    def cut(self, action, number):
        if not self._bench.cut(action, number):
            return False
        self._bench.boot(1)
        return True

    def break_place(self):
        self._bench.flash.size = 0

    def left_open(self):
        return []

    def close(self):
        """Nothing is left of it."""


def slot_holds(image, count):
    """Say whether the other slot holds the first bytes of an image."""
    slot = Slots().other
    here = bytearray(SECTOR)
    for at in range(0, count, SECTOR):
        piece = memoryview(here)[: min(SECTOR, count - at)]
        slot.read(at, piece)
        if piece != image[at : at + len(piece)]:
            return False
    return True


def reached(encoder, count):
    """Return the bytes of the result before the border in the stored block at `count`."""
    found = 0
    for number, border in enumerate(encoder.borders):
        if border // segments_bytes.PAYLOAD * SECTOR <= count:
            found = number * segments_bytes.SEGMENT
    return found


class SegmentsKit(SlotKit):
    """The same by encoding 1; what counts lies in the slot and in the note of a border.

    base: bytes of the image that runs, None without one.
    """

    def __init__(self, base=None):
        size = 70_000
        new = image(size)
        if base:
            new[:40_000] = base[5000:45_000]
        alignments = (5000,) if base else ()
        self._encoder = encoder = segments_bytes.Encoder(new, base or b"", alignments=alignments)
        blocks, first = encoder.blocks()
        super().__init__(segments_writer, size, (256, 1024, 4096, 16384), blocks)
        self._image = memoryview(new)
        self._base = base
        self._coded = [first, None, None]
        if base:
            self._coded = [first, sha256(base).digest(), len(base)]

    def fresh(self):
        super().fresh()
        if self._base:
            self._bench.put(0, self._base)
            self._bench.boot()

    def open(self, same):
        component = engine_world.component(
            len(self._image), encoding=1, length=len(self.data), coded=self._coded
        )
        return segments_writer.make(engine_world.board(), component, same)

    def lies(self, count):
        whole = count == len(self.data)
        return slot_holds(self._image, len(self._image) if whole else reached(self._encoder, count))

    def spoil(self):
        esp32.NVS("ota").set_blob("segments0", b"x" * 70)


class DirectoryKit:
    """A directory in a file system of its own."""

    blocks = (256, 1024, 4096, 16384)

    def __init__(self):
        contents = [
            (b"a.py", bytes(range(256)) * 30),
            (b"empty.py", b""),
            (b"lib/", b""),
            (b"lib/large.bin", bytes(image(60_000))),
            (b"main.py", b"# main\n"),
        ]
        self.data = memoryview(hostile.archive(contents))
        self._digest = sha256(self.data).digest()
        self._folder = None

    def fresh(self):
        Bench()
        if self._folder:
            self.close()
        self._folder = engine_world.Folder()
        self._opened = []

        def recorded(path, mode="r"):
            file = Recorded(open(path, mode))  # noqa: SIM115, as its writer closes it
            self._opened.append(file)
            return file

        directory_writer.open = recorded

    def again(self):
        """What lies there stays."""

    stale = fresh  # another archive's is found out by `spoil`

    def spoil(self):
        with open(self._folder.path + "app_0/a.py", "r+b") as file:
            file.write(b"!")

    def open(self, same):
        board = engine_world.board()
        component = engine_world.component(len(self.data), kind=1, digest=self._digest)
        return directory_writer.make(board, component, same)

    def lies(self, count):
        if not count:
            return True
        if count < len(self.data):
            return bytes(self._found())[:count] == self.data[:count]
        component = engine_world.component(len(self.data), kind=1, digest=self._digest)
        finish(readback.matching(None, (None, component), "app_0", bytearray(SECTOR)))
        return True

    def _found(self):
        """Return the bytes of the archive that lie there."""
        found = bytearray()
        for piece in rebuild.archive_of(self._folder.path + "app_0/", 0, bytearray(SECTOR)):
            if not isinstance(piece, str):
                found.extend(piece)
        return found

    def spent(self):
        return 0

    def cut(self, action, number):
        """Power does not fail here; what is left behind in the middle is looked at instead."""
        return False

    def break_place(self):
        engine_world.remove(self._folder.path + "app_0")
        settings.ROOT = self._folder.path + "none/"

    def left_open(self):
        return [file for file in self._opened if file.is_open]

    def close(self):
        directory_writer.open = open
        for file in self.left_open():
            file.close()
        if self._folder:
            self._folder.close()
            self._folder = None


class SegmentsDirectoryKit(DirectoryKit):
    """The same by encoding 1, over the directory that runs.

    changed: whether the archive differs from that, else there is no base.
    """

    def __init__(self, based):
        super().__init__()
        self._archive = archive = self.data
        old = []
        alignments = ()
        if based:
            old = [
                (b"a.py", bytes(range(256)) * 25),
                (b"lib/", b""),
                (b"lib/large.bin", bytes(image(30_000)) + bytes(image(25_000, 7))),
                (b"main.py", b"# old\n"),
            ]
            alignments = range(-4096, 4097, 512)
        self._old = old
        base = hostile.archive(old) if based else b""
        self._encoder = segments_bytes.Encoder(archive, base, alignments=alignments)
        blocks, first = self._encoder.blocks()
        self.data = memoryview(blocks)
        self._coded = [first, sha256(base).digest(), len(base)] if based else [first, None, None]

    def fresh(self):
        super().fresh()
        archive_base.open = directory_writer.open
        if self._old:
            engine_world.write_directory(self._folder.path + "app_1", self._old)

    def stale(self):
        self.fresh()

    def spoil(self):
        super().spoil()
        esp32.NVS("ota").set_blob("segments1", b"x" * 70)

    def open(self, same):
        board = engine_world.board()
        board.directory = "app_1" if self._old else ""
        component = engine_world.component(
            len(self._archive),
            kind=1,
            encoding=1,
            length=len(self.data),
            digest=self._digest,
            coded=self._coded,
        )
        return segments_writer.make(board, component, same)

    def lies(self, count):
        encoded, self.data = self.data, self._archive
        try:
            if count < len(encoded):
                return super().lies(reached(self._encoder, count))
            return super().lies(len(self.data))
        finally:
            self.data = encoded

    def close(self):
        archive_base.open = open
        super().close()


class Recorded:
    """A file that is written, and knows whether it is open."""

    def __init__(self, file):
        self._file = file
        self.is_open = True
        self.write = file.write
        self.flush = getattr(file, "flush", None)
        self.seek = file.seek
        self.readinto = getattr(file, "readinto", None)
        self.readline = file.readline

    def close(self):
        self.is_open = False
        self._file.close()


def make(name, module=None):
    """Return the kit of a writer. module: of the toy."""
    if name == "slot by sector":
        return SlotKit(slot_writer, 20 * SECTOR - 48, (256, 1024, 4096, 16384))
    if name == "slot by 64 KB":
        return SlotKit(slot_writer_64k, 2 * 65536 + 5 * SECTOR + 16, (1024, 4096))
    if name == "directory":
        return DirectoryKit()
    if name == "encoded image":
        return SegmentsKit()
    if name == "delta of an image":
        return SegmentsKit(esp_image(bytes(image(64)), segments=1) + bytes(image(60_000, 3)))
    if name == "encoded directory":
        return SegmentsDirectoryKit(False)
    if name == "delta of a directory":
        return SegmentsDirectoryKit(True)
    size = 12 * SECTOR - 100
    return SlotKit(module, size, (1024, 4096), hexlify(image(size)))
