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
    # Bytes so far; of the entry: its size, where its content ends, and its padding.
    here = size = content = end = 0
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
                        count = file.readinto(view[: min(upto, content) - here])
                        if not count:
                            raise ValueError  # the file is too short
                        here += count
                        yield view[:count]
                    else:
                        zeros = ustar.ZEROS[: upto - here]
                        here += len(zeros)
                        yield zeros
                if mark:
                    yield line
                    continue
                if file:
                    if file.seek(0, 2) > size:
                        raise ValueError  # it is too long; behind a mark it may be whole already
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
