"""The commands about the keys that may sign: `fleet keys`."""

import time
from collections.abc import Callable
from pathlib import Path

import click

from twinslot import config as configuration
from twinslot import disk
from twinslot.cli.pack import packing_options
from twinslot.cli.parts import (
    PROTOCOLS,
    passphrase_option,
    protocol_option,
    read_config,
    short,
    signer_options,
    toml_path,
)
from twinslot.cli.say import say
from twinslot.client import admission, packing, report, rotation
from twinslot.client.clients import translated
from twinslot.client.sequences import allot_anywhere, note
from twinslot.client.target import connect
from twinslot.config import Config
from twinslot.errors import FleetError, UnreachableError
from twinslot.formats.component import APPLICATION, FIRMWARE, application_content
from twinslot.formats.head import read_head
from twinslot.formats.manifest import MAX_SEQUENCE
from twinslot.formats.trust_set import (
    BOARD_FILE,
    MOST_KEYS,
    RELEASE,
    REVOKED,
    ROOT,
    Entry,
    TrustSet,
    board_file,
    make_set,
)
from twinslot.keychain import Draft, Keychain
from twinslot.trust import keys as key_files
from twinslot.trust import signing, succession
from twinslot.trust.signers import Signer

_FILE = click.Path(path_type=Path, dir_okay=False)
_ROLES = {"release": RELEASE, "root": ROOT, "both": RELEASE | ROOT}


class KeysError(FleetError):
    """The set of keys cannot be changed as asked."""


@click.group()
def keys() -> None:
    """Change who may sign, over the air.

    `add`, `retire`, `revoke` and `rotate` work on a draft of the next set of keys. `pack` signs it
    with a root key, together with firmware, an application, or both; `send` brings it to boards.
    docs/keys.md leads through a lost or stolen key.
    """


@keys.command()
@click.argument("name")
@passphrase_option
def new(name: str, ask: key_files.AskPassphrase | None) -> None:
    """Make a key, NAME.pem and NAME.pub.pem, beside the fleet's other keys.

    With --passphrase-file the private key is encrypted. `fleet keys add NAME` lists it.
    """
    config = read_config()
    private = config.signing_key.with_name(f"{name}.pem")
    key = key_files.generate()
    passphrase = "" if ask is None else ask(private)
    key_files.write_pair(key, private, _public_path(config, name), passphrase)
    say(f"wrote {short(private)} (key {key_files.kid(key.public_key()).hex()})")
    say(f"wrote {short(_public_path(config, name))}")


@keys.command("list")
def list_() -> None:
    """Show the present set of keys, and the draft of the next one."""
    config = read_config()
    chain = Keychain(config.folder)
    if chain.present is None:
        own = key_files.kid(key_files.read_public(config.public_key)).hex()
        say(f"no set of keys: boards take what key {own} signs, and nothing can replace it")
    else:
        brought = chain.package(chain.present.version)
        way = f"brought by {short(brought)}" if brought.exists() else "flashed, not sent"
        say(f"set {chain.present.version}, digest {chain.present.digest[:8].hex()}, {way}")
        _show(chain.present.entries, chain.names, config)
    if draft := chain.draft:
        say(f"draft of set {len(chain.sets) + 1}: `fleet keys pack` signs it")
        _show(draft.entries, draft.names, config)


@keys.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--role", type=click.Choice(list(_ROLES)), required=True, help="What it may sign.")
def add(name: str, role: str) -> None:
    """Let a key sign: NAME as of `fleet keys new`, or a FILE with a public key in PEM."""
    config, chain, draft = _begin()
    entry, known = _of_name(config, name)
    _check_revoked(draft, entry)
    entries = [one for one in draft.entries if one.kid != entry.kid]
    if len(entries) >= MOST_KEYS:
        raise KeysError(f"a set lists {MOST_KEYS} keys at most: retire one that no board needs")
    entries.append(Entry(entry.public, _ROLES[role]))
    _keep(chain, Draft(tuple(entries), {**draft.names, entry.kid: known}), config)


@keys.command()
@click.argument("key", metavar="KEY|NAME")
def retire(key: str) -> None:
    """List a key no longer: what it signed may run on, and it signs nothing new.

    Of a revoked key boards that know it keep it so; retire it once every board has that set.
    """
    config, chain, draft = _begin()
    gone = _find(draft, key)
    entries = tuple(entry for entry in draft.entries if entry.kid != gone.kid)
    _keep(chain, Draft(entries, draft.names), config)


@keys.command()
@click.argument("key", metavar="KEY|NAME")
def revoke(key: str) -> None:
    """Forbid a key for good, and all that it has signed: for one that was stolen.

    The package of the set must bring firmware and application.
    """
    config, chain, draft = _begin()
    gone = _find(_with_earlier(draft, chain), key)
    kept = [entry for entry in draft.entries if entry.kid != gone.kid]
    if len(kept) >= MOST_KEYS:
        raise KeysError(f"a set lists {MOST_KEYS} keys at most: retire one that no board needs")
    entries = (*kept, Entry(gone.public, REVOKED))
    _keep(chain, Draft(entries, {**chain.names, **draft.names}), config)


@keys.command()
@click.argument("old", metavar="KEY|NAME")
@click.argument("name", metavar="NEW")
@click.option("--stolen", is_flag=True, help="Revoke the old key; else it is retired.")
@passphrase_option
def rotate(old: str, name: str, stolen: bool, ask: key_files.AskPassphrase | None) -> None:
    """Make the key NEW, and put it in the place of an old one, with its roles."""
    config, chain, draft = _begin()
    before = _find(draft, old)
    if before.roles == REVOKED:
        raise KeysError(f"key {old} is revoked and has no roles: `fleet keys add` names some")
    if len(draft.entries) >= MOST_KEYS and stolen:
        raise KeysError(f"a set lists {MOST_KEYS} keys at most: retire one that no board needs")
    private = config.signing_key.with_name(f"{name}.pem")
    key = key_files.generate()
    passphrase = "" if ask is None else ask(private)
    key_files.write_pair(key, private, _public_path(config, name), passphrase)
    say(f"wrote {short(private)} (key {key_files.kid(key.public_key()).hex()})")
    entry = Entry(key_files.public_bytes(key.public_key()), before.roles)
    left = _revoked(draft, before) if stolen else draft
    entries = [one for one in left.entries if stolen or one.kid != before.kid] + [entry]
    _keep(chain, Draft(tuple(entries), {**draft.names, entry.kid: name}), config)


@keys.command()
def drop() -> None:
    """Forget the draft of the next set."""
    Keychain(read_config().folder).drop_draft()
    say("there is no draft any more; keys that were made stay")


@keys.command()
@packing_options
@click.option(
    "--app",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the application to pack, with its main.py.",
)
@click.option("--version", required=True, metavar="TEXT", help="Version for people, 1 to 32 bytes.")
@click.option(
    "--sequence",
    type=click.IntRange(1, MAX_SEQUENCE),
    metavar="N",
    help="Sequence from which boards count on.  [default: the next one]",
)
@click.option("--again", is_flag=True, help="Bring the newest set once more, in another package.")
@signer_options
def pack(
    sources: packing.Sources,
    version: str,
    sequence: int | None,
    again: bool,
    signer: Callable[[Config, Path], Signer],
) -> None:
    """Sign the draft with a root key, in a package of firmware, an application, or both.

    The root key is keys/root.pem, or --key FILE, or a program (--signer). The package stays in the
    fleet's folder: boards that come back late get it, too. It never expires.
    """
    config = read_config()
    chain = Keychain(config.folder)
    after, names = _wanted(chain, again=again)
    contents = packing.gather(sources, config)
    _check_agents(config, force=sources.options.force)
    root = signer(config, config.root_key)
    before = admission.set_before(config, chain, after.version)
    kid = key_files.kid(root.public_key())
    _check_contents(before, after, contents)
    succession.check(before, after, kid, [kid])
    if sequence is None:
        sequence, _ = allot_anywhere(config)
    else:
        for warning in note(config, sequence):
            say(f"warning: {warning}")
    data = signing.build_by(
        root,
        contents.components,
        product=config.product,
        version=version,
        sequence=sequence,
        created=int(time.time()),
        trust=after,
    )
    for line in packing.listing(contents, sources, config):
        say(line)
    for warning in contents.warnings:
        say(f"warning: {warning}")
    if again:
        chain.replace_package(after.version, data)
    else:
        chain.add(after, names, data)
    for path in sorted(config.boards.glob(f"*/{BOARD_FILE}")):  # for the next one on a cable
        disk.replace(path, board_file(after))
    say(f"wrote {short(chain.package(after.version))}: set {after.version}, sequence {sequence}")
    _show(after.entries, names, config)
    _sign_with_a_release_key(config, after)
    say("  fleet keys send BOARD...    brings it to boards; so does the next publish or push")


@keys.command()
@click.argument("things", metavar="BOARD...", nargs=-1, required=True)
@protocol_option
def send(things: tuple[str, ...], protocol: str) -> None:
    """Queue the sets that each BOARD lacks, in their order."""
    config = read_config()
    chain = Keychain(config.folder)
    rotation.queue(connect(config), chain, things, say, protocols=PROTOCOLS[protocol])
    say("every other board has the newest set, or its job waits already")


@keys.command()
@signer_options
def drill(signer: Callable[[Config, Path], Signer]) -> None:
    """Try the root key: would boards take a set that it signs? Nothing is written or sent.

    A root key that nobody has tried for a year may be unreadable when it is needed.
    """
    config = read_config()
    chain = Keychain(config.folder)
    root = signer(config, config.root_key)
    present = admission.present(config, chain)
    kid = key_files.kid(root.public_key())
    spare = Entry(key_files.public_bytes(key_files.generate().public_key()), RELEASE)
    kept = [entry for entry in present.entries if entry.roles & ROOT] + [spare]
    after = make_set(present.version + 1, kept)
    succession.check(present, after, kid, [kid])
    content = application_content(bytes(1024))
    data = signing.build_by(root, [content], config.product, "drill", 1, 1, trust=after)
    signing.verify(read_head(data), root.public_key())
    say(f"key {kid.hex()} signs, and boards with set {present.version} would take its next set")


def _public_path(config: Config, name: str) -> Path:
    return config.signing_key.with_name(f"{name}.pub.pem")


def _begin() -> tuple[Config, Keychain, Draft]:
    """The fleet, its chain, and the draft: the present set where there is none yet."""
    config = read_config()
    chain = Keychain(config.folder)
    draft = chain.draft
    if draft is None:
        draft = Draft(admission.present(config, chain).entries, chain.names)
    return config, chain, draft


def _keep(chain: Keychain, draft: Draft, config: Config) -> None:
    """Write a draft, and say what still lacks."""
    chain.keep_draft(draft)
    say(f"draft of set {len(chain.sets) + 1}:")
    _show(draft.entries, draft.names, config)
    for role, name in ((RELEASE, "release"), (ROOT, "root")):
        if not any(entry.roles & role for entry in draft.entries):
            say(f"it has no {name} key yet: `fleet keys add NAME --role {name}`")


def _show(entries: tuple[Entry, ...], names: object, config: Config) -> None:
    known = names if isinstance(names, dict) else {}
    for entry in entries:
        name = known.get(entry.kid, "")
        here = name and config.signing_key.with_name(f"{name}.pem").exists()
        place = f"  private key in {short(config.signing_key.with_name(f'{name}.pem'))}"
        say(f"  {entry.kid.hex()}  {entry.words:<16}  {name}{place if here else ''}")


def _of_name(config: Config, name: str) -> tuple[Entry, str]:
    """A key by the name of its file, or by the file itself, and the name."""
    path = Path(name)
    if path.suffix != ".pem":
        path = _public_path(config, name)
    public = key_files.read_public(path)
    return Entry(key_files.public_bytes(public), 0), path.name.removesuffix(".pem").removesuffix(
        ".pub"
    )


def _find(draft: Draft, key: str) -> Entry:
    """The key of a draft by its name or the beginning of its id. Raises KeysError."""
    found = [
        entry
        for entry in draft.entries
        if draft.names.get(entry.kid) == key or (len(key) >= 4 and entry.kid.hex().startswith(key))
    ]
    if len(found) != 1:
        raise KeysError(f"{key} is {'no' if not found else 'more than one'} key of the set")
    return found[0]


def _with_earlier(draft: Draft, chain: Keychain) -> Draft:
    """The draft, and every key that an earlier set has listed: a retired one may be revoked."""
    known = {entry.kid: entry for found in chain.sets for entry in found.entries}
    known |= {entry.kid: entry for entry in draft.entries}
    return Draft(tuple(known.values()), {**chain.names, **draft.names})


def _revoked(draft: Draft, gone: Entry) -> Draft:
    entries = [
        Entry(entry.public, REVOKED) if entry.kid == gone.kid else entry for entry in draft.entries
    ]
    return Draft(tuple(entries), draft.names)


def _check_revoked(draft: Draft, entry: Entry) -> None:
    if any(one.kid == entry.kid and one.roles == REVOKED for one in draft.entries):
        raise KeysError(f"key {entry.kid.hex()} is revoked, and stays so: make another one")


def _wanted(chain: Keychain, *, again: bool) -> tuple[TrustSet, dict[bytes, str]]:
    """The set to bring: the draft's, or the newest of the chain once more."""
    if again:
        if chain.present is None:
            raise KeysError("the fleet has no set of keys that could be brought again")
        return chain.present, chain.names
    draft = chain.draft
    if draft is None:
        raise KeysError(
            "nothing is drafted: `fleet keys rotate`, `add`, `retire` or `revoke` first; --again "
            "brings the newest set in another package"
        )
    return make_set(len(chain.sets) + 1, draft.entries), dict(draft.names)


def _check_contents(before: TrustSet, after: TrustSet, contents: packing.Contents) -> None:
    """A set that revokes more than before brings both parts: boards keep no record of the key."""
    kinds = {component.kind for component in contents.components}
    if after.revoked - before.revoked and kinds != {FIRMWARE, APPLICATION}:
        raise KeysError(
            f"set {after.version} revokes a key, so no board may keep a part that it signed: pack "
            "--firmware IMAGE and --app DIR together"
        )


def _check_agents(config: Config, *, force: bool) -> None:
    """Ask the service, if one answers, whether every agent is new enough. Raises RotationError."""
    if force:
        return
    try:
        with translated():
            found = report.of_fleet(connect(config), 1)
    except UnreachableError:
        say("warning: no service answers, so nobody knows whether the agents read sets of keys")
        return
    rotation.check_agents({thing: board.reported for thing, board in found.items()})


def _sign_with_a_release_key(config: Config, after: TrustSet) -> None:
    """Let fleet.toml name a release key of the new set, if its present one is none any more."""
    own = after.entry(key_files.kid(key_files.read_public(config.public_key)))
    if own is not None and own.roles & RELEASE:
        return
    for public in sorted(config.public_key.parent.glob("*.pub.pem")):
        entry = after.entry(key_files.kid(key_files.read_public(public)))
        private = public.with_name(public.name.removesuffix(".pub.pem") + ".pem")
        if entry is not None and entry.roles & RELEASE and private.exists():
            paths = {
                "signing": str(private.relative_to(config.folder)),
                "public": str(public.relative_to(config.folder)),
            }
            configuration.set_keys(toml_path(), paths)
            say(f"fleet.toml: packages are signed with {short(private)} from now on; restart serve")
            return
    say(
        "warning: fleet.toml names a signing key that the new set does not let sign; set keys."
        "signing and keys.public"
    )
