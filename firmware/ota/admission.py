"""The head of a file: its signature, its manifest, and whether the package belongs on this board.

Each step is a state of its own, because a chip without PSRAM cannot keep the code that reads the
head beside the code of the arithmetic:

    opening     takes the head apart and believes nothing in it
    verifying   does the arithmetic of one signature; a raw image's comes after its last byte
    admitting   reads and judges the manifest
    measuring   judges whether an application fits into the file system, and whether an encoded
                component can be decoded here
                after either of the two the journal knows the update

The first byte of the head tells a package from a raw image. The job of a raw image must bring a
usable signature. A claim is (module, key, digest, signature, error, then): if
`module.verifying(key, digest, signature)` holds, the state `then` follows, else `error` is raised.
"""

from . import chip, errors, journal, loader
from . import engine as states
from .compat import const

_RELEASE = const(1)  # a role of `keyset`
# A job brings a package that has failed its test here so often no more; a person may.
_FAILURES = const(2)
_UNSURE = const("its expiry was judged by a clock that is not sure")


def opening(engine):
    """Take the head apart. Raises PackageError, UnknownKeyError, SignatureError, SettingsError."""
    board = engine.board
    engine.manifest = engine.bare_manifest()
    if engine.manifest:
        engine.become(states.ADMITTING)
        return 0
    package, trust = loader.module("package"), loader.module("trust")
    head = memoryview(board.buf)[: min(engine.path.size, package.HEAD_SIZE)]
    record = bytes(package.record_of_head(head))
    board.give_back()  # the arithmetic needs the memory
    payload, *signed = package.opened(record)
    kid = signed[1]
    public, roles = loader.ask("trust", "signer", board, kid)
    key, digest, signature = trust.claim({kid: public}, *signed)
    engine.target = payload, record, kid, roles
    error = errors.SignatureError("the signature does not belong to this package")
    engine.become(states.VERIFYING)
    engine.claim = "p256", key, digest, signature, error, states.ADMITTING
    return 0


def verifying(engine):
    """Find out whether a claim holds, a slice at a time. Raises the claim's error."""
    engine.slices(_verifying)
    return 0


def _verifying(engine):
    algorithm, key, digest, signature, error, then = engine.claim
    good = yield from loader.module(algorithm).verifying(key, digest, signature)
    if not good:
        raise error
    engine.claim = None
    if then == states.WAITING:
        engine.verified(engine.target.version)
    else:
        engine.become(then)


def admitting(engine):
    """Read the manifest and judge it. Raises what `manifest.admit` raises, PackageError."""
    board, noted = engine.board, engine.journal
    manifests = loader.module("manifest")
    if engine.manifest is None:
        _read_manifest(engine, manifests)
    manifest = engine.manifest
    identity = manifest.identity.hex()
    if engine.origin == journal.JOB and noted.failures(identity) >= _FAILURES:
        raise errors.FailedBeforeError(
            "this very package has failed its test on this board %d times" % _FAILURES
        )
    if not manifest.proof:
        slots = board.slots
        manifests.admit(
            manifest,
            product=board.product,
            chip=slots.running.chip_id(),
            capacity=slots.other.capacity,
            floor=0 if manifest.trust else board.floor,
            now=chip.unix_time(),
            retry_of=manifest.identity if noted.identity == identity else None,
        )
    if noted.phase == journal.RECEIVING and noted.identity == identity:
        engine.become(states.PREPARING)
    else:
        engine.become(states.MEASURING)
    return 0


def measuring(engine):
    """Judge whether the package can be written here, a slice at a time.

    Raises what `checking` of `room` and of the encoding raises, ExtensionError.
    """
    engine.slices(_measuring)
    return 0


def _measuring(engine):
    for component in engine.manifest.components:
        if component.encoding:
            yield from loader.ask(component.encoding, "checking", component, engine.board)
        if component.kind:  # an application
            yield from loader.module("room").checking(component, engine.board)
    _admit(engine)


def _admit(engine):
    """From here on the journal knows of the update."""
    manifest = engine.manifest
    unsure = manifest.expires is not None and not chip.sure
    engine.board.keep_accepted()  # a raw image may take the place of the package that ran first
    engine.become(
        states.PREPARING,
        fresh=True,
        origin=engine.origin,
        job=engine.job.job_id if engine.job else "",
        slot=engine.board.slots.other.label,
        identity=manifest.identity.hex(),
        sequence=manifest.sequence,
        source=engine.source if isinstance(engine.source, str) else "",
        detail=manifest.note or (_UNSURE if unsure else ""),
    )


def _read_manifest(engine, manifests):
    payload, record, kid, roles = engine.target
    fields = loader.module("package").fields_of(payload)
    manifest = manifests.manifest_of(payload, fields, record)
    if engine.path.size == states.UNTOLD:
        engine.path.size = manifest.package_size
    if manifest.package_size != engine.path.size:
        raise errors.JobError(
            "the job says %d bytes, the manifest %d" % (engine.path.size, manifest.package_size)
        )
    if manifest.trust is not None or not roles & _RELEASE:
        loader.ask("trust", "admit", engine.board, manifest, kid)
    engine.manifest, engine.target = manifest, None
