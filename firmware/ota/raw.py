"""A raw image: an ESP32 application image without a package, with a signature in the job document.

AWS IoT's form (CreateOTAUpdate): `sig-sha256-ecdsa` or `sig-sha256-rsa` over the whole file, in
base64, and in `certfile` the name of a certificate, which lies on the board. Faults of both are
found before anything is erased. Whether the signature belongs to the image is known when the image
has been read back.
"""

from binascii import a2b_base64, b2a_base64
from hashlib import sha256

from . import chip, errors, x509
from .compat import const
from .manifest import Component, Manifest
from .package import FIRMWARE
from .settings import etc
from .slots import check_image

_ECDSA = "sig-sha256-ecdsa"
_RSA = "sig-sha256-rsa"
_MAX_NAME = const(64)
_MAX_CERTIFICATE = const(4096)


def manifest_of(job, board):
    """Return the manifest.Manifest of a raw image that may be installed here, as far as is known.

    job: jobs.Job, None where none brings it; board: board.Board, whose `buf` begins with the first
    4096 bytes of the image. Raises PackageError, SettingsError, MismatchError, JobError,
    UnknownKeyError, SignatureError, ImageError, TooLargeError.
    """
    if not board.settings["raw_images"]:
        raise errors.PackageError(
            "the file is a raw image; this board takes packages only, as setting raw_images is 0"
        )
    if job is None:
        raise errors.PackageError("a raw image comes by a job only, which brings its signature")
    if board.word is None:
        raise errors.SettingsError(
            "a raw image needs an application that says its version: Agent(..., version=)"
        )
    if board.directory:
        raise errors.MismatchError(
            "a raw image would run without the application in /%s; send a package" % board.directory
        )
    key, signature, note = _proof(job.file or {})
    size, slot = job.file_size, board.slots.other
    if size > slot.capacity:
        raise errors.TooLargeError(
            "the image has %d bytes, the slot takes %d" % (size, slot.capacity)
        )
    chip_id = board.slots.running.chip_id()
    check_image(memoryview(board.buf)[: min(size, chip.SECTOR)], chip_id)
    firmware = Component(FIRMWARE, 0, 0, size, size, None, chip_id, None, None)
    identity = sha256(signature).digest()
    proof = "p256" if isinstance(key, bytes) else "rsa", key, signature
    return Manifest(
        board.product, "0.0.0", 0, 0, None, [firmware], identity, identity, size, proof, note, None
    )


def _proof(file):
    """Return (key, signature, what the result should say of the dates) for files[0] of a job."""
    if not file.get("filepath"):  # of no use here, demanded by FreeRTOS
        raise errors.JobError("the job names no filepath, as a raw image's must")
    name, signature = _signature(file)
    certificate = _name(file)
    path = etc("ota/certs/" + certificate)
    try:
        with open(path, "rb") as opened:
            if opened.seek(0, 2) > _MAX_CERTIFICATE:
                raise ValueError("it has more than %d bytes" % _MAX_CERTIFICATE)
            opened.seek(0)
            data = opened.read()
        key, before, after = x509.parse(data)
    except OSError:
        raise errors.UnknownKeyError("%s is missing: the job names this certificate" % path)
    except ValueError as error:
        raise errors.UnknownKeyError("%s is no certificate to trust: %s" % (path, error))
    now = chip.unix_time()
    if now is not None and not before <= now <= after:
        raise errors.UnknownKeyError(
            "%s expired %d s ago" % (path, now - after)
            if now > after
            else "%s is not valid for another %d s" % (path, before - now)
        )
    try:
        if isinstance(key, bytes) != (name == _ECDSA):
            raise ValueError("the key in %s is of another kind" % path)
        if name == _ECDSA:
            signature = x509.ecdsa_signature(signature)
        elif len(signature) != len(key[0]):
            raise ValueError("it has %d bytes, the key %d" % (len(signature), len(key[0])))
    except ValueError as error:
        raise errors.SignatureError("%s of the job cannot be right: %s" % (name, error))
    note = "the clock is not set: the dates of %s were not judged" % certificate
    return key, signature, note if now is None else ""


def _signature(file):
    """Return the name of the one signature in files[0] of a job, and its bytes."""
    names = [name for name in file if name.startswith("sig-")]
    if len(names) != 1:
        raise errors.JobError(
            "the job has %d signatures; a raw image needs one, %s or %s"
            % (len(names), _ECDSA, _RSA)
        )
    name = names[0]
    if name.startswith("sig-sha1-"):
        raise errors.JobError("%s is refused: SHA-1 can be forged; sign with SHA-256" % name)
    if name not in (_ECDSA, _RSA):
        raise errors.JobError("%s is not a signature that this board can verify" % name)
    text = file[name]
    try:
        signature = a2b_base64(text.encode())
        if signature and b2a_base64(signature).strip() == text.encode():
            return name, signature
    except (AttributeError, ValueError):
        pass
    raise errors.JobError("%s is not base64" % name)


def _name(file):
    """Return the last part of `certfile` in files[0] of a job: a name that stays in its folder."""
    path = file.get("certfile")
    name = path.split("/")[-1] if isinstance(path, str) else ""
    if not 1 <= len(name) <= _MAX_NAME or name in (".", ".."):
        raise errors.JobError("certfile does not name a certificate")
    if not all(" " < c <= "~" and c != "\\" for c in name):
        raise errors.JobError("certfile has characters that no name of a certificate may have")
    return name
