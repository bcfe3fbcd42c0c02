"""The broker's settings become a link, and a link that cannot be opened says what to look at."""

from __future__ import annotations

import errno
from typing import Any

import esp32
import pytest
from ota import errors, link_open, wire


class Link:
    """Keeps what a link would be made with."""

    def __init__(self, thing: str, host: str, port: int, **options: Any) -> None:
        self.address = host, port
        self.options = options


class Alpn:
    """The part of an SSLContext that firmware with ALPN has."""

    protocols: list[str]

    def set_alpn_protocols(self, protocols: list[str]) -> None:
        self.protocols = protocols


def made(broker: dict[str, Any]) -> Any:
    return link_open.make_link(Link, {"thing": "a", "broker": broker})


def refused(broker: dict[str, Any]) -> str:
    with pytest.raises(errors.SettingsError) as caught:
        made(broker)
    return str(caught.value)


def test_a_host_is_a_name_or_an_address_alone() -> None:
    for host in ("127.0.0.1:1883", "mqtt://127.0.0.1", "broker.example/mqtt"):
        text = refused({"host": host})
        assert host in text and "broker.host" in text and "broker.port" in text
    for host in ("127.0.0.1", "broker.example", "fe80::1"):
        assert made({"host": host}).address == (host, 1883)


def test_user_and_password_come_from_the_settings() -> None:
    options = made({"host": "x"}).options
    assert options["user"] is None and options["password"] is None
    options = made({"host": "x", "user": "pump", "password": "secret"}).options
    assert (options["user"], options["password"]) == ("pump", "secret")
    assert made({"host": "x", "user": "pump"}).options["password"] is None
    for wrong in ({"user": 7}, {"user": "pump", "password": 7}):
        refused(dict(wrong, host="x"))


def test_a_link_over_tls_reads_its_certificates_when_it_connects() -> None:
    """Its context takes the network's memory, which is set aside until then."""
    assert made({"host": "x", "tls": True}).options["tls_context"] is True
    for without in ({}, {"tls": False}):
        assert made(dict(without, host="x")).options["tls_context"] is None


def test_a_missing_certificate_is_named() -> None:
    with pytest.raises(errors.SettingsError, match=r"ca\.pem"):
        link_open.own_context("x", 8883)


def test_aws_on_port_443_needs_alpn_and_a_firmware_without_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = "a1b2-ats.iot.eu-west-1.amazonaws.com"
    monkeypatch.setattr(link_open, "read_etc", lambda *_: b"")
    monkeypatch.setattr(link_open, "is_there", lambda _: False)
    with_alpn, without = Alpn(), object()
    monkeypatch.setattr(link_open, "tls_context", lambda *_: without)
    with pytest.raises(errors.SettingsError, match=r"ALPN.*broker\.port to 8883"):
        link_open.own_context(aws, 443)
    for other in ((aws, 8883), ("broker.example", 443)):
        assert link_open.own_context(*other) is without
    monkeypatch.setattr(link_open, "tls_context", lambda *_: with_alpn)
    assert link_open.own_context(aws, 443) is with_alpn
    assert with_alpn.protocols == ["x-amzn-mqtt-ca"]


@pytest.mark.parametrize(
    ("error", "over_tls", "said"),
    [
        (ValueError("The certificate validity starts in the future\n"), True, "setting ntp"),
        (ValueError("invalid key"), True, "client.*"),
        (ValueError("The certificate is not correctly signed by the trusted CA"), True, "ca.pem"),
        (OSError(-30592, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"), True, "client.pem"),
        (OSError(-29184, "MBEDTLS_ERR_SSL_INVALID_RECORD"), True, "does not speak TLS"),
        (OSError(-30592, "?"), False, "30592"),
        (MemoryError("memory allocation failed, allocating 4096 bytes"), True, "memory"),
    ],
)
def test_a_link_that_cannot_be_opened_says_in_a_sentence_what_to_look_at(
    error: Exception, over_tls: bool, said: str
) -> None:
    explained = link_open.explained(error, over_tls)
    assert isinstance(explained, wire.MQTTError)
    assert said in str(explained)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError("memory allocation failed, allocating 4096 bytes"), True),
        (MemoryError(), True),
        (OSError(12, "ENOMEM"), True),
        (OSError(-32512, "MBEDTLS_ERR_SSL_ALLOC_FAILED"), True),
        (OSError(104), False),
        (OSError(-30592, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"), False),
    ],
)
def test_want_of_memory_has_its_number_whatever_found_it(error: Exception, short: bool) -> None:
    """A board restarts when a link that worked finds none again and again."""
    assert (link_open.explained(error, True).errno == errno.ENOMEM) == short


@pytest.mark.parametrize("error", [wire.MQTTError("the broker did not go on"), ValueError("x")])
def test_a_handshake_without_a_piece_of_memory_for_a_record_is_want_of_memory(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It stands still where TCP gets no memory; Python's heap has it until the next restart."""
    monkeypatch.setattr(esp32, "HEAP_DATA", 4, raising=False)
    for region, short in (((113840, 2744, 1344, 260), True), ((113840, 48000, 47000, 9), False)):
        monkeypatch.setattr(esp32, "idf_heap_info", lambda _, one=region: [one], raising=False)
        for over_tls in (True, False):
            explained = link_open.explained(error, over_tls)
            assert (explained.errno == errno.ENOMEM) == (short and over_tls)
            assert ("memory is short" in str(explained)) == (short and over_tls)


def test_an_error_that_is_a_sentence_stays_as_it_is() -> None:
    error = wire.MQTTError("the broker refuses user name or password")
    assert link_open.explained(error, True) is error
