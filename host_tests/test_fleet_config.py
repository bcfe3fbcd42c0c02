"""fleet.toml: written once, read strictly, wrong values named."""

import tomllib
from pathlib import Path

import pytest

from twinslot import config, service_notes
from twinslot.addresses import Address
from twinslot.errors import ConfigError, UnreachableError
from twinslot.trust import keys

BROKER = Address("127.0.0.1", 1883)


def make(folder: Path, product: str = "demo-board") -> list[Path]:
    return config.create(
        folder, product=product, chip="esp32", slot_size=0x1B0000, broker=BROKER, tls=False
    )


def test_init_writes_settings_that_can_be_read_and_secrets_for_their_owner_only(
    tmp_path: Path,
) -> None:
    make(tmp_path)
    found = config.load(tmp_path / "fleet.toml")
    assert (found.product, found.chip, found.slot_size) == ("demo-board", "esp32", 0x1B0000)
    assert found.broker == config.Broker(BROKER, False, None, "", None)
    assert config.read_password(found.broker) is None
    for secret in (found.signing_key, found.credentials):
        assert secret.stat().st_mode & 0o777 == 0o600
    key = keys.read_private(found.signing_key)
    assert keys.kid(key.public_key()) == keys.kid(keys.read_public(found.public_key))
    credentials = config.read_credentials(found.credentials)
    assert credentials.access_key
    assert len(credentials.secret_key) >= 40


def test_every_setting_has_a_comment_on_its_line(tmp_path: Path) -> None:
    make(tmp_path)
    text = (tmp_path / "fleet.toml").read_text()
    for line in text.splitlines():
        assert "  # " in line or not line or line[0] in "#["
    assert all(len(line) <= 130 for line in text.splitlines())


@pytest.mark.parametrize("name", ["fleet.toml", "keys/signing.pem", "keys/credentials"])
def test_init_overwrites_nothing_and_then_writes_nothing(tmp_path: Path, name: str) -> None:
    existing = tmp_path / name
    existing.parent.mkdir(exist_ok=True)
    existing.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; nothing was written"):
        make(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [existing]
    assert existing.read_text() == "mine"


def test_a_product_is_quoted_as_toml_wants_it(tmp_path: Path) -> None:
    make(tmp_path, 'a "b" \\ ü')
    assert tomllib.loads((tmp_path / "fleet.toml").read_text())["product"] == 'a "b" \\ ü'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('product = "demo-board"', 'product = ""', "product: text of 1 to 32"),
        ('product = "demo-board"', "product = 7", "product: 7 is not text"),
        ('product = "demo-board"', "", "product is missing"),
        ('chip = "esp32"', 'chip = "esp8266"', "none of esp32"),
        ("slot_size = 0x1b0000", "slot_size = 1769473", "multiple of 4096"),
        ("slot_size = 0x1b0000", "slot_size = true", "slot_size: True"),
        ("port = 1883", "port = 70000", "broker.port: 70000"),
        ('host = "127.0.0.1"', 'hots = "127.0.0.1"', "broker.host is missing"),
        ('user = ""', 'user = ""\nuesr = ""', "broker.uesr: no such setting"),
        ('control = "127.0.0.1:0"', 'control = "8080"', "service.control: '8080' is not HOST"),
        ("[broker]", "[borker]", "broker is missing"),
        ("tls = false", "tls = 0", "broker.tls: 0 is not true or false"),
        ("[keys]", "[keys", "not TOML"),
        ('data_url = ""', 'data_url = "updates.example:8443"', "data_url: .* is not http"),
        ('data_url = ""', 'data_url = "https://updates.example/x"', "nothing behind it"),
        ('certificate = ""  # PEM file: `data`', 'certificate = "a.pem"  #', "both or neither"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    make(tmp_path)
    path = tmp_path / "fleet.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=words):
        config.load(path)


def test_settings_of_the_data_listener_are_read_and_may_be_missing(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "fleet.toml"
    text = path.read_text()
    head, tail = text.split('data_url = ""', 1)
    path.write_text(head + "state" + tail.split("\nstate", 1)[1])
    found = config.load(path)
    assert (found.data_url, found.certificate, found.key) == ("", None, None)
    for name, value in (("data_url", "https://10.0.0.1:8443"), ("certificate", "a.pem")):
        head = head + f'{name} = "{value}"\n'
    path.write_text(head + 'key = "a.key"\nstate' + tail.split("\nstate", 1)[1])
    found = config.load(path)
    assert found.data_url == "https://10.0.0.1:8443"
    assert (found.certificate, found.key) == (tmp_path / "a.pem", tmp_path / "a.key")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fleet init"):
        config.load(tmp_path / "fleet.toml")
    with pytest.raises(ConfigError, match="cannot read the access key"):
        config.read_credentials(tmp_path / "credentials")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = A\n")
    with pytest.raises(ConfigError, match="aws_secret_access_key"):
        config.read_credentials(tmp_path / "credentials")


def test_without_a_running_service_there_is_no_endpoint(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UnreachableError, match="fleet serve"):
        service_notes.find_endpoint(config.load(tmp_path / "fleet.toml"))


def test_the_broker_is_changed_in_place_and_everything_else_stays(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "fleet.toml"
    before = path.read_text()
    config.set_broker(
        path, {"user": "mqtt # 1", "port": 8884, "tls": True, "boards": "10.0.0.2:8883"}
    )
    found = config.load(path).broker
    assert (found.address.port, found.user, found.tls) == (8884, "mqtt # 1", True)
    assert found.boards == Address("10.0.0.2", 8883)
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), path.read_text().splitlines(), strict=True)
        if old != new
    ]
    assert len(changed) == 4
    assert all(old.partition("  # ")[2] == new.partition("  # ")[2] for old, new in changed)


def test_a_broker_setting_that_is_not_there_is_added_also_before_another_table(
    tmp_path: Path,
) -> None:
    make(tmp_path)
    path = tmp_path / "fleet.toml"
    text = path.read_text()
    head, _, broker = text.partition("[broker]")
    top, _, rest = head.partition("[keys]")
    lines = [line for line in broker.splitlines() if not line.startswith(("boards", "key"))]
    path.write_text(top + "[broker]" + "\n".join(lines) + "\n\n[keys]" + rest)
    assert config.load(path).broker.boards is None
    config.set_broker(path, {"certificate": "a.pem", "key": "a.key"})
    assert config.load(path).broker.key == tmp_path / "a.key"
    with pytest.raises(ConfigError, match="both or neither"):
        config.set_broker(path, {"certificate": ""})
    assert config.load(path).broker.certificate == tmp_path / "a.pem"


def test_a_fleet_without_a_table_of_its_broker_is_not_changed(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "fleet.toml"
    text = path.read_text().replace("[broker]", "[ broker ]")
    path.write_text(text)
    with pytest.raises(ConfigError, match="no table"):
        config.set_broker(path, {"port": 1})
    assert path.read_text() == text
