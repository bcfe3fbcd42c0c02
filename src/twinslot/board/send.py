"""A package through the cable, for a board without a network: `fleet send PORT FILE.ota`.

The board asks for each piece (firmware/ota/repl_install.py, class Cable), so nothing is lost while
it erases flash, and it checks, tests and takes back as with any other update.
"""

import re
from base64 import b64encode
from collections.abc import Callable

from twinslot.board.cable import Cable
from twinslot.errors import FleetError
from twinslot.formats import package

_CODE = "import ota\nota.receive({size})"
_READ = re.compile(r"ota-read (\d+) (\d+)$")
_VERIFIED = re.compile(r"ota-verified (.+)$")
_SILENCE_S = 120  # the board may hash an image, or copy one, without a word


class SendError(FleetError):
    """The board did not take the package; the sentence is the board's own."""


def send(cable: Cable, data: bytes, progress: Callable[[int, int], None]) -> str:
    """Send a package to the board behind an open cable. Returns the version, verified there.

    The board then restarts and tests it. progress(sent, size): called after each piece, in bytes.
    Raises PackageError for what is no package, SendError, CableError.
    """
    package.inspect(data)
    said: list[str] = []
    version = ""

    def answer(line: str) -> bytes | None:
        nonlocal version
        if asked := _READ.search(line):
            offset, count = int(asked[1]), int(asked[2])
            progress(min(offset + count, len(data)), len(data))
            return b64encode(data[offset : offset + count])
        if verified := _VERIFIED.search(line):
            version = verified[1]
            return None
        if line.strip() and line.strip() != "OK":
            said.append(line.strip().removeprefix("OK"))
        return b""

    cable.serve(_CODE.format(size=len(data)), answer, _SILENCE_S)
    if not version:
        raise SendError(" ".join(said) or "the board ended the conversation without a word")
    return version
