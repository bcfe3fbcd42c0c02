"""fleet.toml: what this fleet is, where its keys lie, how its service is reached.

The file is written once by `fleet init` and belongs to the operator from then on. Paths in it are
relative to its folder.
"""

import configparser
import json
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from twinslot import disk, keychain
from twinslot.account import Account, account_of
from twinslot.addresses import Address
from twinslot.errors import ConfigError
from twinslot.formats.chips import CHIPS, SECTOR
from twinslot.formats.trust_set import RELEASE, ROOT, Entry, make_set
from twinslot.tables import Section
from twinslot.text import decoded
from twinslot.trust import keys

FILE_NAME = "fleet.toml"
_BASE_URL = re.compile(r"https?://[^/?#@\s]+")
_WHOLE = re.MULTILINE | re.DOTALL
_TOML_VALUE = r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s#]+'


@dataclass(frozen=True)
class Broker:
    """The MQTT broker: `address` for the service, `boards` where boards reach it.

    `ca`, `password`, `certificate` and `key` are files, None where they are not used.
    """

    address: Address
    tls: bool
    ca: Path | None
    user: str
    password: Path | None
    certificate: Path | None = None
    key: Path | None = None
    boards: Address | None = None


@dataclass(frozen=True)
class Config:
    """Everything in fleet.toml, which lies in `folder`, checked. `slot_size` in bytes.

    data_url: of the data listener as boards reach it, "" where it is as it listens; certificate,
    key: files with which it talks TLS, None for plain HTTP; control_certificate, control_key: the
    same of the control listener; endpoint_ca: file of the authority by which clients know it, None
    for the public ones; connections: at each listener, in all and of one address; account: commands
    go to this account of AWS, None for the fleet's own service.
    """

    folder: Path
    product: str
    chip: str
    slot_size: int
    signing_key: Path
    public_key: Path
    credentials: Path
    endpoint: str
    region: str
    control: Address
    data: Address
    state: Path
    broker: Broker
    data_url: str = ""
    certificate: Path | None = None
    key: Path | None = None
    connections: int = 512
    connections_of_address: int = 128
    control_certificate: Path | None = None
    control_key: Path | None = None
    endpoint_ca: Path | None = None
    account: Account | None = None

    @property
    def secrets(self) -> Iterator[Path]:
        """The keys and folders that are for their owner alone, as far as they are there."""
        own = (self.signing_key, self.root_key, self.credentials, self.authority / "ca.key")
        given = (self.broker.key, self.broker.password, self.key, self.control_key)
        files = [*own, *(path for path in given if path is not None)]
        files += sorted(self.boards.glob("*/client.key"))
        inside = self.folder.resolve()
        # A key elsewhere lies in a folder that is not the fleet's.
        folders = [path.parent for path in own if inside in path.parent.resolve().parents]
        for path in dict.fromkeys((*files, self.state, *folders)):
            if path.exists():
                yield path

    @property
    def board_settings(self) -> list[Path]:
        """The boards' settings folders and settings.json, which may hold a password of Wi-Fi."""
        found = sorted(self.boards.glob("*/settings.json"))
        return [path for file in found for path in (file.parent, file)]

    @property
    def database_file(self) -> Path:
        """The file of the service's database where `fleet serve` is told no other."""
        return self.state / "fleet.db"

    @property
    def root_key(self) -> Path:
        """Where `fleet init` puts the root key, until somebody takes it off line."""
        return self.signing_key.with_name("root.pem")

    @property
    def database(self) -> str:
        """The URL of that file."""
        return f"sqlite:///{self.database_file}"

    @property
    def authority(self) -> Path:
        """The folder of the certificate authority."""
        return self.folder / "ca"

    @property
    def boards(self) -> Path:
        """The folder that holds one settings folder for each board."""
        return self.folder / "boards"

    @property
    def broker_folder(self) -> Path:
        """The folder from which mosquitto is started."""
        return self.folder / "broker"


@dataclass(frozen=True)
class Credentials:
    """The access key that signs requests to the service (AWS Signature Version 4)."""

    access_key: str
    secret_key: str


_TEMPLATE = """\
# One fleet: the boards of one product. Paths are relative to this file.

product = {product}  # named by every package; a board takes only its own product's
chip = {chip}  # one of {chips}
slot_size = {slot_size:#x}  # bytes of one OTA partition; its last 4096 are the slot trailer

[keys]
signing = "keys/signing.pem"  # private key that signs packages; keep it off the service's machine
public = "keys/signing.pub.pem"  # its public half, for the boards' /etc/trusted_keys.pem
credentials = "keys/credentials"  # access key for the service's API (as an AWS credentials file)

[service]
endpoint = ""  # URL of the service's control API; empty: the `fleet serve` of this folder
endpoint_ca = ""  # PEM file of the authority that signed its certificate; empty: public ones
region = "local"  # region that requests are signed for
control = "127.0.0.1:0"  # where `fleet serve` listens for commands; port 0: any free one
control_certificate = ""  # PEM file: `control` talks TLS as this server; empty: plain HTTP
control_key = ""  # PEM file of its private key
data = "127.0.0.1:0"  # where `fleet serve` hands out images; may face the boards' network
data_url = ""  # where boards reach `data`, such as "https://192.168.1.10:8443"; empty: as above
certificate = ""  # PEM file: `data` talks TLS as this server; empty: plain HTTP
key = ""  # PEM file of its private key
state = "state"  # folder of the service's database and images
connections = 512  # at each of the two ports, at most
connections_of_address = 128  # of one address, at each port

[broker]
host = {host}  # the MQTT broker that boards and service meet at
port = {port}  # its TCP port
tls = {tls}  # true: talk TLS to the broker
ca = ""  # PEM file of the authority that signed the broker's certificate; empty: the system's
user = ""  # user name at the broker; empty: none
password = ""  # file that holds the password; empty: none
certificate = ""  # PEM file of the service's certificate at the broker; empty: none
key = ""  # PEM file of its private key
boards = ""  # HOST:PORT where boards reach the broker; empty: host and port above
"""


def template(*, product: str, chip: str, slot_size: int, broker: Address, tls: bool) -> str:
    """The text of a new fleet.toml."""
    return _TEMPLATE.format(
        product=_quoted(product),
        chip=_quoted(chip),
        chips=", ".join(CHIPS),
        slot_size=slot_size,
        host=_quoted(broker.host),
        port=broker.port,
        tls=str(tls).lower(),
    )


def create(
    folder: Path, *, product: str, chip: str, slot_size: int, broker: Address, tls: bool
) -> list[Path]:
    """Write fleet.toml, two keys and an access key into `folder`; returns the new files.

    The signing key signs packages, the root key sets of keys; the first set lists both. All of them
    or none. Raises ConfigError when a value is wrong or one of the files is there already,
    FileError for a disk that fails.
    """
    text = template(product=product, chip=chip, slot_size=slot_size, broker=broker, tls=tls)
    config = parse(text, folder)
    path = folder / FILE_NAME
    key, root = keys.generate(), keys.generate()
    entries = [
        Entry(keys.public_bytes(key.public_key()), RELEASE),
        Entry(keys.public_bytes(root.public_key()), ROOT),
    ]
    names = dict(zip((entry.kid for entry in entries), ("signing", "root"), strict=True))
    first = keychain.text_of(make_set(1, entries), names)
    files = {
        path: (text.encode(), disk.PUBLIC),
        config.signing_key: (keys.private_pem(key), disk.SECRET),
        config.public_key: (keys.public_pem(key.public_key()), disk.PUBLIC),
        config.root_key: (keys.private_pem(root), disk.SECRET),
        config.root_key.with_suffix(".pub.pem"): (keys.public_pem(root.public_key()), disk.PUBLIC),
        keychain.first_path(folder): (first, disk.PUBLIC),
        config.credentials: (_new_credentials().encode(), disk.SECRET),
    }
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} exists already; nothing was written")
    disk.create(files)
    return list(files)


def load(path: Path, *, to_aws: bool = False) -> Config:
    """Read fleet.toml. to_aws: for commands to the account of the table [aws], which must be there.

    Raises ConfigError, naming the key, what it is and what it should be, or TextError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; `fleet init` writes one, --config names one"
        ) from error
    return parse(data, path.resolve().parent, to_aws=to_aws)


def parse(data: bytes | str, folder: Path, *, to_aws: bool = False) -> Config:
    """Check the text of a fleet.toml that lies in `folder`. Raises ConfigError, TextError.

    to_aws: as of `load`.
    """
    try:
        written = data if isinstance(data, str) else decoded(data, FILE_NAME)
        top = Section(tomllib.loads(written), "")
    except (ValueError, RecursionError) as error:  # numbers without end, too
        raise ConfigError(f"{FILE_NAME} is not TOML: {error}") from error
    key_files, service, broker = (top.section(name) for name in ("keys", "service", "broker"))
    account = account_of(top.section("aws")) if top.has("aws") else None
    if to_aws and account is None:
        raise ConfigError(f"{FILE_NAME} has no table [aws]; docs/aws.md says what stands in it")
    config = Config(
        folder=folder,
        product=top.text("product", 1, 32),
        chip=top.text("chip"),
        slot_size=top.number("slot_size", 2 * SECTOR, 2**24),
        signing_key=folder / key_files.text("signing", 1),
        public_key=folder / key_files.text("public", 1),
        credentials=folder / key_files.text("credentials", 1),
        endpoint=service.text("endpoint"),
        region=service.text("region", 1, 64),
        control=service.address("control"),
        data=service.address("data"),
        state=folder / service.text("state", 1),
        data_url=service.text("data_url", default=""),
        certificate=service.optional_path("certificate", folder, ""),
        key=service.optional_path("key", folder, ""),
        connections=service.number("connections", 8, 65536, Config.connections),
        connections_of_address=service.number(
            "connections_of_address", 1, 65536, Config.connections_of_address
        ),
        control_certificate=service.optional_path("control_certificate", folder, ""),
        control_key=service.optional_path("control_key", folder, ""),
        endpoint_ca=service.optional_path("endpoint_ca", folder, ""),
        account=account if to_aws else None,
        broker=Broker(
            address=Address(broker.host("host"), broker.number("port", 1, 65535)),
            tls=broker.flag("tls"),
            ca=broker.optional_path("ca", folder),
            user=broker.text("user"),
            password=broker.optional_path("password", folder),
            certificate=broker.optional_path("certificate", folder, ""),
            key=broker.optional_path("key", folder, ""),
            boards=broker.address("boards") if broker.text("boards", default="") else None,
        ),
    )
    if config.chip not in CHIPS:
        raise ConfigError(f"chip: {config.chip!r} is none of {', '.join(CHIPS)}")
    if config.slot_size % SECTOR:
        raise ConfigError(f"slot_size: {config.slot_size} is not a multiple of {SECTOR}")
    if (config.broker.certificate is None) != (config.broker.key is None):
        raise ConfigError("broker.certificate and broker.key: both or neither")
    if (config.certificate is None) != (config.key is None):
        raise ConfigError("service.certificate and service.key: both or neither")
    if (config.control_certificate is None) != (config.control_key is None):
        raise ConfigError("service.control_certificate and service.control_key: both or neither")
    if config.data_url and not _BASE_URL.fullmatch(config.data_url):
        raise ConfigError(
            f"service.data_url: {config.data_url!r} is not http://HOST[:PORT] or "
            "https://HOST[:PORT], with nothing behind it"
        )
    for section in (top, key_files, service, broker):
        section.refuse_unknown()
    return config


def set_broker(path: Path, values: Mapping[str, str | int | bool]) -> None:
    """Change settings of [broker] in a fleet.toml; comments and all other lines stay.

    Raises ConfigError, before anything is written, when the file cannot be read or the result is
    wrong.
    """
    _set(path, "broker", values)


def set_keys(path: Path, values: Mapping[str, str]) -> None:
    """Change settings of [keys] in a fleet.toml. As `set_broker`."""
    _set(path, "keys", values)


def _set(path: Path, table: str, values: Mapping[str, str | int | bool]) -> None:
    folder = load(path).folder
    before = decoded(disk.read(path, FILE_NAME), path) + "\n"
    found = re.fullmatch(rf"(.*^\[{table}\][^\n]*\n)(.*?)(^\[.*)?", before, _WHOLE)
    if found is None:
        raise ConfigError(f"{path} has no table [{table}]")
    section = found[2].rstrip("\n") + "\n"
    for key, value in values.items():
        text = _quoted(value) if isinstance(value, str) else str(value).lower()
        setting = re.compile(rf"^(\s*{key}\s*=\s*)(?:{_TOML_VALUE})", re.MULTILINE)
        match = setting.search(section)
        if match is None:
            section += f"{key} = {text}\n"
        else:
            section = section[: match.start()] + match[1] + text + section[match.end() :]
    changed = found[1] + section + ("\n" + found[3].rstrip("\n") + "\n" if found[3] else "")
    parse(changed, folder)
    disk.replace(path, changed.encode())


def read_credentials(path: Path) -> Credentials:
    """Read the access key from a file in the form of ~/.aws/credentials. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the access key {path}: {error.strerror}") from error
    return credentials_of(data, path)


def credentials_of(data: bytes, path: Path) -> Credentials:
    """The access key in such a file. Raises ConfigError, TextError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(decoded(data, path))
        section = parser["default"]
        return Credentials(section["aws_access_key_id"], section["aws_secret_access_key"])
    except (configparser.Error, KeyError) as error:
        raise ConfigError(f"{path} holds no access key under [default]: {error}") from error


def read_password(broker: Broker) -> str | None:
    """The broker's password, the first line of its file; None where none is set.

    Raises FileError, ConfigError.
    """
    if broker.password is None:
        return None
    return first_line(broker.password, "the broker's password")


def first_line(path: Path, what: str) -> str:
    """The first line of a text file, without its end; `what` says what it is.

    Raises FileError, TextError, and ConfigError where it is empty.
    """
    line = decoded(disk.read(path, what), path).partition("\n")[0]
    if not line:
        raise ConfigError(f"the first line of {path} is empty, and should be {what}")
    return line


def _new_credentials() -> str:
    return (
        "[default]\n"
        f"aws_access_key_id = LOCAL{secrets.token_hex(8).upper()}\n"
        f"aws_secret_access_key = {secrets.token_urlsafe(30)}\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
