"""Private keys and passwords are found by what a file holds, never by what it names."""

import base64
import binascii
import json
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from twinslot.trust import certificates, keys, secrets

PEM, DER = forms.Encoding.PEM, forms.Encoding.DER
PKCS8, OLD, SSH = (
    forms.PrivateFormat.PKCS8,
    forms.PrivateFormat.TraditionalOpenSSL,
    forms.PrivateFormat.OpenSSH,
)
SEALED = forms.BestAvailableEncryption(b"secret")
KEYS: list[Any] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate(),
]


def forms_of(encoding: forms.Encoding) -> Iterator[bytes]:
    for key in KEYS:
        for form in (PKCS8, OLD, SSH):
            for seal in (forms.NoEncryption(), SEALED):
                if (form is OLD and (key is KEYS[3] or (encoding is DER and seal is SEALED))) or (
                    form is SSH and (encoding is DER or seal is SEALED)
                ):
                    continue  # there is no such form
                yield key.private_bytes(encoding, form, seal)


def test_every_form_of_a_private_key_is_found_whatever_lies_around_it() -> None:
    for pem in forms_of(PEM):
        for data in (pem, b"# " + pem, bytes(100) + pem + bytes(100), pem.replace(b"\n", b"\r\n")):
            assert secrets.private_key("data.txt", data) == "a private key in PEM"
    for der in forms_of(DER):
        for data in (der, b"abc" + der + b"\xff" * 4096):
            assert secrets.private_key("data.bin", data) == "a private key in DER"


def test_a_key_in_the_constants_of_source_is_found() -> None:
    pem = next(forms_of(PEM)).decode()
    lines = pem.splitlines()
    for path, text in (
        ("a.py", f"KEY = {pem!r}\n"),
        ("a.py", f'KEY = """{pem}"""\n'),
        ("a.py", "KEY = (" + "\n".join(repr(f"{line}\n") for line in lines) + ")\n"),
        ("a.json", json.dumps({"tls": [{"key": pem}]})),
        ("a.c", "\n".join(f'"{line}\\n"' for line in lines)),
        ("a.js", " +\n".join(f"'{line}\\n'" for line in lines)),
        ("a.yaml", "key: |\n" + "\n".join(f"    {line}" for line in lines)),
    ):
        assert secrets.private_key(path, text.encode()) == "a private key in PEM", text
    der = next(forms_of(DER))
    for path, data in (
        ("a.py", b"KEY = " + repr(der).encode()),
        ("a.txt", der.hex().encode()),
        ("a.txt", base64.b64encode(der)),
        ("a.txt", base64.encodebytes(der)),
        ("a.txt", base64.urlsafe_b64encode(der)),
        ("a.py", b"KEY = bytes(%s)" % repr([*der]).encode()),
        ("a.json", json.dumps({"key": [*der]}).encode()),
        ("a.ppk", b"PuTTY-User-Key-File-3: ecdsa\nPrivate-Lines: 1\nAAAA\n"),
        ("a.jks", b"\xfe\xed\xfe\xed\0\0\0\2" + bytes(32)),
        ("a.json", json.dumps({"key": base64.b64encode(der).decode()}).encode()),
        ("a.txt", pem.encode("utf-16")),
    ):
        assert secrets.private_key(path, data) is not None


def test_a_jwk_and_a_store_with_a_key_are_found() -> None:
    jwk = {"kty": "EC", "crv": "P-256", "x": "ab", "y": "cd", "d": "jpsQnnGQmL-YBIffH1136cspYG6"}
    for found in (jwk, {"keys": [jwk]}, {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVM"}):
        assert secrets.private_key("k.json", json.dumps(found).encode()) == "a private key as JWK"
    for text in (
        json.dumps({"d": jwk["d"], "key_ops": ["sign"], "more": {"a": 1}, "kty": "EC"}),
        "".join(f"{name}: {value}\n" for name, value in jwk.items()),
        f"KEY = {jwk!r}\n",
    ):
        assert secrets.private_key("k.yaml", text.encode()) == "a private key as JWK"
    far = {"kty": "EC", "x": "a" * 10_000, "d": jwk["d"]}
    assert secrets.private_key("k.json", json.dumps(far).encode()) is None, "not of one key"
    del jwk["d"]
    assert secrets.private_key("k.json", json.dumps({"keys": [jwk]}).encode()) is None
    store = pkcs12.serialize_key_and_certificates(b"board", KEYS[0], None, None, SEALED)
    assert secrets.private_key("board.p12", store) == "a private key in DER"


def test_an_nvs_image_is_found_by_its_pages() -> None:
    head = struct.pack("<IB19s", 0, 0xFE, b"\xff" * 19)
    crc = binascii.crc32(head, 0xFFFFFFFF)
    page = (struct.pack("<I", 0xFFFFFFFE) + head + struct.pack("<I", crc)).ljust(4096, b"\xff")
    for data in (page, b"\xff" * 4096 + page):
        assert "an NVS image" in (secrets.private_key("nvs.bin", data) or "")
    assert secrets.private_key("nvs.bin", page[:28] + bytes(4) + page[32:]) is None


def test_what_only_names_a_key_or_is_public_travels() -> None:
    ca_key = keys.generate()
    ca = certificates.authority(ca_key, "ca")
    labels = b"-----BEGIN EC PRIVATE KEY-----\0-----END EC PRIVATE KEY-----\0"
    public = KEYS[2].public_key()
    for data in (
        labels,
        b'BEGIN = "-----BEGIN PRIVATE KEY-----"\nEND = "-----END PRIVATE KEY-----"\n',
        b"-----BEGIN PRIVATE KEY-----\n...your key...\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMHcCAQEE\n-----END PRIVATE KEY-----\n",
        certificates.pem(ca),
        ca.public_bytes(DER),
        keys.public_pem(ca_key.public_key()),
        public.public_bytes(DER, forms.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(DER, forms.PublicFormat.PKCS1),
        b'{"kty": "EC", "d": d}',
        random.Random(3).randbytes(100_000),
    ):
        assert secrets.private_key("data.py", data) is None


def test_no_file_keeps_the_search_for_long() -> None:
    begun = time.process_time()
    for data in (
        b"-----BEGIN PRIVATE KEY-----" * 20_000,
        b"MIIE" * 300_000,
        b"3082" * 300_000,
        b"0\x82\1\0\2\1\0\2" * 100_000,
        b'{"kty":' * 100_000,
        b'{"kty":"EC"' * 100_000,
        b"{password" * 100_000,
        b"PuTTY-User-Key-File-3\n" * 50_000,
    ):
        assert secrets.private_key("data.py", data) is None
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("c.json", '{"wifi": {"ssid": "home", "password": "hunter22"}}', "password"),
        ("c.json", '[{"networks": [{"psk": "hunter22"}]}]', "psk"),
        ("c.json", '{"wifiPassword": "hunter22"}', "wifiPassword"),
        ("c.toml", '[mqtt]\npasswd = "hunter22"\n', "passwd"),
        ("c.ini", "[wifi]\nssid = home\npass = hunter22\n", "pass"),
        (".env", "export WIFI_PASSWORD=hunter22\n", "WIFI_PASSWORD"),
        ("c.yaml", "wifi:\n  password: hunter22\n", "password"),
        ("c.py", "WIFI_PASSWORD = 'hunter22'\n", "WIFI_PASSWORD"),
        ("c.py", "WIFI = {'ssid': 'home', 'password': 'hunter22'}\n", "password"),
        ("c.py", "MQTT_PASS = 'hunter22'\nBYPASS = 'on'\n", "MQTT_PASS"),
        ("webrepl_cfg.py", "PASS = 'hunter22'\n", "PASS"),
        ("c.yaml", "networks:\n  - ssid: home\n    password: hunter22\n", "password"),
        ("c.yaml", "- password: hunter22\n", "password"),
        ("c.yaml", "wifi: {ssid: home, password: hunter22}\n", "password"),
        ("c.yml", "'password': \"hunter22\"\n", "password"),
        ("c.yaml", "password: |\n  hunter22\n", "password"),
        ("c.jsonc", '{\n  // of the lab\n  "password": "hunter22",\n}', "password"),
        ("c.json5", "{ssid: 'home', password: 'hunter22'}", "password"),
        ("c.json", '{"password": "hunter22",}', "password"),
        ("c.xml", "<wifi><password>hunter22</password></wifi>", "password"),
        ("settings", "password=hunter22\n", "password"),
        ("c.py", "PASSWORD: str = 'hunter22'\n", "PASSWORD"),
        ("c.py", "class Wifi:\n    PASSWORD = 'hunter22'\n", "PASSWORD"),
        ("c.py", "SSID, PASSWORD = 'home', 'hunter22'\n", "PASSWORD"),
        ("c.py", "PASSWORD = const('hunter22')\n", "PASSWORD"),
        ("c.py", "PASSWORD = b'hunter22'\n", "PASSWORD"),
        ("c.py", "join(ssid='home', password='hunter22')\n", "password"),
        ("c.py", "password = read('wifi.txt')\n", None),
        ("c.py", "password = settings['password']\n", None),
        ("c.yaml", "# password: hunter22 is what it was\n", None),
        ("readme.txt", "ask Ann, password: with her\n", None),
        ("c.py", "BYPASS = 'always'\n", None),
        ("c.json", '{"password": ""}', None),
        ("c.json", '{"password": "your-password", "psk": "<secret>", "pw": "xxxxxx"}', None),
        ("c.json", '{"password": true, "passwords": "hunter22"}', None),
        ("c.json", "{", None),
        ("c.toml", "=", None),
        ("c.py", "def f(password='hunter22'): pass\n", None),
        ("c.py", "TOPIC_PASSWORD_RESET = 'home/reset'\n", None),
        ("readme.txt", "the password: ask Ann\n", None),
        ("c.bin", "password=hunter22", None),
    ],
)
def test_a_password_is_found_where_settings_stand(path: str, text: str, name: str | None) -> None:
    assert secrets.password(path, text.encode()) == name
    assert secrets.password(path, b"\xef\xbb\xbf" + text.encode()) == name
    assert secrets.password(path, text.encode("utf-16")) == name
