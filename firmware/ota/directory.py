"""The application's directories, `/app_0` and `/app_1`: room, removal, reading back.

Rules
- The directory that runs is never touched: only the other one is filled or removed.
- A directory is filled (`directory_writer`) when it is empty, and while no slot's trailer names it.
- `.files` in it lists the files of the archive in their order. The list need not be trusted: its
  files give the archive's signed SHA-256, or they do not. Other files there do no harm.
"""

import os
from hashlib import sha256

from . import errors, ustar
from .compat import const
from .settings import absolute, free

_BLOCK = const(4096)  # of littlefs (bytes)
_FOLDER = const(0x4000)
_NOT_FOUND = const(2)


def exists(name):
    """Say whether there is such a directory."""
    try:
        return bool(os.stat(absolute(name))[0] & _FOLDER)
    except OSError:
        return False


def checking_room(name, size, more):
    """Find room for an archive of `size` bytes in `name`, once that is empty. A generator.

    more: bytes that will be freed elsewhere. Raises TooLargeError with the numbers,
    FilesystemError.
    """
    try:
        room = free() + more
        if exists(name):
            room += yield from _measuring(absolute(name))
    except OSError as error:
        raise errors.FilesystemError("%s cannot be looked at: %s" % (absolute(name), error))
    if size > room:
        raise errors.TooLargeError(
            "the application has %d bytes, the file system has room for %d" % (size, room)
        )


def clearing(name):
    """Remove a directory and everything in it. A generator, a slice per file.

    Raises FilesystemError.
    """
    path = absolute(name)
    try:
        if exists(name):
            yield from _removing(path)
    except OSError as error:
        raise errors.FilesystemError("%s cannot be removed: %s" % (path, error))


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
                path = line.rstrip("\n")
                size = 0 if path.endswith("/") else os.stat(base + path)[6]
                header = memoryview(buf)[: ustar.BLOCK]
                ustar.write_header(header, path, size)
                digest.update(header)
                yield
                if size:
                    yield from _hashing(base + path, digest, buf)
                    digest.update(ustar.ZEROS[: -size % ustar.BLOCK])
                length += ustar.BLOCK + size + -size % ustar.BLOCK
    except OSError as error:
        if error.args[0] == _NOT_FOUND:
            raise errors.ImageError("%s is not complete" % base)
        raise errors.FilesystemError("%s cannot be read: %s" % (base, error))
    except ValueError:
        length = 0  # a listing that no archive has
    digest.update(ustar.ZEROS)
    digest.update(ustar.ZEROS)
    if length != component.size or digest.digest() != component.sha256:
        raise errors.ImageError("%s does not hold the files that the manifest names" % base)


# No recursion: paths of a hundred bytes may nest directories deeper than a chip's stack allows.


def _measuring(path):
    """Return the bytes of a directory's blocks. A generator, a slice per file."""
    total = 0
    folders = [path]
    while folders:
        path = folders.pop()
        total += 2 * _BLOCK
        for name in os.listdir(path):
            below = path + "/" + name
            found = os.stat(below)
            if found[0] & _FOLDER:
                folders.append(below)
            else:
                total += (found[6] + _BLOCK - 1) // _BLOCK * _BLOCK
            yield
    return total


def _removing(path):
    folders = [path]
    while folders:
        path = folders[-1]
        for name in os.listdir(path):
            below = path + "/" + name
            if os.stat(below)[0] & _FOLDER:
                folders.append(below)
                break
            os.remove(below)
            yield
        else:
            os.rmdir(path)
            folders.pop()
            yield


def _hashing(path, digest, buf):
    """Add a file's bytes to a digest, a buffer per slice."""
    view = memoryview(buf)
    with open(path, "rb") as file:
        size = file.readinto(buf)
        while size:
            digest.update(view[:size])
            yield
            size = file.readinto(buf)
