"""Certificates, settings folders and the broker's files, as the commands make them."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from demo import children
from twinslot import config, gate
from twinslot.addresses import Address
from twinslot.cli import identity
from twinslot.cli.main import main
from twinslot.client import broker, doctor, policy
from twinslot.formats import aws
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority, read_certificate
from twinslot.trust.certificates import CertificateError

Fleet = Callable[..., Result]
START = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """`fleet` in a folder that `fleet init` has prepared."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == code, done.output
        return done

    run("init", "--product", "meter")
    return run


def everything(folder: Path = Path()) -> dict[str, bytes]:
    """All files below a folder, but for locks."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in paths}


def request(name: str | None, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """A certificate signing request in PEM."""
    names = [] if name is None else [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    signed = builder.sign(key or keys.generate(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


# -- provision ------------------------------------------------------------------------------------


def test_provision_writes_all_that_a_board_needs_and_secrets_for_their_owner_only(
    fleet: Fleet,
) -> None:
    Path("password").write_text("open sesame\nmore\n")
    wifi = ["--wifi-ssid", "Käfig", "--wifi-password-file", "password"]
    shown = fleet("provision", "meter-1", "--host", "10.0.0.2:8885", *wifi).output
    assert "no service runs: `fleet publish --create-things`" in shown
    board = Path("boards/meter-1")
    assert json.loads((board / "settings.json").read_text()) == {
        "thing": "meter-1",
        "product": "meter",
        "report": 1,
        "wifi": {"ssid": "Käfig", "password": "open sesame"},
        "broker": {"host": "10.0.0.2", "port": 8885, "tls": True},
    }
    files = {path.name: path.stat().st_mode & 0o777 for path in board.iterdir()}
    assert files == {
        "settings.json": 0o600,
        "trust.json": 0o644,
        "trusted_keys.pem": 0o644,
        "ca.pem": 0o644,
        "client.pem": 0o644,
        "client.key": 0o600,
    }
    assert board.stat().st_mode & 0o777 == 0o700
    assert Path("ca/ca.key").stat().st_mode & 0o777 == 0o600
    assert (board / "trusted_keys.pem").read_bytes() == Path("keys/signing.pub.pem").read_bytes()


def test_a_things_certificate_names_it_is_of_use_to_a_client_alone_and_begins_with_the_boards_clock(
    fleet: Fleet,
) -> None:
    fleet("provision", "meter-1", "--host", "10.0.0.2")
    board = Path("boards/meter-1")
    ca, own = read_certificate(board / "ca.pem"), read_certificate(board / "client.pem")
    assert certificates.issued_by(own, ca) and certificates.issued_by(ca, ca)
    assert own.public_key() == keys.read_private(board / "client.key").public_key()
    assert b"BEGIN EC PRIVATE KEY" in (board / "client.key").read_bytes()
    assert certificates.name_of(own) == "meter-1"
    for certificate in (ca, own):
        assert certificate.not_valid_before_utc == START
        assert certificate.not_valid_after_utc.year == 2049
    extensions = own.extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_second_thing_has_the_same_authority_and_another_key(fleet: Fleet) -> None:
    fleet("provision", "meter-1", "--host", "10.0.0.2")
    authority = everything(Path("ca"))
    fleet("provision", "meter-2", "--host", "10.0.0.2")
    now = everything(Path("ca"))
    assert {name: now[name] for name in authority} == authority
    one, two = Path("boards/meter-1"), Path("boards/meter-2")
    assert (one / "ca.pem").read_bytes() == (two / "ca.pem").read_bytes()
    assert (one / "client.key").read_bytes() != (two / "client.key").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["../etc"], 1, "is no name of a thing"),
        (["a/b"], 1, "is no name of a thing"),
        (["."], 1, "is no name of a thing"),
        (["service.fleet"], 1, "is no name of a thing"),
        (["+"], 1, "is no name of a thing"),
        (["a#"], 1, "is no name of a thing"),
        (["a\nb"], 1, "is no name of a thing"),
        (["ä"], 1, "is no name of a thing"),
        ([""], 1, "is no name of a thing"),
        (["x" * 65], 1, "is no name of a thing"),
        (["t", "--wifi-ssid", "s" * 33], 1, "SSID has 1 to 32 bytes"),
        (["t", "--wifi-ssid", "s", "--wifi-password-file", "short"], 1, "8 to 63 bytes"),
        (["t", "--wifi-ssid", "s", "--wifi-password-file", "missing"], 1, "cannot read"),
        (["t", "--wifi-password-file", "short"], 2, "needs --wifi-ssid"),
        (["t", "--csr", "short"], 1, "no certificate signing request"),
        (["t", "--out", "full"], 1, "full is there already, and not empty"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    fleet: Fleet, arguments: list[str], code: int, words: str
) -> None:
    Path("short").write_text("secret")
    Path("full").mkdir()
    Path("full/mine").touch()
    before = {name for name in everything() if not name.startswith("ca/")}
    assert words in fleet("provision", "--host", "10.0.0.2", *arguments, code=code).output
    after = set(everything())
    assert {name for name in after if not name.startswith("ca/")} == before
    assert not [name for name in after if name.startswith("ca/issued")]


@given(st.text(max_size=70))
def test_a_name_that_passes_is_one_level_of_a_topic_and_of_a_path(name: str) -> None:
    try:
        certificates.check_thing(name)
    except CertificateError:
        return
    assert not set(name) & set("/+#$.\\\0 \n") and 1 <= len(name) <= 64
    assert Path("boards", name).name == name


def test_without_an_address_for_boards_there_is_a_question(fleet: Fleet) -> None:
    assert "where does the board reach" in fleet("provision", "meter-1", code=2).output
    assert not Path("ca").exists()
    fleet("broker-config", "--host", "10.0.0.2", "--port", "9000")
    fleet("provision", "meter-1")
    settings = json.loads(Path("boards/meter-1/settings.json").read_text())
    assert settings["broker"] == {"host": "10.0.0.2", "port": 9000, "tls": True}


def test_a_provisioned_thing_is_left_alone_unless_it_is_renewed(fleet: Fleet) -> None:
    fleet("provision", "meter-1", "--host", "10.0.0.2")
    before = everything()
    assert "--renew" in fleet("provision", "meter-1", "--host", "10.0.0.2", code=1).output
    assert "--renew" in fleet("provision", "meter-1", "--host", "h", "--out", "b", code=1).output
    assert everything() == before

    board = Path("boards/meter-1")
    settings = json.loads((board / "settings.json").read_text())
    settings |= {"window": 4, "wifi": {"ssid": "mine", "password": ""}}
    (board / "settings.json").write_text(json.dumps(settings))
    (board / "app.json").write_text("{}")
    old = read_certificate(board / "client.pem")
    fleet("provision", "meter-1", "--host", "10.0.0.3", "--renew")
    authority = Authority(Path("ca"))
    new = read_certificate(board / "client.pem")
    assert authority.is_revoked(old) and not authority.is_revoked(new)
    assert new.public_key() == keys.read_private(board / "client.key").public_key()
    assert old.public_key() != new.public_key()
    settings["broker"]["host"] = "10.0.0.3"
    assert json.loads((board / "settings.json").read_text()) == settings
    assert (board / "app.json").read_text() == "{}"


def test_a_request_from_the_board_gets_a_certificate_and_no_key(fleet: Fleet) -> None:
    key = keys.generate()
    Path("csr").write_bytes(request("meter-1", key))
    fleet("provision", "meter-1", "--host", "10.0.0.2", "--csr", "csr", "--out", "out")
    assert read_certificate(Path("out/client.pem")).public_key() == key.public_key()
    assert not Path("out/client.key").exists()
    der = x509.load_pem_x509_csr(Path("csr").read_bytes())
    Path("csr").write_bytes(der.public_bytes(serialization.Encoding.DER))
    fleet("provision", "meter-1", "--host", "h", "--csr", "csr", "--out", "out", "--renew")
    assert Authority(Path("ca")).is_revoked(read_certificate(Path("out/client.pem"))) is False


def test_a_request_that_proves_nothing_is_refused() -> None:
    good = x509.load_pem_x509_csr(request("meter-1")).public_bytes(serialization.Encoding.DER)
    certificates.requested_key(good, "meter-1")
    forged = bytearray(good)
    forged[good.index(b"meter-1")] = ord("n")
    with pytest.raises(CertificateError, match="not signed by the key"):
        certificates.requested_key(bytes(forged), "neter-1")
    for name in ("meter-2", None):
        with pytest.raises(CertificateError, match="not the common name 'meter-1'"):
            certificates.requested_key(request(name), "meter-1")
    larger = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(CertificateError, match="not P-256"):
        certificates.requested_key(request("meter-1", larger), "meter-1")
    for damaged in (b"", good[:-9], b"-----BEGIN X-----"):
        with pytest.raises(CertificateError, match="no certificate signing request"):
            certificates.requested_key(damaged, "meter-1")


# -- the authority --------------------------------------------------------------------------------


def test_an_authority_that_was_cut_while_it_was_made_is_completed_with_the_same_key(
    tmp_path: Path,
) -> None:
    key = keys.generate()
    keys.write_private(key, tmp_path / "ca/ca.key")
    found = Authority.open(tmp_path / "ca", "test")
    assert found.certificate.public_key() == key.public_key()
    assert list(found.crl) == []


def test_what_is_not_the_authoritys_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="`fleet provision` makes one"):
        Authority(tmp_path)
    mine = Authority.open(tmp_path / "mine", "mine")
    other = Authority.open(tmp_path / "other", "mine")
    other.crl_path.replace(mine.crl_path)
    with pytest.raises(Exception, match=r"crl.pem is not signed by"):
        mine.is_revoked(mine.certificate)
    other.key_path.replace(mine.key_path)
    with pytest.raises(Exception, match=r"ca.key is not the key of"):
        mine.issue("meter-1", keys.generate().public_key())


def test_every_list_is_younger_than_the_one_before_but_never_of_the_future() -> None:
    """OpenSSL takes the youngest, by the second, and refuses everybody by one of the future."""
    key = keys.generate()
    ca = certificates.authority(key, "test")
    crl = certificates.revocations(ca, key, [1], None, NOW, 10)
    for number in range(2, 6):
        before, crl = crl, certificates.revocations(ca, key, [number], crl, NOW, 10)
        assert crl.last_update_utc > before.last_update_utc
        assert crl.last_update_utc < NOW
        assert {entry.serial_number for entry in crl} == set(range(1, number + 1))
        numbers = crl.extensions.get_extension_for_class(x509.CRLNumber).value
        assert numbers.crl_number == number
    assert crl.next_update_utc == NOW + dt.timedelta(days=10)


# -- the broker's folder --------------------------------------------------------------------------


def test_broker_config_notes_where_the_service_and_boards_go_and_can_be_run_again(
    fleet: Fleet,
) -> None:
    hosts = ["--host", "10.0.0.2", "--host", "mqtt.example"]
    shown = fleet("broker-config", *hosts, "--service-port", "9999").output
    assert "mosquitto -c broker/mosquitto.conf" in shown
    found = config.load(Path("fleet.toml"))
    assert found.broker.address == Address("127.0.0.1", 9999)
    assert found.broker.boards == Address("10.0.0.2", 8883)
    assert found.broker.ca == found.folder / "ca/ca.pem"
    names = ["10.0.0.2", "mqtt.example", "localhost", "127.0.0.1"]
    assert broker.known_hosts(Path("broker")) == names
    alternative = read_certificate(Path("broker/server.pem")).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = alternative.value.get_values_for_type(x509.IPAddress)
    assert [str(address) for address in addresses] == ["10.0.0.2", "127.0.0.1"]
    assert Path("broker/server.key").stat().st_mode & 0o777 == 0o600

    before = everything()
    fleet("broker-config", "--service-port", "9999")
    changed = {name for name, data in everything().items() if before.get(name) != data}
    assert changed == {"ca/crl.pem", "broker/crl.pem"}
    fleet("broker-config", "--host", "10.0.0.3")
    assert before["broker/server.key"] == Path("broker/server.key").read_bytes()
    assert before["broker/server.pem"] != Path("broker/server.pem").read_bytes()


def test_a_broker_for_nobody_or_with_an_impossible_name_is_refused(fleet: Fleet) -> None:
    before = Path("fleet.toml").read_text()
    refused = fleet("broker-config", "--user", "nobody-of-this-name", code=1)
    assert "no user nobody-of-this-name" in refused.output
    refused = fleet("broker-config", "--host", "a b", code=2)
    assert "'a b' is no host" in refused.output
    assert Path("fleet.toml").read_text() == before
    assert not Path("broker/mosquitto.conf").exists()


def test_a_second_fleets_broker_takes_ports_that_are_free_and_keeps_them(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = children.free_port()
    monkeypatch.setattr(identity, "PORT", first)
    with socket.create_server(("", first)):
        fleet("broker-config", "--host", "10.0.0.1")
        found = config.load(Path("fleet.toml")).broker
        assert found.boards is not None
        assert found.boards.port > first
        assert found.address.port == found.boards.port + 1
    with socket.create_server(("", found.boards.port)):  # its own broker runs
        fleet("broker-config")
    assert config.load(Path("fleet.toml")).broker.boards == found.boards


def test_the_access_list_names_things_by_pattern_and_no_thing_can_be_the_service() -> None:
    lines = gate.access_list().splitlines()
    patterns = [line for line in lines if line.startswith("pattern")]
    assert all(line.split()[2].startswith("$aws/things/%u/") for line in patterns)
    own = lines[lines.index(f"user {certificates.SERVICE}") :]
    assert lines.index(own[0]) > lines.index(patterns[-1])
    reads = {line.split()[2].replace("+", "%u", 1) for line in own if "topic read" in line}
    writes = {line.split()[2].replace("+", "%u", 1) for line in own if "topic write" in line}
    assert reads == {line.split()[2] for line in patterns if line.split()[1] == "write"}
    assert writes == {line.split()[2] for line in patterns if line.split()[1] == "read"}
    assert not reads & writes
    with pytest.raises(CertificateError):
        certificates.check_thing(certificates.SERVICE)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("ca/ca.pem", None, "cannot trust"),
        ("ca/ca.pem", "nothing", "cannot trust"),
        ("keys/service.key", None, "cannot use"),
        ("keys/service.pem", "nothing", "cannot use"),
    ],
)
def test_a_service_that_cannot_use_its_certificates_names_the_file_and_does_not_start(
    fleet: Fleet, name: str, data: str | None, words: str
) -> None:
    fleet("broker-config")
    Path(name).unlink()
    if data is not None:
        Path(name).write_text(data)
    shown = fleet("serve", code=1).output
    assert words in shown and name in shown


def test_provision_writes_a_policy_that_gives_a_thing_its_own_topics_and_no_others(
    fleet: Fleet,
) -> None:
    """As AWS reads it: * is any text, and the variable is the thing of the certificate."""
    fleet("provision", "meter-1", "--host", "10.0.0.2")
    found = json.loads(Path("aws-policy.json").read_text())
    assert len("".join(json.dumps(found).split())) <= policy.MAX_SIZE
    assert found["Version"] == "2012-10-17"
    mine: dict[str, list[str]] = {}
    for statement in found["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = statement["Action"], statement["Resource"]
        for action in actions if isinstance(actions, list) else [actions]:
            for resource in resources if isinstance(resources, list) else [resources]:
                where = resource.replace("${iot:Connection.Thing.ThingName}", "meter-1")
                mine.setdefault(action, []).append(where.removeprefix("arn:aws:iot:*:*:"))

    def allowed(action: str, where: str) -> bool:
        return any(fnmatch.fnmatchcase(where, pattern) for pattern in mine[action])

    for thing, expected in (("meter-1", True), ("meter-2", False)):
        assert allowed("iot:Connect", f"client/{thing}") == expected
        for topic in aws.THING_PUBLISHES:
            asked = aws.topic(thing, topic.replace("+", "x"))
            assert allowed("iot:Publish", f"topic/{asked}") == expected
        for topic in aws.THING_RECEIVES:
            told = aws.topic(thing, topic.replace("+", "x"))
            assert allowed("iot:Receive", f"topic/{told}") == expected
            filter_ = aws.topic(thing, topic)
            assert allowed("iot:Subscribe", f"topicfilter/{filter_}") == expected
    assert not allowed("iot:Publish", f"topic/{aws.topic('meter-1', 'shadow/update')}")


def test_a_board_that_reports_or_not_stays_so_when_it_is_renewed(fleet: Fleet) -> None:
    fleet("provision", "meter-1", "--host", "10.0.0.2")
    path = Path("boards/meter-1/settings.json")
    for wanted in ({"report": 0}, {}):
        settings = json.loads(path.read_text())
        settings.pop("report", None)
        path.write_text(json.dumps({**settings, **wanted}))
        fleet("provision", "meter-1", "--host", "10.0.0.2", "--renew")
        assert json.loads(path.read_text()).get("report") == wanted.get("report")


# -- doctor ---------------------------------------------------------------------------------------


def wrong(now: dt.datetime | None = None, days: int = 90) -> list[str]:
    """What the doctor finds wrong, but for what is not running."""
    findings = doctor.examine(config.load(Path("fleet.toml")), now or dt.datetime.now(dt.UTC), days)
    texts = [finding.text for finding in findings if not finding.well]
    return [text for text in texts if not text.startswith(("no broker at", "no service runs"))]


def test_a_new_fleet_is_well_but_for_what_does_not_run(fleet: Fleet) -> None:
    assert wrong() == []
    fleet("broker-config")
    fleet("provision", "meter-1")
    assert wrong() == []
    shown = fleet("doctor", code=1).output
    assert "WRONG  no broker at 127.0.0.1:8884" in shown
    assert "WRONG  no service runs for this folder" in shown


def test_the_doctor_notes_an_access_list_of_an_older_version(fleet: Fleet) -> None:
    fleet("broker-config")
    path = Path("broker/acl")
    text = path.read_text()
    path.write_text(text + "pattern write meters/%u/#\n")
    assert wrong() == [], "lines of the product's own are none of its business"
    path.write_text("".join(line for line in text.splitlines(True) if "shadow" not in line))
    (found,) = wrong()
    assert "acl does not allow all that boards ask: `fleet broker-config`" in found


def test_the_doctor_announces_what_ends_and_says_what_to_do(fleet: Fleet) -> None:
    fleet("broker-config")
    fleet("provision", "meter-1")
    list_ends = Authority(Path("ca")).crl.next_update_utc
    assert list_ends is not None
    assert wrong(list_ends - dt.timedelta(days=91)) == []
    for now, said in ((-89, "ends on"), (1, "ended on")):
        (found,) = wrong(list_ends + dt.timedelta(days=now))
        assert f"crl.pem {said} {list_ends:%Y-%m-%d}: `fleet broker-config`" in found
    fleet("broker-config")
    found_all = " ".join(wrong(certificates.END))
    for words in ("ca.pem ended on", "server.pem ended on", "`fleet provision meter-1 --renew`"):
        assert words in found_all


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("ca/ca.key", "mode", "can be read by others (mode 644): chmod 600"),
        ("keys/signing.pem", "mode", "can be read by others"),
        ("boards/meter-1/client.key", "mode", "can be read by others"),
        ("broker/server.key", "mode", "can be read by others"),
        ("keys/credentials", "gone", "cannot read the access key"),
        ("keys/service.pem", "gone", "cannot read the certificate"),
        ("keys/service.key", "other", "do not belong together"),
        ("keys/signing.pem", "other", "is not the half of"),
        ("ca/ca.pem", "gone", "no authority in"),
        ("ca/ca.pem", "damaged", "holds no certificate in PEM"),
        ("ca/ca.key", "other", "is not the key of"),
        ("ca/crl.pem", "damaged", "holds no revocation list"),
        ("broker/crl.pem", "gone", "cannot read the broker's copy"),
        ("broker/crl.pem", "damaged", "`fleet broker-config` puts it right"),
        ("broker/acl", "gone", "cannot read the access list"),
    ],
)
def test_the_doctor_names_what_is_wrong_with_a_file(
    fleet: Fleet, name: str, change: str, words: str
) -> None:
    fleet("broker-config")
    fleet("provision", "meter-1")
    path = Path(name)
    if change == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    if change == "damaged":
        path.write_text("-----BEGIN NOTHING-----\n")
    if change == "other":
        keys.write_private(keys.generate(), path)
    found = wrong()
    assert any(words in text and path.name in text for text in found) or (
        change == "gone" and any(words in text for text in found)
    ), found


def test_the_doctor_looks_at_where_images_are_handed_out(fleet: Fleet) -> None:
    fleet("broker-config")
    path = Path("fleet.toml")
    before = path.read_text()
    changed = before.replace('data = "127.0.0.1:0"', 'data = "0.0.0.0:8443"')
    path.write_text(changed)
    (found,) = wrong()
    assert "set service.data_url" in found
    changed = changed.replace('data_url = ""', 'data_url = "https://192.168.1.10:8443"')
    pair = 'certificate = "broker/server.pem"\nkey = "broker/{}.key"\n'
    changed = changed.replace('certificate = ""  # PEM file: `data`', "#")
    changed = changed.replace('key = ""  # PEM file of its private key\nstate', "{}state")
    path.write_text(changed.format(pair.format("server")))
    assert wrong() == []
    assert "server.pem ended on" in " ".join(wrong(certificates.END))
    path.write_text(changed.format(pair.format("other")))
    keys.write_private(keys.generate(), Path("broker/other.key"))
    (found,) = wrong()
    assert "images cannot be served as" in found


def test_revoke_says_when_the_service_has_not_heard_and_may_be_repeated(fleet: Fleet) -> None:
    fleet("broker-config")
    fleet("provision", "meter-1")
    for _ in range(2):
        refused = fleet("revoke", "meter-1", code=4).output
        assert "is on the list ca/crl.pem" in refused
        assert "then revoke meter-1 again" in refused
    assert Path("broker/crl.pem").read_bytes() == Path("ca/crl.pem").read_bytes()
    own = read_certificate(Path("boards/meter-1/client.pem"))
    assert Authority(Path("ca")).is_revoked(own)
    assert (
        "is revoked: start `fleet serve`" in fleet("provision", "meter-1", "--renew", code=4).output
    )
    assert read_certificate(Path("boards/meter-1/client.pem")) == own
    assert "meter-1 is revoked" in fleet("doctor", code=1).output
