"""Raw images with the detached signature of AWS's job documents, on the simulated chip."""

from __future__ import annotations

import base64
import datetime as dt
import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import hardware
import on_board.vectors as vectors
import pytest
from agent_bench import IMAGE, Bench, finish, packed, receive
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from esp32 import NVS
from layout import SLOT_SIZE
from nor import PowerCut
from raw_world import DER, ECDSA, NOW, RSA, SIGNERS, YEAR, RawBench, Signer, firmware

from sim import image
from tools.paths import ROOT
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer

JOB = "AFR_OTA-1"
BAD_JOB = "0x24000000: 0x00000005"
BAD_SIGNATURE = "0x01000000: 0xfffffffe"
BAD_CERTIFICATE = "0x02000000: 0xfffffffd"
SMALL = 9_000  # bytes of image: three sectors
SEED = 20261204


@pytest.fixture(params=SIGNERS)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> RawBench:
    return RawBench(tmp_path, SIGNERS[request.param])


@pytest.fixture
def ecdsa(tmp_path: Path) -> RawBench:
    return RawBench(tmp_path)


# -- the good road --------------------------------------------------------------------------------


def test_a_signed_image_ends_up_running_and_accepted(bench: RawBench) -> None:
    data = firmware()
    bench.add(JOB, data)
    bench.until_quiet()
    assert bench.service.updates == [
        (JOB, "IN_PROGRESS", {"receive": "1/10"}),
        (JOB, "IN_PROGRESS", {"self_test": "ready", "updatedBy": "0x90000"}),
        (JOB, "IN_PROGRESS", {"self_test": "active", "updatedBy": "0x90001"}),
        (JOB, "SUCCEEDED", {"reason": "accepted v0.9.1", "version": "0.9.1"}),
    ]
    assert bench.board.running == 1
    assert bench.board.slot_bytes(1, len(data)) == data
    assert bench.agent.running == ("0.9.1", 0)
    assert bench.agent.image_state == 2


@pytest.mark.parametrize("block_size", [256, 1024, 16384])
def test_every_block_size_carries_the_same_image(ecdsa: RawBench, block_size: int) -> None:
    data = firmware()
    ecdsa.add(JOB, data)
    for _ in range(3):
        if ecdsa.boot(block_size=block_size) is None and ecdsa.step(20000) is None:
            break
    assert ecdsa.service.status(JOB) == "SUCCEEDED"
    assert ecdsa.board.slot_bytes(1, len(data)) == data


def test_one_raw_image_follows_the_other_and_a_package_them(ecdsa: RawBench) -> None:
    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet()
    ecdsa.versions[0] = "0.9.2"
    ecdsa.add("AFR_OTA-2", firmware("0.9.2"))
    ecdsa.until_quiet()
    assert ecdsa.service.details("AFR_OTA-2")["reason"] == "accepted v0.9.2"
    ecdsa.service.add("job-3", packed("1.1.0", 2))
    ecdsa.until_quiet()
    assert ecdsa.service.details("job-3") == {"reason": "accepted v1.1.0", "version": "1.1.0"}
    assert ecdsa.agent.running == ("1.1.0", 2)


@pytest.mark.parametrize("kind", SIGNERS)
def test_what_openssl_makes_by_the_documented_commands_is_taken(tmp_path: Path, kind: str) -> None:
    page = (ROOT / "docs/raw-images.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(openssl .*?)```", page, re.DOTALL)
    if kind == "rsa":
        commands = commands.replace("ec -pkeyopt ec_paramgen_curve:P-256", "rsa:3072")
    data = firmware()
    (tmp_path / "micropython.bin").write_bytes(data)
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    bench = RawBench(tmp_path / "board", SIGNERS[kind])
    bench.certificate.write_bytes((tmp_path / "signer.pem").read_bytes())
    signature = base64.b64encode((tmp_path / "micropython.sig").read_bytes()).decode()
    bench.add(JOB, data, **{SIGNERS[kind].field: signature})
    bench.until_quiet()
    assert bench.service.status(JOB) == "SUCCEEDED"


def test_a_board_without_keys_for_packages_takes_one(ecdsa: RawBench) -> None:
    (ecdsa.board.folder / "etc/trusted_keys.pem").unlink()
    ecdsa.add("job-1", firmware())
    ecdsa.until_quiet()
    assert ecdsa.service.status("job-1") == "SUCCEEDED"


def test_a_certificate_may_be_der(ecdsa: RawBench) -> None:
    ecdsa.certificate.write_bytes(ECDSA.certificate(DER))
    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet()
    assert ecdsa.service.status(JOB) == "SUCCEEDED"


@pytest.mark.parametrize("path", ["signer.pem", "/certs/signer.pem", "../../certs/signer.pem"])
def test_only_the_last_part_of_certfile_is_looked_up(ecdsa: RawBench, path: str) -> None:
    ecdsa.add(JOB, firmware(), certfile=path)
    ecdsa.until_quiet()
    assert ecdsa.service.status(JOB) == "SUCCEEDED"


def test_without_a_clock_the_dates_are_not_judged_and_the_result_says_so(
    ecdsa: RawBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecdsa.certificate.write_bytes(ECDSA.certificate(after=NOW - YEAR / 2))
    ecdsa.add(JOB, firmware())
    ecdsa.service.now = 0
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: 0.0)
        ecdsa.until_quiet()
    assert ecdsa.service.status(JOB) == "SUCCEEDED"
    said = ecdsa.service.details(JOB)["detail"]
    assert said == "the clock is not set: the dates of signer.pem were not judged"


def test_a_package_needs_no_signature_of_the_job_and_none_replaces_its_own(
    ecdsa: RawBench,
) -> None:
    ecdsa.service.add("job-1", packed("1.1.0", 2), certfile=3, **{"sig-sha256-ecdsa": []})
    ecdsa.until_quiet()
    assert ecdsa.service.status("job-1") == "SUCCEEDED"
    stranger = packed("1.2.0", 3, key=ec.generate_private_key(ec.SECP256R1()))
    ecdsa.add("job-2", stranger)
    ecdsa.until_quiet()
    assert ecdsa.service.details("job-2")["cause"] == "unknown_key"


# -- refused before anything is erased ------------------------------------------------------------


def refused(bench: Bench, data: bytes, **document: Any) -> dict[str, str]:
    """Offer a file that must be refused before anything is erased. Returns its details."""
    bench.until_quiet()
    before = bench.board.slot_bytes(1, SLOT_SIZE)
    bench.service.add(JOB, data, **document)
    assert bench.step() is None
    assert bench.board.slot_bytes(1, SLOT_SIZE) == before
    assert bench.service.status(JOB) == "FAILED"
    assert len(bench.service.stream_requests) == 1
    return bench.service.details(JOB)


def test_raw_images_are_off_by_default_and_the_refusal_names_the_setting(ecdsa: RawBench) -> None:
    ecdsa.settings = {}
    data = firmware()
    said = refused(ecdsa, data, **ECDSA.describes(data))
    assert (said["reason"], said["cause"]) == (BAD_JOB, "bad_package")
    assert "raw_images" in said["detail"]


def test_an_application_that_does_not_say_its_version_gets_no_raw_image(ecdsa: RawBench) -> None:
    ecdsa.versions = {}
    data = firmware()
    said = refused(ecdsa, data, **ECDSA.describes(data))
    assert (said["reason"], said["cause"]) == ("0x27000000: 0x00000000", "settings")
    assert "Agent(..., version=)" in said["detail"]


def test_a_board_with_an_application_directory_gets_no_raw_image(ecdsa: RawBench) -> None:
    start = ecdsa.board.slot_bytes(0, SLOT_SIZE)[-4096:]
    record = read_head(packed("1.0.0", 1)).record
    assert start.startswith(record[:8])
    ecdsa.board.flash_slot(
        0, image.firmware(version="1.0.0", size=IMAGE), write_trailer([record], "app_0")
    )
    application = ecdsa.board.folder / "app_0"
    application.mkdir()
    (application / "main.py").write_text("")
    data = firmware()
    said = refused(ecdsa, data, **ECDSA.describes(data))
    assert (said["reason"], said["cause"]) == (BAD_JOB, "wrong_target")
    assert "/app_0" in said["detail"]


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({}, "has 0 signatures"),
        ({"certfile": "signer.pem"}, "has 0 signatures"),
        ({"sig-sha256-ecdsa": "TUVR"}, "certfile"),
        ({"sig-sha256-ecdsa": "TUVR", "sig-sha256-rsa": "TUVR"}, "has 2 signatures"),
        ({"sig-sha1-rsa": "TUVR", "certfile": "signer.pem"}, "SHA-1"),
        ({"sig-sha1-ecdsa": "TUVR", "certfile": "signer.pem"}, "SHA-1"),
        ({"sig-sha512-rsa": "TUVR", "certfile": "signer.pem"}, "sig-sha512-rsa"),
    ],
)
def test_without_a_signature_that_can_be_verified_nothing_is_erased(
    ecdsa: RawBench, document: dict[str, str], part: str
) -> None:
    said = refused(ecdsa, firmware(), **document)
    assert (said["reason"], said["cause"]) == (BAD_JOB, "bad_job")
    assert part in said["detail"]


@pytest.mark.parametrize(
    "text", ["", "IAmVeryTrusted", "TUV", "TU VR", "TUVR\n", "TUVR====", "TUVS*", "é", 5, None, []]
)
def test_a_signature_that_is_not_base64_is_a_bad_job(ecdsa: RawBench, text: object) -> None:
    said = refused(ecdsa, firmware(), certfile="signer.pem", **{"sig-sha256-ecdsa": text})
    assert said["reason"] == BAD_JOB
    assert "base64" in said["detail"]


@pytest.mark.parametrize(
    "path", ["", "/", "certs/", ".", "..", "/certs/..", "a" * 65, "a\0b", "a\nb", "..\\x", "é", 7]
)
def test_a_certfile_that_could_leave_its_folder_is_a_bad_job(ecdsa: RawBench, path: object) -> None:
    data = firmware()
    said = refused(ecdsa, data, **{**ECDSA.describes(data), "certfile": path})
    assert (said["reason"], said["cause"]) == (BAD_JOB, "bad_job")
    assert "certfile" in said["detail"]


@pytest.mark.parametrize(
    ("certificate", "part"),
    [
        (None, "missing"),
        (b"", "no certificate in it"),
        (ECDSA.certificate(DER)[:-1], "ends too early"),
        (ECDSA.certificate() + bytes(4096), "more than 4096 bytes"),
        (ECDSA.certificate(after=NOW - YEAR / 2), "expired"),
        (ECDSA.certificate(before=NOW + YEAR), "not valid for another"),
        (Signer(rsa.generate_private_key(65537, 1024)).certificate(), "2048 to 4096"),
        (Signer(ec.generate_private_key(ec.SECP384R1())).certificate(), "neither of P-256"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_a_bad_signer_certificate(
    ecdsa: RawBench, certificate: bytes | None, part: str
) -> None:
    ecdsa.certificate.unlink()
    if certificate is not None:
        ecdsa.certificate.write_bytes(certificate)
    data = firmware()
    said = refused(ecdsa, data, **ECDSA.describes(data))
    assert (said["reason"], said["cause"]) == (BAD_CERTIFICATE, "unknown_key")
    assert part in said["detail"]
    assert "signer.pem" in said["detail"]


@pytest.mark.parametrize(
    ("field", "signature"),
    [
        ("sig-sha256-ecdsa", b"DummySignature"),
        ("sig-sha256-ecdsa", ECDSA.sign(b"")[:-1]),
        ("sig-sha256-ecdsa", ECDSA.sign(b"") + b"\0"),
        ("sig-sha256-rsa", RSA.sign(b"")),
    ],
    ids=["no DER", "cut short", "too long", "of another kind than the certificate's key"],
)
def test_a_signature_that_the_certificates_key_cannot_have_made_is_refused_at_once(
    ecdsa: RawBench, field: str, signature: bytes
) -> None:
    text = base64.b64encode(signature).decode()
    said = refused(ecdsa, firmware(), certfile="signer.pem", **{field: text})
    assert (said["reason"], said["cause"]) == (BAD_SIGNATURE, "bad_signature")


def test_an_rsa_signature_of_another_length_is_refused_at_once(tmp_path: Path) -> None:
    bench = RawBench(tmp_path, RSA)
    text = base64.b64encode(RSA.sign(b"")[:-1]).decode()
    said = refused(bench, firmware(), certfile="signer.pem", **{RSA.field: text})
    assert said["reason"] == BAD_SIGNATURE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (firmware(chip=9), "0x11000000: 0xfffffffd"),
        (image.bootloader(), "0x11000000: 0xfffffffd"),
        (firmware()[:35], "0x11000000: 0xfffffffd"),
        (firmware(size=SLOT_SIZE - 4096 + 16), "aborted: 0x14000000"),
        (b"a", BAD_JOB),
        (b"another line " * 4000, BAD_JOB),
    ],
)
def test_a_signed_file_that_is_no_image_for_this_slot_is_refused_all_the_same(
    ecdsa: RawBench, data: bytes, reason: str
) -> None:
    assert refused(ecdsa, data, **ECDSA.describes(data))["reason"] == reason


def test_a_raw_image_comes_by_a_job_only(ecdsa: RawBench, tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(firmware())
    ecdsa.until_quiet()
    before = ecdsa.board.slot_bytes(1, SLOT_SIZE)
    heard: list[Any] = []
    ecdsa.agent.callback = lambda *said: heard.append(said)
    ecdsa.agent.install(str(path))
    ecdsa.step()
    ((event, error),) = heard
    assert event == "Fail"
    assert "by a job only" in str(error)
    assert ecdsa.board.slot_bytes(1, SLOT_SIZE) == before


@pytest.mark.parametrize("version", ["", "1", "0.9", "0.9.1.2", "v0.9.1", "0.9.-1", "256.0.0", 9])
def test_a_version_that_is_none_is_refused_when_the_agent_is_made(
    ecdsa: RawBench, version: Any
) -> None:
    ecdsa.versions[0] = version
    with pytest.raises(Exception, match=r"0\.9\.1") as caught:
        ecdsa.boot()
    assert type(caught.value).__name__ == "SettingsError"


# -- refused when it has come ---------------------------------------------------------------------


def check_not_activated(bench: RawBench) -> None:
    """Nothing of the bad image was told ready, booted or marked."""
    assert bench.service.details(JOB)["reason"] == BAD_SIGNATURE
    assert not any("self_test" in details for _, _, details in bench.service.updates)
    assert bench.board.running == 0
    assert bench.board.records()[1] is None
    assert bench.agent.state == "Ready"


@pytest.mark.parametrize("kind", SIGNERS)
def test_an_image_signed_by_another_certificates_key_is_not_activated(
    tmp_path: Path, kind: str
) -> None:
    bench = RawBench(tmp_path, SIGNERS[kind])
    stranger = Signer(
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else rsa.generate_private_key(65537, 2048)
    )
    data = firmware()
    bench.add(JOB, data, **stranger.describes(data))
    bench.until_quiet()
    check_not_activated(bench)


@pytest.mark.parametrize("at", [40, IMAGE // 2, IMAGE - 1])
def test_an_image_changed_after_signing_is_not_activated(bench: RawBench, at: int) -> None:
    data = firmware()
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    bench.add(JOB, changed, **bench.signer.describes(data))
    bench.until_quiet()
    check_not_activated(bench)


def test_after_a_bad_image_the_next_good_one_is_taken(bench: RawBench) -> None:
    data = firmware()
    bench.add(JOB, data[:-1] + b"?", **bench.signer.describes(data))
    bench.add("AFR_OTA-2", data)
    bench.until_quiet()
    assert bench.service.details(JOB)["reason"] == BAD_SIGNATURE
    assert bench.service.details("AFR_OTA-2")["reason"] == "accepted v0.9.1"


# -- the version, after the restart ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "reason", "cause"),
    [
        ("0.9.0", "rejected: 0x23000000", "same_sequence"),
        ("0.8.9", "rejected: 0x22000000", "old_sequence"),
        (None, "rejected: 0x22000000", "old_sequence"),  # the new application says none
    ],
)
def test_an_image_that_is_not_newer_is_rejected_and_the_old_one_returns(
    ecdsa: RawBench, version: str | None, reason: str, cause: str
) -> None:
    if version:
        ecdsa.versions[1] = version
    else:
        del ecdsa.versions[1]
    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet()
    said = ecdsa.service.details(JOB)
    assert (said["reason"], said["cause"], said["version"]) == (reason, cause, "1.0.0")
    assert not any(details.get("self_test") == "active" for _, _, details in ecdsa.service.updates)
    assert ecdsa.board.running == 0
    assert ecdsa.agent.image_state in (2, None)
    assert ecdsa.agent.state == "Ready"


def test_an_image_under_test_that_connects_again_is_not_taken_for_its_own_predecessor(
    ecdsa: RawBench,
) -> None:
    ecdsa.add(JOB, firmware())
    ecdsa.boot()
    assert isinstance(ecdsa.step(), hardware.Reset)
    asked: list[str] = []
    ecdsa.boot(lambda event, _: asked.append(event))
    assert ecdsa.step() is None
    assert ecdsa.service.details(JOB) == {"self_test": "active", "updatedBy": "0x90001"}
    ecdsa.agent.start()
    assert ecdsa.step() is None
    assert asked == ["StartTest", "StartTest"]
    ecdsa.agent.accept()
    assert ecdsa.step() is None
    assert ecdsa.service.details(JOB)["reason"] == "accepted v0.9.1"


def test_a_raw_image_with_a_lost_journal_is_judged_by_its_version_too(ecdsa: RawBench) -> None:
    ecdsa.versions[1] = "0.9.0"
    ecdsa.add(JOB, firmware())
    ecdsa.boot()
    assert isinstance(ecdsa.step(), hardware.Reset)
    nvs = NVS("ota")
    nvs.set_blob("journal", b"{}")
    nvs.commit()
    ecdsa.until_quiet()
    assert ecdsa.service.details(JOB)["reason"] == "rejected: 0x23000000"
    assert ecdsa.board.running == 0


def test_a_raw_image_leaves_the_packages_floor_where_it_is(ecdsa: RawBench) -> None:
    ecdsa.service.add("job-1", packed("1.1.0", 5))
    ecdsa.versions = {0: "0.9.1", 1: "0.9.0"}
    ecdsa.until_quiet()
    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet()
    assert ecdsa.service.details(JOB)["reason"] == "accepted v0.9.1"
    ecdsa.service.add("job-3", packed("1.0.9", 4))
    ecdsa.until_quiet()
    assert ecdsa.service.details("job-3")["cause"] == "old_sequence"


def test_the_floor_of_a_package_that_a_cable_brought_survives_too(ecdsa: RawBench) -> None:
    record = read_head(packed("1.0.0", 7)).record
    ecdsa.board.flash_slot(0, image.firmware(version="1.0.0", size=IMAGE), write_trailer([record]))
    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet()
    assert ecdsa.board.running == 1
    ecdsa.service.add("job-2", packed("1.0.9", 6))
    ecdsa.until_quiet()
    assert ecdsa.service.details("job-2")["cause"] == "old_sequence"


def test_a_rolled_back_image_is_reported_as_any_other(ecdsa: RawBench) -> None:
    def refuse(event: str, _: object) -> None:
        if event == "Activate":
            ecdsa.agent.activate()
        elif event == "StartTest":
            ecdsa.agent.reject("the sensor is gone")

    ecdsa.add(JOB, firmware())
    ecdsa.until_quiet(refuse)
    said = ecdsa.service.details(JOB)
    assert (said["reason"], said["detail"]) == ("rejected: 0x00000000", "the sensor is gone")
    assert ecdsa.board.running == 0


# -- off the straight road ------------------------------------------------------------------------


def test_a_restart_goes_on_at_the_checkpoint(ecdsa: RawBench) -> None:
    data = firmware(size=400_000)
    ecdsa.add(JOB, data)
    ecdsa.boot()
    receive(ecdsa, 70)
    assert ecdsa.agent.journal.next == 64 * 4096
    ecdsa.service.stream_requests.clear()
    ecdsa.boot()
    ecdsa.step()
    first = [request["o"] for request in ecdsa.service.stream_requests]
    assert first[0] == 0, "the first block alone, for its magic"
    assert min(first[1:]) == 64
    finish(ecdsa, JOB)
    assert ecdsa.service.status(JOB) == "SUCCEEDED"
    assert ecdsa.board.slot_bytes(1, len(data)) == data


def test_a_cancelled_image_frees_the_slot_for_the_next(ecdsa: RawBench) -> None:
    ecdsa.versions[1] = "0.9.2"
    ecdsa.add(JOB, firmware(size=400_000))
    ecdsa.add("AFR_OTA-2", firmware("0.9.2"))
    ecdsa.boot()
    receive(ecdsa, 30)
    ecdsa.service.cancel(JOB)
    finish(ecdsa, "AFR_OTA-2")
    assert ecdsa.service.status(JOB) == "CANCELED"
    assert ecdsa.service.details("AFR_OTA-2")["reason"] == "accepted v0.9.2"


def damage(bench: RawBench, offset: int) -> None:
    """Let the other slot lose a byte that says something, at `offset` or soon after."""
    while not bench.board.slot_bytes(1, offset + 1)[offset]:
        offset += 1
    bench.board.damage(1, offset)


def waiting(bench: RawBench, data: bytes) -> None:
    """Let the application keep a verified image waiting."""
    bench.add(JOB, data)
    bench.boot(lambda *_: None)
    assert bench.step() is None
    assert bench.agent.journal.phase == "VERIFIED"


def test_a_verified_image_waits_through_restarts_without_coming_again(bench: RawBench) -> None:
    waiting(bench, firmware())
    bench.service.stream_requests.clear()
    heard: list[str] = []
    bench.boot(lambda event, _: heard.append(event))
    assert bench.step() is None
    assert heard == ["ReceivedJob", "Activate"]
    assert not bench.service.stream_requests
    bench.agent.activate()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status(JOB) == "SUCCEEDED"


@pytest.mark.parametrize("offset", [IMAGE // 2, IMAGE - 64])
def test_a_verified_image_that_flash_has_lost_meanwhile_is_not_activated(
    bench: RawBench, offset: int
) -> None:
    waiting(bench, firmware())
    damage(bench, offset)
    bench.until_quiet()
    check_not_activated(bench)


def test_a_verified_image_whose_first_bytes_are_lost_comes_again(bench: RawBench) -> None:
    waiting(bench, firmware())
    bench.board.damage(1, 0)
    bench.until_quiet()
    assert bench.service.details(JOB)["reason"] == "accepted v0.9.1"
    assert bench.board.slot_bytes(1, IMAGE) == firmware()


def test_a_verified_image_whose_certificate_was_taken_away_is_not_activated(
    bench: RawBench,
) -> None:
    waiting(bench, firmware())
    bench.certificate.unlink()
    bench.until_quiet()
    assert bench.service.details(JOB)["reason"] == BAD_CERTIFICATE
    assert bench.board.running == 0


def test_a_power_cut_in_the_test_gets_a_second_try_that_is_verified_again(
    bench: RawBench,
) -> None:
    bench.add(JOB, firmware())
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.board.power_on()
    bench.board.boot_py()
    bench.board.cause = hardware.PWRON  # the power fails
    damage(bench, IMAGE // 2)
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.details(JOB)["reason"] == BAD_SIGNATURE


# -- the vectors ---------------------------------------------------------------------------------


def judge(modulus: str, exponent: int, message: str, signature: str) -> bool:
    """What pyca/cryptography says of a signature."""
    try:
        key = rsa.RSAPublicNumbers(exponent, int(modulus, 16)).public_key()
        key.verify(
            bytes.fromhex(signature), bytes.fromhex(message), padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def test_the_forged_signatures_are_judged_alike_by_another_library() -> None:
    for comment, *signed, valid in vectors.load("rsa-forged.json")["tests"]:
        assert judge(*signed) is valid, comment


def test_the_certificates_are_read_alike_by_another_library() -> None:
    for comment, der, key, before, after, fault in vectors.load("x509.json")["tests"]:
        read = x509.load_der_x509_certificate(bytes.fromhex(der))
        assert read.not_valid_before_utc == dt.datetime.fromtimestamp(before, dt.UTC)
        assert read.not_valid_after_utc == dt.datetime.fromtimestamp(after, dt.UTC)
        public = read.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            assert key == [f"{numbers.n:x}", numbers.e], comment
        elif not fault:
            assert isinstance(public, ec.EllipticCurvePublicKey)
            point = public.public_numbers()
            assert key == f"{point.x:064x}{point.y:064x}", comment


# -- power cuts -----------------------------------------------------------------------------------


def carry_out(bench: RawBench, data: bytes, signed: bytes, cut_at: int | None = None) -> bool:
    """Carry out one update, cut at an operation. Says whether the cut came.

    After every start what runs must be the old image, or the one that was signed.
    """
    bench.add(JOB, data, **bench.signer.describes(signed))
    old = bench.board.slot_bytes(0, IMAGE)
    bench.board.flash.cut_at = cut_at
    was_cut = False
    for _ in range(12):
        ended = bench.boot(checkpoint_blocks=2) or bench.step()
        if hardware.board:  # else the bootloader was cut off
            running = bench.board.running
            good = (old, signed)[running]
            assert bench.board.slot_bytes(running, len(good)) == good, f"cut at {cut_at}"
        was_cut = was_cut or isinstance(ended, PowerCut)
        if ended is None:
            return was_cut
    raise AssertionError(f"cut at operation {cut_at}: the board resets without end")


def operations(folder: Path, data: bytes, signed: bytes) -> int:
    bench = RawBench(folder, RSA)
    assert not carry_out(bench, data, signed)
    return int(bench.board.flash.operations)


def check_cut(folder: Path, cut_at: int) -> None:
    data = firmware(size=SMALL)
    bench = RawBench(folder, RSA)
    assert carry_out(bench, data, data, cut_at), f"operation {cut_at} never came"
    assert bench.board.running == 1
    assert bench.service.details(JOB)["reason"] == "accepted v0.9.1"
    assert bench.agent.image_state == 2
    assert bench.agent.state == "Ready"


def check_bad_cut(folder: Path, cut_at: int) -> None:
    data = firmware(size=SMALL)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    bench = RawBench(folder, RSA)
    assert carry_out(bench, changed, data, cut_at), f"operation {cut_at} never came"
    check_not_activated(bench)


def last_operations(folder: Path) -> tuple[int, int]:
    """How many flash operations a good update has, and one that is refused."""
    data = firmware(size=SMALL)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    return (
        operations(folder / "good", data, data),
        operations(folder / "bad", changed, data),
    )


@pytest.mark.slow
def test_a_cut_at_sampled_operations_ends_in_the_new_image_or_never_in_a_bad_one(
    tmp_path: Path,
) -> None:
    good, bad = last_operations(tmp_path)
    chance = random.Random(SEED)
    for cut_at in chance.sample(range(1, good + 1), 25):
        check_cut(tmp_path / f"good-{cut_at}", cut_at)
    for cut_at in chance.sample(range(1, bad + 1), 15):
        check_bad_cut(tmp_path / f"bad-{cut_at}", cut_at)


@pytest.mark.slow
def test_a_cut_at_every_operation_ends_in_the_new_image(tmp_path: Path) -> None:
    good, _ = last_operations(tmp_path)
    for cut_at in range(1, good + 1):
        check_cut(tmp_path / str(cut_at), cut_at)


@pytest.mark.slow
def test_a_cut_at_every_operation_never_ends_in_an_image_whose_signature_is_not_its_own(
    tmp_path: Path,
) -> None:
    _, bad = last_operations(tmp_path)
    for cut_at in range(1, bad + 1):
        check_bad_cut(tmp_path / str(cut_at), cut_at)
