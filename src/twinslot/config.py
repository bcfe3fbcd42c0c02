"""fleet.toml: what this fleet is, where its keys lie, how its service is reached.

The file is written once by `fleet init` and belongs to the operator from then on. Paths in it are
relative to its folder.
"""

import configparser
import ipaddress
import json
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinslot import disk, keychain
from twinslot.errors import ConfigError, UnreachableError
from twinslot.formats.chips import CHIPS, SECTOR
from twinslot.formats.trust_set import RELEASE, ROOT, Entry, make_set
from twinslot.text import decoded
from twinslot.trust import keys

FILE_NAME = "fleet.toml"
DATABASE_NOTE = "database"
"""File in the state folder that says where the database of the last `fleet serve` is."""
_BASE_URL = re.compile(r"https?://[^/?#@\s]+")
_WHOLE = re.MULTILINE | re.DOTALL
_TOML_VALUE = r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s#]+'


@dataclass(frozen=True)
class Address:
    """A TCP address; port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
class Account:
    """The table [aws]: an account of AWS, and what of it is this fleet's.

    profile: of the machine's AWS settings, "" for the one that AWS's own tools would take; bucket:
    for packages; role: ARN of the role by which AWS reads them; policy: name of the boards' policy;
    endpoint: URL of a stand-in for all of AWS's services, "" for AWS.
    """

    region: str
    bucket: str
    role: str
    profile: str = ""
    policy: str = "fleet-boards"
    endpoint: str = ""


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


@dataclass(frozen=True)
class Endpoint:
    """Where a running `fleet serve` listens: base URLs, broker as HOST:PORT, process id."""

    control: str
    data: str
    broker: str
    pid: int


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
        top = _Section(tomllib.loads(written), "")
    except (ValueError, RecursionError) as error:  # numbers without end, too
        raise ConfigError(f"{FILE_NAME} is not TOML: {error}") from error
    key_files, service, broker = (top.section(name) for name in ("keys", "service", "broker"))
    account = _account(top.section("aws")) if top.has("aws") else None
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


def _account(table: "_Section") -> Account:
    """The table [aws]. Limits of names: AWS's API models; S3 user guide, "Bucket naming rules"."""
    account = Account(
        region=table.matching(
            "region", r"[a-z]{2,4}(-[a-z]+)+-\d", "a region, such as eu-central-1"
        ),
        bucket=table.matching(
            "bucket",
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "the name of a bucket: 3 to 63 small letters, digits, dots and hyphens",
        ),
        role=table.matching(
            "role",
            r"arn:aws[a-z-]*:iam::\d{12}:role/\S{1,512}",
            "the ARN of a role, such as arn:aws:iam::123456789012:role/fleet-packages",
        ),
        profile=table.text("profile", default=Account.profile),
        policy=table.matching(
            "policy",
            r"[\w+=,.@-]{1,128}",
            "the name of a policy: 1 to 128 letters, digits and + = , . @ - _",
            Account.policy,
        ),
        endpoint=table.text("endpoint", default=Account.endpoint),
    )
    table.refuse_unknown()
    return account


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


def endpoint_file(config: Config) -> Path:
    """The file through which other commands find the running service."""
    return config.state / "endpoint.json"


def note_database(config: Config, place: str) -> None:
    """Keep where the database of this fleet's service is: its URL without a password.

    Raises FileError.
    """
    disk.replace(_database_file(config), f"{place}\n".encode(), disk.SECRET)


def noted_database(config: Config) -> str | None:
    """Return where the database of the last service of this fleet is; None if none was noted.

    Raises FileError, ConfigError.
    """
    path = _database_file(config)
    return first_line(path, "the note") if path.exists() else None


def _database_file(config: Config) -> Path:
    return config.state / DATABASE_NOTE


def find_endpoint(config: Config) -> Endpoint:
    """Where the `fleet serve` of this folder listens. Raises UnreachableError if none runs."""
    path = endpoint_file(config)
    try:
        return endpoint_of(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise UnreachableError(
            "no service runs for this folder: start `fleet serve`, or set endpoint in fleet.toml"
        ) from error
    except OSError as error:
        raise UnreachableError(f"cannot read {path}: {error.strerror}") from error


def endpoint_of(data: bytes, path: Path) -> Endpoint:
    """The Endpoint that a running service wrote into `path`. Raises UnreachableError."""
    try:
        endpoint = Endpoint(**json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreachableError(f"cannot read {path}: {error}; start `fleet serve` again") from error
    for name, kind in (("control", str), ("data", str), ("broker", str), ("pid", int)):
        if type(getattr(endpoint, name)) is not kind:
            raise UnreachableError(
                f"{path}: {name} is no {kind.__name__}; start `fleet serve` again"
            )
    return endpoint


def _new_credentials() -> str:
    return (
        "[default]\n"
        f"aws_access_key_id = LOCAL{secrets.token_hex(8).upper()}\n"
        f"aws_secret_access_key = {secrets.token_urlsafe(30)}\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string


class _Section:
    """Typed access to one TOML table; every error names the key as it stands in the file."""

    def __init__(self, values: dict[str, Any], prefix: str) -> None:
        self._values = values
        self._prefix = prefix
        self._asked: set[str] = set()

    def section(self, key: str) -> "_Section":
        return _Section(self._get(key, dict, "a table"), key + ".")

    def text(self, key: str, least: int = 0, most: int = 1024, default: str | None = None) -> str:
        value: str = self._get(key, str, "text", default)
        if not least <= len(value.encode()) <= most:
            raise ConfigError(f"{self._prefix}{key}: text of {least} to {most} bytes")
        if "\0" in value:
            raise ConfigError(f"{self._prefix}{key}: {value!r} has a byte 0")
        return value

    def matching(self, key: str, pattern: str, form: str, default: str | None = None) -> str:
        """A text of this pattern; `form` says for people what that is."""
        value = self.text(key, default=default)
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(f"{self._prefix}{key}: {value!r} is not {form}")
        return value

    def has(self, key: str) -> bool:
        return key in self._values

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value: int = self._get(key, int, "a whole number", default)
        if not least <= value <= most:
            raise ConfigError(f"{self._prefix}{key}: {value} is not within {least} to {most}")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self._get(key, bool, "true or false")
        return value

    def address(self, key: str) -> Address:
        try:
            return parse_address(self.text(key))
        except ValueError as error:
            raise ConfigError(f"{self._prefix}{key}: {error}") from error

    def host(self, key: str) -> str:
        try:
            return parse_host(self.text(key))
        except ValueError as error:
            raise ConfigError(f"{self._prefix}{key}: {error}") from error

    def optional_path(self, key: str, folder: Path, default: str | None = None) -> Path | None:
        value = self.text(key, default=default)
        return folder / value if value else None

    def refuse_unknown(self) -> None:
        for key in self._values:
            if key not in self._asked:
                raise ConfigError(f"{self._prefix}{key}: no such setting")

    def _get(self, key: str, kind: type, name: str, default: Any = None) -> Any:
        self._asked.add(key)
        if key not in self._values:
            if default is not None:
                return default
            raise ConfigError(f"{self._prefix}{key} is missing")
        value = self._values[key]
        if type(value) is not kind:
            raise ConfigError(f"{self._prefix}{key}: {value!r} is not {name}")
        return value


def parse_address(text: str) -> Address:
    """HOST:PORT as an Address; IPv6 stands in brackets. Raises ValueError, a sentence."""
    host, colon, port = text.rpartition(":")
    if "://" in text:
        raise ValueError(f"{text!r} has a scheme, {text.partition('://')[0]}://; give HOST:PORT")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(parse_host(host), int(port))


def is_local(host: str) -> bool:
    """Say whether a host means the machine that asks, or no other can reach it by this name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".").lower().rpartition(".")[2] == "localhost"
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified


def parse_host(text: str) -> str:
    """A name or an address, without brackets. Raises ValueError, a sentence, for anything else."""
    bare = text[1:-1] if text[:1] + text[-1:] == "[]" else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    scheme, found, _ = text.partition("://")
    if found:
        raise ValueError(f"{text!r} has a scheme, {scheme}://; give the name or address alone")
    if ":" in text:
        raise ValueError(
            f"{text!r} has a port; give the name or address alone, the port has a place of its own"
        )
    if not text or not text.isprintable() or set(text) & set(" /?#@[]\\\"'"):
        raise ValueError(f"{text!r} is no host, which is a name or an address")
    return text
