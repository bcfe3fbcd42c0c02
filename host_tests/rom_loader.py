"""An ESP32 in its ROM loader, behind a TCP port: what esptool needs to identify, read and flash it.

The serial protocol after Espressif's description (SLIP frames, commands of ROM and stub). The stub
that esptool uploads is not run; its commands are answered from its upload on. NOR's rule holds: a
write into flash that was not erased would be seen as an AND of both.
"""

import hashlib
import socketserver
import struct
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType

SYNC, READ_REG, WRITE_REG = 0x08, 0x0A, 0x09
MEM_BEGIN, MEM_END, MEM_DATA = 0x05, 0x06, 0x07
DEFL_BEGIN, DEFL_DATA, DEFL_END = 0x10, 0x11, 0x12
SECURITY_INFO, MD5, ERASE_FLASH, ERASE_REGION, READ_FLASH = 0x14, 0x13, 0xD0, 0xD1, 0xD2
SECTOR = 4096

_MAGIC_REG, _MAGIC = 0x40001000, 0x00F01D83
_UART_CLKDIV_REG = 0x3FF40014
_SPI = 0x3FF42000
_SPI_OPCODE_REG, _SPI_ANSWER_REG = _SPI + 0x24, _SPI + 0x80
_READ_ID = 0x9F
_EFUSE_CRYPT_REG, _EFUSE_ABS_DONE_REG = 0x3FF5A000, 0x3FF5A018
_INVALID = b"\x01\x05"


class RomLoader:
    """One chip. flash: its content; secure_boot, encrypted: eFuses that are burnt.

    `writes`: (first address, last address) of every erase and write so far. `cut_after`: writes
    after which the cable is pulled; everything later is unanswered.
    """

    def __init__(self, flash: bytes, *, secure_boot: bool = False, encrypted: bool = False) -> None:
        self.flash = bytearray(flash)
        self.writes: list[tuple[int, int]] = []
        self.cut_after: int | None = None
        self.registers = {
            _MAGIC_REG: _MAGIC,
            _UART_CLKDIV_REG: 347,  # 40 MHz at 115200 baud
            _EFUSE_CRYPT_REG: 1 << 20 if encrypted else 0,
            _EFUSE_ABS_DONE_REG: 1 << 4 if secure_boot else 0,
        }
        chip = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                _Session(chip, self.request).run()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "RomLoader":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> str:
        return f"socket://127.0.0.1:{self._server.server_address[1]}"

    @property
    def is_cut(self) -> bool:
        return self.cut_after is not None and len(self.writes) >= self.cut_after

    def erase(self, address: int, size: int) -> None:
        assert address % SECTOR == 0
        end = address + -(-size // SECTOR) * SECTOR
        assert end <= len(self.flash)
        self.flash[address:end] = b"\xff" * (end - address)
        self.writes.append((address, end))

    def program(self, address: int, data: bytes) -> None:
        end = address + len(data)
        held = int.from_bytes(self.flash[address:end], "little")
        self.flash[address:end] = (held & int.from_bytes(data, "little")).to_bytes(
            len(data), "little"
        )


class _Session:
    """One connection: the chip after a reset."""

    def __init__(self, chip: RomLoader, connection) -> None:
        self.chip = chip
        self.connection = connection
        self.is_stub = False

    def run(self) -> None:
        try:
            for frame in self.frames():
                if self.chip.is_cut:
                    continue
                if len(frame) >= 8 and frame[0] == 0:
                    self.answer(frame[1], frame[8:])
        except OSError:
            pass  # esptool closed the port

    def answer(self, op: int, data: bytes) -> None:
        words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])
        value, body, status = 0, b"", b"\0\0"
        if op == SYNC:
            for _ in range(7):
                self.reply(op, 0x55, status)
            value = 0x55
        elif op == SECURITY_INFO:
            status = _INVALID  # an ESP32 does not know it
        elif op == READ_REG:
            value = self.register(words[0])
        elif op == WRITE_REG:
            self.chip.registers[words[0]] = words[1]
        elif op == DEFL_BEGIN:
            self.size, _, _, self.address = words[:4]
            self.inflate = zlib.decompressobj()
            if self.size:
                self.chip.erase(self.address, self.size)
        elif op == DEFL_DATA:
            plain = self.inflate.decompress(data[16 : 16 + words[0]])
            self.chip.program(self.address, plain)
            self.address += len(plain)
        elif op == MD5:
            body = hashlib.md5(self.chip.flash[words[0] : words[0] + words[1]]).digest()
        elif op == ERASE_FLASH:
            self.chip.erase(0, len(self.chip.flash))
        elif op == ERASE_REGION:
            self.chip.erase(words[0], words[1])
        self.reply(op, value, body + status)
        if op == MEM_END:
            self.is_stub = True
            self.send(b"OHAI")
        elif op == READ_FLASH:
            held = bytes(self.chip.flash[words[0] : words[0] + words[1]])
            for at in range(0, len(held), words[2]):
                self.send(held[at : at + words[2]])
            self.send(hashlib.md5(held).digest())

    def register(self, address: int) -> int:
        registers = self.chip.registers
        if address == _SPI_ANSWER_REG and registers.get(_SPI_OPCODE_REG, 0) & 0xFF == _READ_ID:
            return (len(self.chip.flash).bit_length() - 1) << 16 | 0x40EF
        return 0 if address == _SPI else registers.get(address, 0)

    def reply(self, op: int, value: int, body: bytes) -> None:
        if not self.is_stub:
            body += b"\0\0"  # a ROM ends with two more bytes than the stub
        self.send(struct.pack("<BBHI", 1, op, len(body), value) + body)

    def send(self, frame: bytes) -> None:
        escaped = frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        self.connection.sendall(b"\xc0" + escaped + b"\xc0")

    def frames(self) -> Iterator[bytes]:
        held = b""
        while True:
            data = self.connection.recv(65536)
            if not data:
                return
            *whole, held = (held + data).split(b"\xc0")
            for frame in filter(None, whole):
                yield frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
