"""`fleet keys`: who may sign is changed by a chain of packages, each admitted by a root key."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from esp_images import app
from fleet_service import Broker, Service, running, until
from test_fleet_service import Device

from twinslot import keychain
from twinslot.addresses import Address
from twinslot.cli.main import main
from twinslot.client import rotation, shadow
from twinslot.client.shadow import Reported
from twinslot.config import create, load
from twinslot.formats import package
from twinslot.formats.trust_set import BOARD_FILE, RELEASE, ROOT, Entry, TrustSet, make_set
from twinslot.keychain import Keychain, KeychainError
from twinslot.trust import keys

PACK = ("--app", "app", "--no-agent", "--board-has", "ota")


class Fleet:
    """A fleet's folder, as `fleet init` makes it, with an application and a firmware image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        if not (folder / "fleet.toml").exists():
            broker = Address("127.0.0.1", 1)
            create(
                folder,
                product="demo-board",
                chip="esp32",
                slot_size=0x1B0000,
                broker=broker,
                tls=False,
            )
        (folder / "app").mkdir()
        (folder / "app/main.py").write_text("print(1)\n")
        (folder / "image.bin").write_bytes(app(5000))

    def run(self, *arguments: str, code: int = 0) -> str:
        with contextlib.chdir(self.folder):
            done = CliRunner(env={"COLUMNS": "80"}).invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    def pack_set(self, *more: str, code: int = 0) -> str:
        return self.run("keys", "pack", *PACK, "--version", "1", *more, code=code)

    @property
    def chain(self) -> Keychain:
        return Keychain(self.folder)

    def kid(self, name: str) -> bytes:
        return keys.kid(keys.read_public(self.folder / f"keys/{name}.pub.pem"))

    def head(self, version: int) -> Any:
        return package.inspect(self.chain.package(version).read_bytes())

    def roles(self) -> dict[str, str]:
        present = self.chain.present
        assert present is not None
        return {self.chain.name(entry.kid): entry.words for entry in present.entries}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


@pytest.fixture
def old(tmp_path: Path) -> Fleet:
    """A fleet of an earlier release: one key, no set."""
    found = Fleet(tmp_path / "fleet")
    for name in ("trust/1.json", "keys/root.pem", "keys/root.pub.pem"):
        (found.folder / name).unlink()
    return found


def test_init_makes_a_release_and_a_root_key_and_says_where_to_keep_the_root(
    tmp_path: Path,
) -> None:
    with contextlib.chdir(tmp_path):
        said = CliRunner().invoke(main, ["init"]).output
    assert "Take keys/root.pem off line" in said
    found = Keychain(tmp_path)
    assert found.present is not None
    assert [(found.name(e.kid), e.words) for e in found.present.entries] == [
        ("signing", "release"),
        ("root", "root"),
    ]
    assert (tmp_path / "keys/root.pem").stat().st_mode & 0o777 == 0o600


def test_a_fleet_with_one_key_works_as_ever_and_is_told_so(old: Fleet) -> None:
    said = old.run("pack", *PACK, "--version", "1", "-o", "a.ota")
    assert "warning: this fleet has one key" in said
    assert "signature holds" in old.run("inspect", "a.ota")
    assert "no set of keys" in old.run("keys", "list")
    assert "this fleet has one key" in old.run("doctor", code=1)


def test_a_fleet_with_one_key_gets_a_root_over_the_air(old: Fleet) -> None:
    old.run("keys", "new", "root")
    assert "signing" not in old.run("keys", "add", "root", "--role", "root")
    old.pack_set("--key", "keys/signing.pem")
    head = old.head(1)
    assert head.kid == old.kid("signing"), "the one key has both roles"
    assert old.roles() == {old.kid("signing").hex(): "release and root", "root": "root"}
    said = old.run("keys", "retire", old.kid("signing").hex()[:8])
    assert "it has no release key yet" in said
    old.run("keys", "add", "signing", "--role", "release")
    old.pack_set()
    assert old.head(2).kid == old.kid("root")
    assert old.roles() == {"root": "root", "signing": "release"}


def test_a_lost_key_is_rotated_and_packages_are_signed_by_the_new_one(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    said = fleet.pack_set()
    assert "packages are signed with keys/second.pem from now on" in said
    head = fleet.head(2)
    assert (head.kid, head.manifest.trust) == (fleet.kid("root"), fleet.chain.present)
    assert head.manifest.expires is None
    assert fleet.roles() == {"root": "root", "second": "release"}
    fleet.run("pack", *PACK, "--version", "2", "-o", "a.ota")
    plain = package.inspect((fleet.folder / "a.ota").read_bytes())
    assert plain.kid == fleet.kid("second")
    assert plain.manifest.sequence > head.manifest.sequence
    assert "signature holds" in fleet.run("inspect", "a.ota")


def test_a_stolen_key_is_revoked_by_firmware_and_application_together(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second", "--stolen")
    refused = fleet.pack_set(code=1)
    assert "pack --firmware IMAGE and --app DIR together" in refused
    assert len(fleet.chain.sets) == 1
    assert not fleet.chain.package(2).exists()
    fleet.pack_set("--firmware", "image.bin")
    assert fleet.roles()["signing"] == "revoked"
    assert len(fleet.head(2).manifest.components) == 2
    fleet.run("pack", *PACK, "--version", "2", "--key", "keys/signing.pem", "-o", "bad.ota")
    assert "revoked in set 2" in fleet.run("inspect", "bad.ota", code=1)


def test_a_revoked_key_stays_revoked_and_listed(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second", "--stolen")
    fleet.pack_set("--firmware", "image.bin")
    assert "is revoked, and stays so" in fleet.run(
        "keys", "add", "signing", "--role", "release", code=1
    )
    fleet.run("keys", "rotate", "second", "third")
    fleet.pack_set()
    assert fleet.roles()["signing"] == "revoked"


def test_a_key_that_is_retired_already_can_be_revoked(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    fleet.run("keys", "revoke", "signing")
    fleet.pack_set("--firmware", "image.bin")
    assert fleet.roles()["signing"] == "revoked"


def test_a_second_root_replaces_a_root_that_was_lost(fleet: Fleet) -> None:
    fleet.run("keys", "new", "spare")
    fleet.run("keys", "add", "spare", "--role", "root")
    fleet.pack_set()
    (fleet.folder / "keys/root.pem").unlink()
    fleet.run("keys", "rotate", "root", "root-2")
    fleet.pack_set("--key", "keys/spare.pem")
    assert fleet.head(3).kid == fleet.kid("spare")
    assert fleet.roles() == {"signing": "release", "spare": "root", "root-2": "root"}


@pytest.mark.parametrize("name", ["signing", "root"])
def test_a_set_without_a_release_or_a_root_key_is_refused(fleet: Fleet, name: str) -> None:
    assert "it has no" in fleet.run("keys", "retire", name)
    assert "no key has the role" in fleet.pack_set(code=1)


def test_only_a_root_of_the_set_before_signs_a_set(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    said = fleet.pack_set("--key", "keys/signing.pem", code=1)
    assert "is release in set 1; this takes a root key" in said
    assert "does not know key" in fleet.pack_set("--key", "keys/second.pem", code=1)


def test_the_same_version_never_brings_another_set(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    before, first = fleet.chain.present, fleet.head(2)
    fleet.pack_set("--again")
    again = fleet.head(2)
    assert again.manifest.trust == before == fleet.chain.present
    assert again.manifest.sequence > first.manifest.sequence
    assert before is not None
    other = make_set(2, [Entry(entry.public, RELEASE | ROOT) for entry in before.entries])
    with pytest.raises(KeychainError, match="does not follow"):
        fleet.chain.add(other, {}, b"")
    assert "nothing is drafted" in fleet.pack_set(code=1)


def test_a_draft_is_dropped_and_keys_stay(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    fleet.run("keys", "drop")
    assert fleet.chain.draft is None
    assert (fleet.folder / "keys/second.pem").exists()


def test_a_set_lists_eight_keys_at_most(fleet: Fleet) -> None:
    for number in range(6):
        fleet.run("keys", "new", f"k{number}")
        fleet.run("keys", "add", f"k{number}", "--role", "release")
    fleet.run("keys", "new", "k7")
    assert "8 keys at most" in fleet.run("keys", "add", "k7", "--role", "both", code=1)
    assert "8 keys at most" in fleet.run("keys", "rotate", "k1", "k8", "--stolen", code=1)
    assert "is no key of the set" in fleet.run("keys", "retire", "nobody", code=1)


def test_a_drill_tries_the_root_key_and_writes_nothing(fleet: Fleet) -> None:
    before = sorted(fleet.folder.rglob("*"))
    assert "boards with set 1 would take its next set" in fleet.run("keys", "drill")
    assert sorted(fleet.folder.rglob("*")) == before
    said = fleet.run("keys", "drill", "--key", "keys/signing.pem", code=1)
    assert "this takes a root key" in said
    (fleet.folder / "keys/root.pem").unlink()
    assert "cannot read the key" in fleet.run("keys", "drill", code=1)


def test_a_root_key_with_a_passphrase_signs_when_it_is_given(fleet: Fleet) -> None:
    (fleet.folder / "words").write_text("correct horse\n")
    (fleet.folder / "wrong").write_text("battery\n")
    fleet.run("keys", "new", "safe", "--passphrase-file", "words")
    assert b"ENCRYPTED" in (fleet.folder / "keys/safe.pem").read_bytes()
    fleet.run("keys", "add", "safe", "--role", "root")
    fleet.pack_set()
    safe = ("--key", "keys/safe.pem", "--passphrase-file")
    assert "would take" in fleet.run("keys", "drill", *safe, "words")
    assert "does not open" in fleet.run("keys", "drill", *safe, "wrong", code=1)


def test_a_program_signs_packages_and_sets(fleet: Fleet) -> None:
    card = fleet.folder / "card.py"
    card.write_text(
        "import sys\nfrom pathlib import Path\nfrom twinslot.trust import keys\n"
        "key = keys.read_private(Path(sys.argv[1]))\n"
        "sys.stdout.buffer.write(keys.sign(key, sys.stdin.buffer.read()))\n"
    )
    (fleet.folder / "keys/root.pem").rename(fleet.folder / "off-line.pem")
    program = f"{sys.executable} {card} {fleet.folder}/off-line.pem"
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set("--signer", program)
    assert fleet.head(2).kid == fleet.kid("root")
    said = fleet.run("pack", *PACK, "--version", "1", "-o", "a.ota", "--signer", program, code=1)
    assert f"no signature by key {fleet.kid('second').hex()}" in said
    both = fleet.run("keys", "drill", "--signer", program, "--key", "x", code=2)
    assert "give one of them" in both


def test_a_package_ends_on_the_day_that_is_named(fleet: Fleet) -> None:
    fleet.run("pack", *PACK, "--version", "1", "-o", "a.ota", "--expires", "2100-01-31")
    found = package.inspect((fleet.folder / "a.ota").read_bytes()).manifest
    assert found.expires == 4_105_036_800
    for wrong in (("--expires", "2001-01-31"), ("--expires", "soon")):
        fleet.run("pack", *PACK, "--version", "1", "-o", "b.ota", *wrong, code=2)
    both = ("--expires", "2100-01-31", "--expires-days", "3")
    assert "mean the same" in fleet.run(
        "pack", *PACK, "--version", "1", "-o", "b.ota", *both, code=2
    )


def test_provision_writes_the_present_set_for_the_board(fleet: Fleet) -> None:
    fleet.run("provision", "board-1", "--host", "10.0.0.1", "--wifi-ssid", "home")
    fleet.run("keys", "rotate", "signing", "second", "--stolen")
    fleet.pack_set("--firmware", "image.bin")
    fleet.run("provision", "board-2", "--host", "10.0.0.1", "--wifi-ssid", "home")
    both = [fleet.folder / "boards" / thing / BOARD_FILE for thing in ("board-1", "board-2")]
    assert both[0].read_bytes() == both[1].read_bytes(), "older folders follow"
    found = json.loads((fleet.folder / "boards/board-1" / BOARD_FILE).read_text())
    present = fleet.chain.present
    assert present is not None
    assert (found["v"], found["set"], found["floor"]) == (1, 2, 0)
    assert found["digest"] == present.digest[:8].hex()


def test_the_boards_file_is_what_a_board_stores(fleet: Fleet) -> None:
    from ota import keyset  # the board's own reader

    from twinslot.formats.trust_set import board_file

    present = fleet.chain.present
    assert present is not None
    found: Any = keyset.of_stored(json.loads(board_file(present)))
    assert (found.version, found.digest) == (1, present.digest[:8].hex())
    assert {kid: entry[1] for kid, entry in found.keys.items()} == {
        entry.kid: entry.roles for entry in present.entries
    }


def test_a_backup_brings_the_chain_back(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    fleet.run("backup", str(tmp_path / "saved.tgz"))
    again = tmp_path / "again"
    again.mkdir()
    with contextlib.chdir(again):
        done = CliRunner().invoke(main, ["restore", str(tmp_path / "saved.tgz")])
    assert done.exit_code == 0, done.output
    assert Keychain(again).present == fleet.chain.present
    assert Keychain(again).package(2).read_bytes() == fleet.chain.package(2).read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no set of keys"),
        ("{}", "holds no set of keys"),
        ('{"version": 1, "keys": []}', "1 to 8"),
        ('{"version": 2, "keys": []}', "does not hold set 1"),
        ('{"version": 1, "keys": [{"public": "00", "roles": ["king"]}]}', "holds no set of keys"),
    ],
)
def test_a_damaged_chain_is_refused_by_its_file(fleet: Fleet, text: str, words: str) -> None:
    (fleet.folder / keychain.FOLDER / "1.json").write_text(text)
    said = fleet.run("keys", "list", code=1)
    assert words in said
    assert "1.json" in said


def reported(present: TrustSet | None, at: int = 1000, **more: Any) -> Reported:
    digest = "" if present is None else present.digest[:8].hex()
    return Reported(at, keys=present.version if present else 0, digest=digest, **more)


def test_status_names_boards_that_are_behind_strange_old_or_frozen(fleet: Fleet) -> None:
    first = fleet.chain.present
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    second = fleet.chain.present
    assert first is not None
    assert second is not None
    strange = make_set(2, [Entry(entry.public, RELEASE | ROOT) for entry in second.entries])
    day = 86400
    said = rotation.notes(
        {
            "good": reported(second, created=100 * day),
            "behind": reported(first, created=99 * day),
            "without": reported(None, created=99 * day),
            "strange": reported(strange, created=99 * day),
            "old": Reported(1000, version="1"),
            "frozen": reported(second, created=60 * day),
            "away": reported(second, at=1000 - 8 * day, created=60 * day),
            "silent": None,
        },
        fleet.chain,
        2000,
    )
    assert said == [
        "behind is behind: it has set 1 of keys, of 2; `fleet keys send behind` brings the rest",
        "without is behind: it has set 0 of keys, of 2; `fleet keys send without` brings the rest",
        "strange has a set 2 of keys that is not this fleet's",
        "old cannot read sets of keys: its agent is too old",
        "frozen seems frozen: the newest package that it has accepted is 40 days older than that "
        "of others",
    ]


# With a service


def test_the_status_of_a_fleet_with_one_key_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as (service, _):
        fleet = Fleet(service.folder)
        assert "one key" not in fleet.run("status")
        for name in ("trust/1.json", "keys/root.pem", "keys/root.pub.pem"):
            (fleet.folder / name).unlink()
        assert "warning: this fleet has one key" in fleet.run("status")
        json.loads(fleet.run("status", "--json"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Fleet, Service, Broker]]:
    with running(tmp_path) as (service, broker):
        fleet = Fleet(service.folder)
        for thing in ("board-1", "board-2"):
            service.clients().iot.create_thing(thingName=thing)
        yield fleet, service, broker


def say_keys(service: Service, broker: Broker, thing: str, **said: Any) -> None:
    """Let a board report, as its agent does."""
    device = Device(broker, thing)
    topic = f"$aws/things/{thing}/shadow/name/ota/update"
    message = {"state": {"reported": {"version": "1", **said}}}
    device.send(topic, json.dumps(message).encode())
    data = service.clients().data
    until(lambda: shadow.of_thing(data, thing), "the report")
    device.close()


def jobs(broker: Broker, thing: str) -> list[str]:
    """The jobs that wait for a board, in the order in which it gets them."""
    device = Device(broker, thing)
    queued = device.ask(f"$aws/things/{thing}/jobs/get", {})["queuedJobs"]
    device.close()
    return [re.sub(r"-[0-9a-f]{8}", "", job["jobId"]) for job in queued]


def rotated(fleet: Fleet) -> None:
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    fleet.run("keys", "rotate", "second", "third")
    fleet.pack_set()


def size_of_next(broker: Broker, thing: str) -> int:
    """The bytes of the package that a board gets next."""
    device = Device(broker, thing)
    told = device.ask(f"$aws/things/{thing}/jobs/$next/get", {})["execution"]
    device.close()
    size: int = told["jobDocument"]["afr_ota"]["files"][0]["filesize"]
    return size


def test_whoever_is_behind_gets_the_sets_in_order_before_any_other_job(
    served: tuple[Fleet, Service, Broker],
) -> None:
    fleet, service, broker = served
    sets = fleet.chain.sets
    say_keys(service, broker, "board-1", keys=1, digest=sets[0].digest[:8].hex())
    rotated(fleet)
    present = fleet.chain.present
    assert present is not None
    say_keys(service, broker, "board-2", keys=3, digest=present.digest[:8].hex())
    fleet.run("pack", *PACK, "--version", "9", "-o", "a.ota")
    said = fleet.run("publish", "a.ota", "board-1", "board-2")
    assert "set 2 of keys for board-1, before anything else" in said
    assert "for board-2, before" not in said
    assert jobs(broker, "board-1") == ["keys-2-1", "keys-3-1", "ota-4"]
    assert jobs(broker, "board-2") == ["ota-4"]
    fleet.run("keys", "send", "board-1", "board-2")
    assert jobs(broker, "board-1") == ["keys-2-1", "keys-3-1", "ota-4"], "none twice"
    assert "board-1 is behind: it has set 1 of keys, of 3" in fleet.run("status")


def test_a_set_that_a_board_refused_is_offered_again_and_one_that_it_has_is_not(
    served: tuple[Fleet, Service, Broker],
) -> None:
    fleet, _, broker = served
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set()
    fleet.run("keys", "send", "board-1")  # it never reported
    device = Device(broker, "board-1")

    def end(status: str, **details: str) -> None:
        told = device.ask("$aws/things/board-1/jobs/$next/get", {})
        job = told["execution"]["jobId"]
        topic = f"$aws/things/board-1/jobs/{job}/update"
        device.ask(topic, {"status": "IN_PROGRESS"})
        device.ask(topic, {"status": status, "statusDetails": details})

    end("FAILED", cause="self_test")
    fleet.run("keys", "send", "board-1")
    assert jobs(broker, "board-1") == ["keys-2-2"]
    had = "this board has set 2 of keys already"
    end("FAILED", cause="same_sequence", detail=had)
    fleet.run("keys", "send", "board-1")
    assert jobs(broker, "board-1") == []
    device.close()


def test_agents_that_read_no_sets_get_none(served: tuple[Fleet, Service, Broker]) -> None:
    fleet, service, broker = served
    say_keys(service, broker, "board-2", agent="0.2.0")
    fleet.run("keys", "rotate", "signing", "second")
    said = fleet.pack_set(code=1)
    assert "the agents of board-2 are too old" in said
    assert len(fleet.chain.sets) == 1
    fleet.pack_set("--force")
    assert "too old" in fleet.run("keys", "send", "board-2", code=1)
    fleet.run("pack", *PACK, "--version", "9", "--key", "keys/signing.pem", "-o", "a.ota")
    fleet.run("publish", "a.ota", "board-2", "--force", "--without-keys")
    assert jobs(broker, "board-2") == ["ota-3"]


def test_a_board_whose_agent_reads_no_sets_first_gets_the_newest_package_with_one_that_does(
    served: tuple[Fleet, Service, Broker],
) -> None:
    fleet, service, broker = served
    for version, no_agent in (("1", ()), ("2", ()), ("3", PACK[2:])):
        fleet.run("pack", *PACK[:2], *no_agent, "--version", version, "-o", f"{version}.ota")
        fleet.run("publish", f"{version}.ota", "board-1")
    say_keys(service, broker, "board-2", agent="0.2.0", sequence=1)
    fleet.run("keys", "rotate", "signing", "second")
    fleet.pack_set("--force")
    for version in ("4", "5"):  # the same application, by a key that such a board does not know
        fleet.run("pack", *PACK[:2], "--version", version, "-o", f"{version}.ota")
    said = fleet.run("publish", "4.ota", "board-1", "board-2")
    assert "an agent that reads sets of keys for board-2, before anything else" in said
    assert jobs(broker, "board-2") == ["agent-1", "keys-2-1", "ota-6"]
    newest_with_one = package.inspect((fleet.folder / "2.ota").read_bytes()).manifest
    assert size_of_next(broker, "board-2") == newest_with_one.package_size
    fleet.run("publish", "5.ota", "board-2")
    assert jobs(broker, "board-2") == ["agent-1", "keys-2-1", "ota-6", "ota-7"], "none twice"


def test_publish_refuses_what_boards_would_refuse_by_its_key(
    served: tuple[Fleet, Service, Broker],
) -> None:
    fleet, _, _ = served
    for name, words in (("root", "this takes a release key"), ("signing", "")):
        fleet.run("pack", *PACK, "--version", "9", "--key", f"keys/{name}.pem", "-o", "a.ota")
        said = fleet.run("publish", "a.ota", "board-1", code=1 if words else 0)
        assert words in said


def test_a_foreign_set_is_not_published(served: tuple[Fleet, Service, Broker]) -> None:
    from twinslot.formats.component import application_content
    from twinslot.trust import signing

    fleet, _, _ = served
    mine = load(fleet.folder / "fleet.toml")
    root = keys.read_private(mine.root_key)
    entry = Entry(keys.public_bytes(root.public_key()), RELEASE | ROOT)
    fleet.run("pack", *PACK, "--version", "9", "-o", "a.ota")
    found = package.inspect((fleet.folder / "a.ota").read_bytes())
    data = found.manifest.components[0].of((fleet.folder / "a.ota").read_bytes())
    bad = signing.build(
        [application_content(data)], root, "demo-board", "9", 9, 1, trust=make_set(2, [entry])
    )
    (fleet.folder / "b.ota").write_bytes(bad)
    assert "no such set 2" in fleet.run("publish", "b.ota", "board-1", code=1)
