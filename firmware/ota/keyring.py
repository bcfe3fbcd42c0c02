"""The keys that this board trusts, as flash keeps them. `keyset` has the rules.

The blob `trust` of NVS holds the set with the floor; a power cut leaves the old one or the new one.
A number beside it, written afterwards, survives the blob. A copy lies in the settings folder,
because MicroPython erases an NVS that has no free page. A board that was never given a set trusts
the keys of trusted_keys.pem.
"""

import json
import os

from . import errors, journal, keyset, package
from .settings import etc, trusted_keys
from .slots import SECTOR, Slots
from .trust import load_keys

COPY = etc("trust.json")


def present(item=None, both=None):
    """Return the keyset.Trust of this board: the newest of blob, copy and `item`.

    item: the set in the trailer of the running, VALID slot, or None; both: of `_both`, if they were
    read. Raises SettingsError, also where a set is known to have been here and is lost.
    """
    found = _newer(*(both or _both()))
    if item is not None and (found is None or keyset.parse(item)[0] > found.version):
        before = found or _of_files()
        return keyset.following(before, item, before.keys)
    return _whole(found)


def believed():
    """Return {kid: x || y} of the keys that verify what a slot holds. Raises SettingsError."""
    return keyset.believed(present())


def look():
    """Return what a start needs to know, before it verifies what runs.

    These are `believed`; the version of the set that holds here or will, once the running image is
    accepted; whether that image raises the floor; whether its trailer is the one that was accepted
    here last, so that nothing needs to be verified or stored; whether a start has to `settle`.
    Where nothing can be believed, the first are {}, 0, False.
    """
    pair, buf = Slots(), bytearray(SECTOR)
    try:
        kids, newest = _records(pair.running, buf)
        seal = pair.running.seal(buf).hex()
        item = newest.get(8)
        both = _both()
        ring = present(item if pair.proved else None, both)
        version = ring.version if item is None else max(ring.version, keyset.parse(item)[0])
        counts = bool(kids) and keyset.raises_floor(ring, kids[0], item)
        known = bool(kids) and pair.proved and seal == ring.seal
        due = pair.proved and version and not known
    except errors.OtaError:
        return {}, journal.trust_version(), False, False, False
    if known and version:
        try:
            _store(ring, both, pair.other, _records(pair.other, buf)[0])
        except errors.FlashError:
            pass  # the next start does it
    return keyset.believed(ring), version, counts, known, due


def signer(board, kid):
    """Return (x || y, roles) of the key that signed what arrives. board: board.Board.

    Raises SettingsError, UnknownKeyError.
    """
    ring = present()
    if ring.version < board.trust:
        raise errors.SettingsError("neither NVS nor %s takes set %d of keys" % (COPY, board.trust))
    if not ring.version and not board.believed:
        raise errors.SettingsError(
            "the trailer of what runs cannot be believed by %s: bring the key that signed it, too, "
            "by cable" % etc("trusted_keys.pem")
        )
    keyset.roles_of(ring, kid)
    return ring.keys[kid]


def admit(board, manifest, signer):
    """Decide by its key whether a package may be installed here. signer: kid of its key.

    Raises what `keyset.judge` raises, SettingsError, FlashError.
    """
    ring = present()
    if manifest.trust is None:
        keyset.check_role(ring, signer, keyset.RELEASE)
        return
    if manifest.expires is not None:
        raise errors.PackageError("a package with a set of keys must not expire")
    records = [signer]
    kinds = [component.kind for component in manifest.components]
    for kind in (package.FIRMWARE, package.APPLICATION):
        part = board.parts[kind]
        if part and kind not in kinds:
            trailer = board.slots.running.read_trailer(board.buf)
            if trailer:
                records.append(package.opened(bytes(trailer[0][part.start : part.end]))[2])
    keyset.judge(ring, manifest.trust, signer, records)


def settle(board):
    """Make what is stored fit what runs and is VALID; then void what hangs on a revoked key.

    At an acceptance, and at a start whose trailer is not the one accepted last: that repeats what
    a power cut broke off. Raises FlashError, SettingsError, PackageError.
    """
    slots, buf = board.slots, board.buf
    kids, newest = _records(slots.running, buf)
    seal = board.seal.hex() if board.believed else ""
    if newest and slots.running.seal(buf) != board.seal:
        newest, seal = {}, ""  # the start did not see it
    others = _records(slots.other, buf)[0]
    both = _both()
    item, before = newest.get(8), _newer(*both)
    if item is not None and (before is None or keyset.parse(item)[0] > before.version):
        before = before or _of_files()
        after = keyset.following(before, item, kids + others, newest[4], newest[5], seal)
    else:
        before = _whole(before)
        created = board.created if board.raises and board.created <= board.latest() else 0
        after = keyset.Trust(
            before.version,
            before.keys,
            before.digest,
            max(before.floor, board.raises),
            max(before.created, created),
            seal or before.seal,
        )
    if after.version:
        board.trust = after.version
        _store(after, both, slots.other, others)


def _store(trust, both, other, kids):
    """Keep a set, then void the other slot if it hangs on a revoked key. kids: of its records.

    Blob and copy (`both`, as they were read) and the number are written as far as they differ.
    Where NVS is full the copy counts. Raises FlashError.
    """
    blob, copy = both
    fields = keyset.stored(trust)
    try:
        if blob != trust:
            journal.keep_trust(fields)
        journal.keep_trust_version(trust.version)
    finally:
        if copy != trust:
            _write(json.dumps(fields))
    _void(other, trust, kids)


def _void(slot, trust, kids):
    """Erase a slot whose records hang on a revoked key. kids: of its records.

    The image goes first, so that a cut leaves the trailer, and this is repeated.
    """
    for kid in kids:
        if kid in trust.keys and not trust.keys[kid][1]:
            slot.erase(0)
            slot.erase(slot.size // SECTOR - 1)
            return


def _records(slot, buf):
    """Return the kids of a slot's records, newest first, and the fields of the newest manifest."""
    trailer = slot.read_trailer(buf)
    kids = []
    fields: "dict" = {}
    try:
        for record in package.split(trailer[0]) if trailer else ():
            payload, _, kid = package.opened(record)[:3]
            fields = fields or package.fields_of(payload)
            kids.append(kid)
        fields.get(8)
    except (errors.PackageError, AttributeError):
        fields = {}  # nothing of it is believed anywhere
    return kids, fields


def _both():
    """Return the Trust of the blob and that of its copy, each None where it is not there."""
    try:
        with open(COPY) as file:
            copy = json.load(file)
    except (OSError, ValueError):
        copy = None
    return keyset.of_stored(journal.stored_trust()), keyset.of_stored(copy)


def _newer(blob, copy):
    """Return the newer one of blob and copy, None without either."""
    if blob is None or copy is None:
        return blob or copy
    newer = (copy.version, copy.floor) > (blob.version, blob.floor)
    return copy if newer else blob


def _whole(found):
    """Return the Trust that was found, or of the files. Raises SettingsError if one was lost."""
    known = journal.trust_version()
    if known > (found.version if found else 0):
        raise errors.SettingsError(
            "this board had set %d of keys and has lost it: bring %s by cable" % (known, COPY)
        )
    return found or _of_files()


def _of_files():
    return keyset.of_files(load_keys(trusted_keys()), journal.stored_trust().get("seal"))


def _write(text):
    """Put the copy in its place, whole. Raises FlashError."""
    new = COPY + ".new"
    try:
        with open(new, "w") as file:
            file.write(text)
        os.rename(new, COPY)
    except OSError as error:
        raise errors.FlashError("%s cannot be written: %s" % (COPY, error))
