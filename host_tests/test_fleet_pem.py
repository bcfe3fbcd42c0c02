"""PEM files are read as people have them; what cannot be used is named with its position."""

import datetime as dt
import json
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from twinslot.board import files
from twinslot.trust import authority, certificates, keys, pem
from twinslot.trust.keys import KeyFileError

PAIR = [keys.generate(), keys.generate()]
ONE, TWO = (keys.public_pem(key.public_key()) for key in PAIR)
CA = certificates.pem(certificates.authority(PAIR[0], "first"))
CA2 = certificates.pem(certificates.authority(PAIR[1], "second"))


def public(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def windows(data: bytes) -> list[bytes]:
    """The same text as programs of Windows save it."""
    lines = data.replace(b"\n", b"\r\n")
    mark = b"\xef\xbb\xbf"
    return [lines, mark + data, mark + lines, lines.decode().encode("utf-16"), data[:-1]]


def test_keys_and_certificates_are_read_in_every_form_that_people_have() -> None:
    commented = b"# M\xc3\xbcller's key, 2026\n\n" + ONE + b"\n; the spare\n" + TWO
    for data in (ONE + TWO, commented, *windows(commented), ONE.replace(b"\n", b" \n") + TWO):
        assert pem.public_keys(data, "k.pem") == [key.public_key() for key in PAIR]
    for data in (CA + CA2, b"subject=CN=first\n" + CA + CA2, *windows(CA + CA2)):
        found = pem.certificates(data, "ca.pem")
        assert [certificates.name_of(one) for one in found] == ["first", "second"]
        clean = pem.clean(data, "ca.pem", pem.certificates)
        assert b"\r" not in clean and clean.find(b"-----BEGIN") in (0, len("subject=CN=first\n"))


RSA = rsa.generate_private_key(65537, 2048).public_key()
P384 = ec.generate_private_key(ec.SECP384R1()).public_key()
COMPRESSED = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + (
    PAIR[0]
    .public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
)


def wrapped(label: str, der: bytes) -> bytes:
    import base64

    return (
        f"-----BEGIN {label}-----\n".encode()
        + base64.encodebytes(der)
        + (f"-----END {label}-----\n".encode())
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ONE + public(RSA), r"block 2 \(line 5\) is a key of another kind"),
        (b"#\n" + public(P384), r"block 1 \(line 2\) is a key of another curve, secp384r1"),
        (wrapped("PUBLIC KEY", COMPRESSED), r"block 1 \(line 1\) is a key in compressed form"),
        (ONE + CA, r"block 2 \(line 5\) is labelled CERTIFICATE, and no P-256 public key"),
        (ONE + keys.private_pem(PAIR[0]), r"block 2 \(line 5\) is labelled PRIVATE KEY"),
        (ONE + wrapped("PUBLIC KEY", b"nothing"), r"block 2 \(line 5\) is damaged"),
        (ONE + TWO[:-30], r"block 2 \(line 5\) has no END line: cut short"),
        (ONE[:-30] + b"\n" + TWO, r"block 1 \(line 1\) has no END line before line \d"),
        (ONE.replace(b"M", b"!"), r"block 1 \(line 1\) is damaged: .* no base64"),
        (ONE.replace(b"-\nM", b"-\n!!!!M"), r"block 1 \(line 1\) is damaged: .* no base64"),
        (ONE.replace(b"END PUBLIC", b"END PRIVATE"), "begins as PUBLIC KEY and ends as PRIVATE"),
        (ONE.replace(b"-----\nM", b"-----\nProc-Type: 4,ENCRYPTED\n\nM"), "has a header inside"),
        (b"-----END PUBLIC KEY-----\n", "line 1: an END line without"),
        (b"", "holds no PEM block"),
        (b"ssh-ed25519 AAAA\n", "holds no PEM block"),
        (b"\x30\x59\x80\xff", "is no text"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_its_position(data: bytes, words: str) -> None:
    with pytest.raises(pem.PemError, match=f"k.pem.*{words}|{words}"):
        pem.public_keys(data, "k.pem")


def test_a_certificate_that_cannot_be_used_is_named_with_its_position() -> None:
    lines = CA.count(b"\n") + 1
    der = pem.blocks(CA, "ca.pem")[0].der
    constraints = der.index(bytes.fromhex("0603551d13"))  # RFC 5280 4.2.1.9: a BOOLEAN inside
    odd = der[:constraints] + der[constraints:].replace(b"\x01\x01\xff", b"\x04\x01\xff")
    for bad, words in (
        (wrapped("CERTIFICATE", odd), "damaged"),
        (wrapped("CERTIFICATE", b"0\x03abc"), "damaged"),
        (CA2.replace(b" CERTIFICATE", b" X509 CERTIFICATE"), "labelled X509 CERTIFICATE"),
    ):
        with pytest.raises(pem.PemError, match=rf"block 2 \(line {lines}\) is {words}"):
            pem.certificates(CA + bad, "ca.pem")


def test_a_fleets_own_key_is_read_in_windows_form_and_must_be_alone(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    for data in windows(ONE):
        path.write_bytes(data)
        assert keys.read_public(path) == PAIR[0].public_key()
    for data in windows(keys.private_pem(PAIR[0])):
        path.write_bytes(data)
        assert keys.read_private(path).public_key() == PAIR[0].public_key()
    path.write_bytes(ONE + TWO)
    with pytest.raises(KeyFileError, match="holds 2 public keys"):
        keys.read_public(path)


def test_every_certificate_of_a_bundle_is_trusted_whatever_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for data in (CA + CA2, *windows(CA + CA2)):
        path.write_bytes(data)
        context: ssl.SSLContext = authority.tls_context(path)
        assert len(context.get_ca_certs()) == 2
        assert certificates.name_of(authority.read_certificate(path)) == "first"


def test_a_board_gets_them_in_clean_form_or_not_at_all(tmp_path: Path) -> None:
    settings = {"thing": "board-1", "broker": {"host": "h", "port": 8883, "tls": True}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    end = dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
    ca = certificates.authority(PAIR[0], "first")
    own = certificates.client(ca, PAIR[0], "board-1", PAIR[1].public_key(), end)
    (tmp_path / "client.pem").write_bytes(certificates.pem(own))
    (tmp_path / "client.key").write_bytes(certificates.private_pem(PAIR[1]))
    (tmp_path / "trusted_keys.pem").write_bytes((ONE + TWO).decode().encode("utf-16"))
    (tmp_path / "ca.pem").write_bytes(windows(CA)[2])
    found = files.settings(tmp_path)
    assert found["/etc/trusted_keys.pem"] == ONE + TWO
    assert found["/etc/ca.pem"] == CA
    (tmp_path / "trusted_keys.pem").write_bytes(ONE + public(RSA))
    with pytest.raises(pem.PemError, match=r"trusted_keys\.pem, block 2 \(line 5\)"):
        files.settings(tmp_path)
