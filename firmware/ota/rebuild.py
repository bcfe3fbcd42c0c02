"""The archive of a directory, made again from its files and its own list.

`.files` (`ustar.LISTING`) has a line for each entry of the archive, in its order, and marks, which
`directory_writer` leaves while it writes. The list need not be trusted: the files that it names
give the archive's signed SHA-256, or they do not. Other files do no harm.
"""

import os

from . import ustar


def archive_of(base, length, buf):
    """Yield the archive's bytes that a directory has, piece by piece, and each mark of its list.

    base: path of the directory, with a slash; length: bytes of the archive, 0 to end with the last
    line; buf: scratch, 4096 bytes. A piece (memoryview, or bytes of zeros) is good until the next
    one; a mark is its line (str). Raises ValueError and ArchiveError where list and files do not
    fit, OSError.
    """
    view = memoryview(buf)
    file = None
    here = content = end = 0  # bytes so far; where the entry's content ends, and its padding
    try:
        with open(base + ustar.LISTING) as listing:
            while True:
                line = listing.readline()
                mark = line.startswith(ustar.MARK)
                upto = end if line else length
                if mark:
                    upto = ustar.parse_mark(line)[0]
                while here < upto:
                    if file and here < content:
                        size = file.readinto(view[: min(upto, content) - here])
                        if not size:
                            raise ValueError  # the file is too short
                        here += size
                        yield view[:size]
                    else:
                        zeros = ustar.ZEROS[: upto - here]
                        here += len(zeros)
                        yield zeros
                if mark:
                    yield line
                    continue
                if file:
                    if file.read(1):
                        raise ValueError  # it is too long
                    file.close()
                    file = None
                if not line:
                    return
                path, size = ustar.parse(line)
                if path.endswith("/"):
                    os.stat(base + path[:-1])
                else:
                    file = open(base + path, "rb")
                here += ustar.BLOCK
                content = here + size if file else here
                end = content + -size % ustar.BLOCK
                header = view[: ustar.BLOCK]
                ustar.write_header(header, path, size)
                yield header
    finally:
        if file:
            file.close()
