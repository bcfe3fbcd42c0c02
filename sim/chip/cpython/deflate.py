"""MicroPython's `deflate` for CPython: raw streams, read byte by byte from a stream, as there."""

import zlib

RAW = 1
_EINVAL = 22


class DeflateIO:
    """Inflates a raw stream with a window of 2^wbits bytes. Positional arguments only, as there."""

    def __init__(self, stream, _form, wbits):
        self._stream = stream
        self._inflater = zlib.decompressobj(-wbits)

    def readinto(self, buf):
        """Fill `buf`; returns how many bytes. Raises EOFError, OSError as MicroPython does."""
        data = self.read(len(buf))
        buf[: len(data)] = data
        return len(data)

    def read(self, size):
        """Return up to `size` bytes, fewer at the end of the stream alone."""
        inflater, found = self._inflater, b""
        try:
            while len(found) < size:
                found += inflater.decompress(inflater.unconsumed_tail, size - len(found))
                if inflater.eof or len(found) == size:
                    break
                byte = self._stream.read(1)
                if not byte:
                    raise EOFError
                found += inflater.decompress(byte, size - len(found))
        except zlib.error:
            raise OSError(_EINVAL) from None
        return found
