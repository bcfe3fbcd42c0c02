"""A thing's settings folder: everything that lies in `/etc` on its board, made on the host.

settings.json        as docs/settings.md describes it
trusted_keys.pem     who may sign packages, for agents that know no sets of keys
trust.json           the present set of keys, where the fleet has one
ca.pem               who signed the broker's certificate
client.pem           the thing's certificate
client.key           its private key; not there when the key was made on the board

Beside the fleet's settings also aws-policy.json: what AWS must let its boards do (`policy`).
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinslot import disk
from twinslot.addresses import Address
from twinslot.client import policy
from twinslot.client import settings as board_settings
from twinslot.client.issuer import Issuer, ProvisionError
from twinslot.config import Config
from twinslot.formats.trust_set import BOARD_FILE, board_file
from twinslot.keychain import Keychain
from twinslot.trust import certificates, keys


@dataclass(frozen=True)
class Wifi:
    """The network to join; password "" for an open one."""

    ssid: str
    password: str

    def check(self) -> "Wifi":
        """Return this network. Raises ProvisionError when a board could never join it."""
        if not 1 <= len(self.ssid.encode()) <= 32:
            raise ProvisionError("a Wi-Fi's SSID has 1 to 32 bytes")
        if self.password and not 8 <= len(self.password.encode()) <= 63:
            raise ProvisionError("a Wi-Fi's password has 8 to 63 bytes (WPA2)")
        return self


def provision(
    config: Config,
    thing: str,
    folder: Path,
    broker: Address,
    issuer: Issuer,
    *,
    wifi: Wifi | None = None,
    csr: bytes | None = None,
    renew: bool = False,
) -> None:
    """Let `issuer` make a certificate for `thing`, and write its settings folder.

    With `csr`, a certificate signing request, for the key that made it. `renew` revokes the thing's
    certificate and replaces key and certificates in the folder; what else is there stays.

    Raises CertificateError, ProvisionError, KeyFileError, FileError, or what the issuer raises;
    then, but for a disk that fails, nothing is changed.
    """
    certificates.check_thing(thing)
    if wifi is not None:
        wifi.check()
    if csr is None:
        key = keys.generate()
        request = certificates.request(key, thing)
    else:
        key = None
        request = certificates.checked_request(csr, thing)
    trusted = keys.public_pem(keys.read_public(config.public_key))
    present = Keychain(config.folder).present
    issuer.check(thing, renew=renew)
    if not renew and folder.exists() and any(folder.iterdir()):
        raise ProvisionError(f"{folder} is there already, and not empty")
    stage = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        disk.folder(stage)
        settings = _settings(config, thing, broker, wifi, folder if renew else None)
        settings = {**issuer.settings(), **settings}
        text = json.dumps(settings, indent=2) + "\n"
        disk.replace(stage / "settings.json", text.encode(), disk.SECRET)
        if not (folder / "trusted_keys.pem").exists():
            disk.replace(stage / "trusted_keys.pem", trusted)
        if present is not None:
            disk.replace(stage / BOARD_FILE, board_file(present))
        disk.replace(stage / "ca.pem", issuer.anchors())
        if key is not None:
            disk.replace(stage / "client.key", certificates.private_pem(key), disk.SECRET)
        with issuer.issuing(thing, request) as certificate:
            disk.replace(stage / "client.pem", certificate)
            disk.move_all(stage, folder)
        text = json.dumps(policy.document(), indent=2) + "\n"
        disk.replace(config.folder / policy.FILE_NAME, text.encode())
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    if key is None:
        (folder / "client.key").unlink(missing_ok=True)


def _settings(
    config: Config, thing: str, broker: Address, wifi: Wifi | None, before: Path | None
) -> dict[str, Any]:
    """The values of settings.json; what `before`, a settings folder, has in it stays."""
    found = {} if before is None else board_settings.read(before)
    if wifi is not None or "wifi" not in found:
        found["wifi"] = vars(wifi or Wifi("", ""))
    if before is None:
        found["report"] = 1  # access list and policy allow it
    found["thing"] = thing
    found["product"] = config.product
    found["broker"] = {
        **found.get("broker", {}),
        "host": broker.host,
        "port": broker.port,
        "tls": True,
    }
    return found
