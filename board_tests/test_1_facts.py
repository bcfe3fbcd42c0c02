"""What the board is, before anything is changed."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from board_tests.device import Device
from board_tests.report import Report
from twinslot.formats import otadata


def test_it_has_otadata_and_two_slots_and_runs_from_one(device: Device, report: Report) -> None:
    partitions = {row[4]: row for row in report.facts["partitions"]}
    slots = [row for row in partitions.values() if row[0] == 0 and 0x10 <= row[1] <= 0x1F]
    assert any(row[0] == 1 and row[1] == 0 for row in partitions.values())
    assert len(slots) >= 2
    assert tuple(report.facts["running"]) in [tuple(row) for row in slots]


def test_its_python_is_new_enough(device: Device, report: Report) -> None:
    assert tuple(report.facts["version"]) >= (1, 22)


def test_otadata_says_that_the_running_slot_is_valid(device: Device, report: Report) -> None:
    active = otadata.active(device.records())
    assert active is not None
    assert active.slot(2) == report.facts["running"][1] - 0x10
    assert active.state == otadata.VALID


def test_it_holds_the_agent_of_this_checkout(device: Device) -> None:
    assert device.differing() == [], "run `make deploy` first"


def test_p256_verifies_what_openssl_signed(device: Device, report: Report) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    digest = bytes(range(32))
    signed = key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    r, s = utils.decode_dss_signature(signed)
    public = key.public_key().public_numbers()
    texts = [
        number.to_bytes(32, "big") for number in (public.x, public.y, r, s)
    ]  # key and signature, as the agent takes them
    verified, milliseconds = device.ask(
        "from ota import p256",
        f"p256.verify({texts[0] + texts[1]!r}, {digest!r}, {texts[2] + texts[3]!r})",
    )
    assert verified is True
    report.measured["p256_verify_ms"] = milliseconds
    forged = bytes([texts[3][0] ^ 1]) + texts[3][1:]
    wrong, _ = device.ask(
        "from ota import p256",
        f"p256.verify({texts[0] + texts[1]!r}, {digest!r}, {texts[2] + forged!r})",
    )
    assert wrong is False


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_opens_what_openssl_signed(device: Device, report: Report, bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    signature = int.from_bytes(key.sign(b"message", padding.PKCS1v15(), hashes.SHA256()), "big")
    number = key.public_key().public_numbers().n
    opened, milliseconds = device.ask("", f"pow({signature}, 65537, {number})")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"message")
    assert opened.to_bytes(bits // 8, "big").endswith(digest.finalize())
    report.measured[f"rsa{bits}_open_ms"] = milliseconds


def test_an_empty_heap_is_measured(device: Device, report: Report) -> None:
    free, taken = device.heap_of_a_bare_start()
    report.weigh({"start": free})
    report.measured["heap_taken_start"] = taken
    assert free > 90_000, "too little heap for the agent beside Wi-Fi and TLS"
