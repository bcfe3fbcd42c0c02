"""The application's directories, `/app_0` and `/app_1`: set aside, read back.

Rules
- The directory that runs is never touched: only the other one is filled (`directory_writer`) or set
  aside.
- A replaced directory is set aside: renamed, in one step however many files it has, to a name that
  nothing looks for. `cleanup` removes it afterwards, also after a power cut.
- A directory is filled when it is new, and while no slot's trailer names it.
- `.files` in it lists the files of the archive in their order, with sizes. The list need not be
  trusted: its files give the archive's signed SHA-256, or they do not. Other files do no harm.
"""

import os
from errno import ENOENT
from hashlib import sha256

from . import errors, ustar
from .settings import absolute, is_there
from .slots import OLD


def set_aside(name):
    """Rename a directory of `/`, if there is one, so that it counts as removed.

    Raises FilesystemError.
    """
    if not is_there(name):
        return
    number = 0
    while is_there(OLD + str(number)):
        number += 1
    try:
        os.rename(absolute(name), absolute(OLD + str(number)))
    except OSError as error:
        raise errors.FilesystemError("%s cannot be renamed: %s" % (absolute(name), error))


def reading_back(name, component, buf):
    """Compare the files of a directory with the archive they came in. A generator of slices.

    component: its size (bytes) and sha256; buf: scratch, 4096 bytes. Raises ImageError,
    FilesystemError.
    """
    base = absolute(name) + "/"
    digest = sha256()
    length = 2 * ustar.BLOCK
    try:
        with open(base + ustar.LISTING) as listing:
            for line in listing:
                path, size = ustar.parse(line)
                header = memoryview(buf)[: ustar.BLOCK]
                ustar.write_header(header, path, size)
                digest.update(header)
                yield
                if not path.endswith("/"):
                    if size != (yield from _hashing(base + path, digest, buf)):
                        raise ValueError
                    digest.update(ustar.ZEROS[: -size % ustar.BLOCK])
                length += ustar.BLOCK + size + -size % ustar.BLOCK
    except OSError as error:
        if error.args[0] == ENOENT:
            raise errors.ImageError("%s is not complete" % base)
        raise errors.FilesystemError("%s cannot be read: %s" % (base, error))
    except (ValueError, errors.ArchiveError):
        length = 0  # no archive has such a listing, or files of other sizes
    digest.update(ustar.ZEROS)
    digest.update(ustar.ZEROS)
    if length != component.size or digest.digest() != component.sha256:
        raise errors.ImageError("%s does not hold the files that the manifest names" % base)


def _hashing(path, digest, buf):
    """Add a file's bytes to a digest, a buffer per slice. Returns how many they are."""
    view = memoryview(buf)
    total = 0
    with open(path, "rb") as file:
        size = file.readinto(buf)
        while size:
            total += size
            digest.update(view[:size])
            yield
            size = file.readinto(buf)
    return total
