"""One package for many boards: each board gets the smallest form that it can take.

A smaller form is signed by the fleet's own key, as the package itself was; it is made once, kept,
and offered by its digest. Where it is refused, the service sends the package as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.client import forms, shadow, smaller
from twinslot.client import publish as publishing
from twinslot.client.clients import Clients
from twinslot.client.forms import Form
from twinslot.client.kept import Kept
from twinslot.client.publish import Published, PublishError
from twinslot.config import Config
from twinslot.errors import FleetError
from twinslot.formats import package
from twinslot.formats.component import RAW, SEGMENTS
from twinslot.formats.head import Head
from twinslot.formats.segments.packer import Progress, quiet
from twinslot.trust import keys, signing
from twinslot.trust.signers import KeySigner


@dataclass(frozen=True)
class Offered:
    """A job that brings one form of the package to some boards. `size`: bytes that travel."""

    published: Published
    form: Form
    size: int


def offer(
    clients: Clients,
    config: Config,
    data: bytes,
    name: str,
    things: Sequence[str],
    *,
    asked: int | None = None,
    progress: Progress = quiet,
    job_id: str | None = None,
    **options: Any,
) -> list[Offered]:
    """Publish a package, as a job for each form that these boards need; most need one.

    asked: RAW or SEGMENTS for all boards, whatever they report; progress: of making forms; job_id:
    of the first job; options: as of `publish`. Raises PublishError for boards that cannot take the
    package and have no other form, and what `publish` raises.
    """
    maker = _Maker(config, data, progress)
    kinds = [] if maker.fixed else [component.kind for component in maker.head.manifest.components]
    reports: dict[str, shadow.Reported | None] = dict.fromkeys(things)
    if kinds and asked != RAW:
        found = clients.reports(things)
        reports |= {thing: found.get(thing) for thing in things}
    known = maker.kept.known if clients.sends_full else frozenset()
    parts: dict[bytes, tuple[Form, list[str]]] = {}
    for form, boards in forms.chosen(reports, kinds, known, asked).items():
        made = data if maker.fixed else maker.package(form, boards)
        parts.setdefault(made, (form, []))[1].extend(boards)
    full = None if maker.fixed else maker.raw
    offered = []
    for number, (made, (form, boards)) in enumerate(parts.items()):
        published = publishing.publish(
            clients,
            made,
            name,
            boards,
            job_id=job_id if not number or job_id is None else f"{job_id}-{number + 1}",
            full=full if clients.sends_full and full != made else None,
            **options,
        )
        offered.append(Offered(published, form, len(made)))
    if full is not None and not maker.head.manifest.trust:
        maker.kept.add(full)
    return offered


class _Maker:
    """Makes the forms of one package.

    fixed: there is one form, since a person has packed a delta or a set of keys. raw: the package
    as it is, None where only its smaller form is there, and nobody to sign another.
    """

    def __init__(self, config: Config, data: bytes, progress: Progress) -> None:
        self.kept = Kept(config.folder)
        self.head = package.inspect(data)
        self._data = data
        self._progress = progress
        components = self.head.manifest.components
        self.fixed = self.head.manifest.trust is not None or any(one.base for one in components)
        self._own = Form(max(component.encoding for component in components))
        self._signer = _signer(config, self.head)
        self.raw: bytes | None = None
        if self._own == Form():
            self.raw = data
        elif not self.fixed and self._signer is not None:
            self.raw = self._made(Form())

    def package(self, form: Form, boards: Sequence[str]) -> bytes:
        """The package in this form, or in another one that these boards can take."""
        if form == self._own:
            return self._data
        if self._signer is not None:
            made = self._made(form)
            return made if self.raw is None or len(made) < len(self.raw) else self.raw
        if self._own == Form() or form.encoding == SEGMENTS:
            return self._data
        shown = ", ".join(boards[:5]) + (f" and {len(boards) - 5} more" if len(boards) > 5 else "")
        raise PublishError(
            f"the package is compressed, and {shown} did not report that this can be read: pack it "
            "with --encoding raw, or send it all the same with --encoding segments"
        )

    def _made(self, form: Form) -> bytes:
        """The package in this form, made now or before."""
        if (found := self.kept.form(self.head.identity, form)) is not None:
            return found
        if self._signer is None:
            raise PublishError("no key of the fleet is here to sign another form of the package")
        manifest = self.head.manifest
        contents = [component.content(self._data) for component in manifest.components]
        if form.encoding == SEGMENTS:
            found_bases = {kind: self.kept.base(kind, digest) for kind, digest in form.bases}
            bases = {kind: base for kind, base in found_bases.items() if base is not None}
            contents = smaller.smaller(contents, bases or None, self._progress)
        made = signing.build_by(
            self._signer,
            contents,
            product=manifest.product,
            version=manifest.version,
            sequence=manifest.sequence,
            created=manifest.created,
            expires=manifest.expires,
        )
        self.kept.add_form(self.head.identity, form, made)
        return made


def _signer(config: Config, head: Head) -> KeySigner | None:
    """The fleet's own key, where it is here, needs no passphrase, and has signed the package."""
    try:
        key = keys.read_private(config.signing_key)
    except FleetError:
        return None
    return KeySigner(key) if keys.kid(key.public_key()) == head.kid else None
