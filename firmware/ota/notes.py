"""Notes in NVS of how far an encoded component has come, see `segments_writer`.

A border (number of a segment; then number, offset and SHA-256 of the stored block with its first
byte) lies in blob `segments0`, the prologue, as it was inflated, in blob `prologue0`. The digit is
the component's kind. A note is of the component with the same first stored block.
"""

from esp32 import NVS

from .compat import const

ALL = 0xFFFF  # as the segment of a border: there is no more

_NAMESPACE = const("ota")
_DIGEST = const(32)
_NOTE = const(70)  # bytes
_PROLOGUE = const(2116)  # bytes, the longest


class Notes:
    """The notes of a manifest.Component."""

    def __init__(self, component):
        self._border = "segments%d" % component.kind
        self._prologue = "prologue%d" % component.kind
        self._first = component.coded[0]
        self._stored = False

    def read(self):
        """Return (border, prologue), None without a note of this component."""
        note, prologue = bytearray(_NOTE), bytearray(_PROLOGUE)
        try:
            nvs = NVS(_NAMESPACE)
            size = nvs.get_blob(self._border, note)
            length = nvs.get_blob(self._prologue, prologue)
        except OSError:
            return None
        if size != _NOTE or note[:_DIGEST] != self._first:
            return None
        segment, block, offset = [note[at] << 8 | note[at + 1] for at in (32, 34, 36)]
        prologue = prologue[:length]
        if segment != ALL and not _is_whole(prologue):
            return None
        self._stored = True
        return (segment, block, offset, bytes(note[38:])), prologue

    def keep(self, border, prologue):
        """Write a note. Returns whether NVS took it."""
        segment, block, offset, digest = border
        note = bytearray(self._first)
        for number in (segment, block, offset):
            note.append(number >> 8)
            note.append(number & 0xFF)
        note.extend(digest)
        try:
            nvs = NVS(_NAMESPACE)
            if not self._stored:
                nvs.set_blob(self._prologue, prologue)
                nvs.commit()
                self._stored = True
            nvs.set_blob(self._border, note)
            nvs.commit()
        except OSError:
            return False
        return True

    def done(self, blocks):
        """Note that the component is complete, with so many blocks; its prologue can go."""
        if self.keep((ALL, blocks, 0, bytes(_DIGEST)), b"-"):
            self._stored = False
            self.keep((ALL, blocks, 0, bytes(_DIGEST)), b"-")

    def forget(self):
        """Erase the note, if there is one."""
        nvs = NVS(_NAMESPACE)
        for key in (self._border, self._prologue):
            try:
                nvs.erase_key(key)
                nvs.commit()
            except OSError:
                pass  # there was none


def _is_whole(data):
    """Say whether `data` is as long as a prologue that begins so."""
    ranges = 2 + 16 * data[1] if len(data) > 1 else 0
    shifts = data[ranges : ranges + 2]
    return len(shifts) == 2 and len(data) == ranges + 2 + 8 * (shifts[0] << 8 | shifts[1])
