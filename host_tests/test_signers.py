"""A package is signed by a key at hand or by a program, whose answer nobody believes unchecked."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from twinslot.formats.component import application_content
from twinslot.formats.head import read_head
from twinslot.trust import keys, signing
from twinslot.trust.signers import CommandSigner, SignerError

_PROGRAM = """
import base64, sys
from pathlib import Path
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

key = serialization.load_pem_private_key(Path(sys.argv[1]).read_bytes(), None)
der = key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))
r, s = decode_dss_signature(der)
raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
forms = {"der": der, "raw": raw, "base64": base64.encodebytes(der), "raw64": base64.b64encode(raw)}
sys.stdout.buffer.write(forms[sys.argv[2]])
"""


@pytest.fixture
def key(tmp_path: Path) -> keys.PrivateKey:
    made = keys.generate()
    keys.write_private(made, tmp_path / "card.pem")
    (tmp_path / "card.py").write_text(_PROGRAM)
    return made


def card(folder: Path, form: str) -> str:
    return f"{sys.executable} {folder}/card.py {folder}/card.pem {form}"


@pytest.mark.parametrize("form", ["der", "raw", "base64", "raw64"])
def test_a_program_signs_a_package(tmp_path: Path, key: keys.PrivateKey, form: str) -> None:
    signer = CommandSigner(card(tmp_path, form), key.public_key())
    data = signing.build_by(signer, [application_content(bytes(512))], "p", "1", 1, 1)
    signing.verify(read_head(data), key.public_key())


def test_a_signature_of_another_key_is_refused_by_name(
    tmp_path: Path, key: keys.PrivateKey
) -> None:
    other = keys.generate().public_key()
    with pytest.raises(SignerError, match=f"no signature by key {keys.kid(other).hex()}"):
        CommandSigner(card(tmp_path, "der"), other).sign(b"bytes")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("true", "gave 0 bytes"),
        ("echo hello", "gave 6 bytes"),
        ("head -c 64 /dev/zero", "gave 64 bytes"),
        ("head -c 5000 /dev/zero", "gave 5000 bytes"),
        ("false", "exited with 1"),
        ("/no/such/program", "cannot start /no/such/program"),
        ("", "is empty"),
        ("sign 'open", "is no command"),
    ],
)
def test_a_program_that_does_not_sign_is_named_with_its_fault(command: str, words: str) -> None:
    signer = CommandSigner(command, keys.generate().public_key())
    with pytest.raises(SignerError, match=words):
        signer.sign(b"bytes")


def test_a_key_is_encrypted_with_a_passphrase_and_opened_by_it(tmp_path: Path) -> None:
    key = keys.generate()
    path = tmp_path / "root.pem"
    keys.write_pair(key, path, tmp_path / "root.pub.pem", "correct horse")
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    opened = keys.read_private(path, lambda _: "correct horse")
    assert opened.private_numbers() == key.private_numbers()
    with pytest.raises(keys.KeyFileError, match="does not open with this passphrase"):
        keys.read_private(path, lambda _: "wrong")
    with pytest.raises(keys.KeyFileError, match="is encrypted"):
        keys.read_private(path)


def test_nobody_is_asked_for_the_passphrase_of_a_plain_key(tmp_path: Path) -> None:
    key = keys.generate()
    keys.write_private(key, tmp_path / "plain.pem")

    def ask(path: Path) -> str:
        raise AssertionError(path)

    assert keys.read_private(tmp_path / "plain.pem", ask).public_key() == key.public_key()


def test_a_key_that_another_program_encrypted_opens_too(tmp_path: Path) -> None:
    key = keys.generate()
    path = tmp_path / "other.pem"
    encryption = serialization.BestAvailableEncryption(b"pass")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    assert keys.read_private(path, lambda _: "pass").public_key() == key.public_key()
