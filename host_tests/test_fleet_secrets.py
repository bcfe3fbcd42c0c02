"""Who can read keys and database, TLS of the control port, and what a signature is bound to."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from fleet_service import Broker, Service
from local_ca import LocalCA

from twinslot import config as configuration
from twinslot.client.clients import translated
from twinslot.client.own_service import OwnService
from twinslot.config import Credentials
from twinslot.errors import ConfigError, UnreachableError
from twinslot.service import sigv4
from twinslot.service.codec import ApiError, HttpRequest

NOW = 1_760_000_000
KEYS = Credentials("LOCAL1", "secret")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker") / "broker")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def service(tmp_path: Path, broker: Broker) -> Iterator[Service]:
    before = os.umask(0)  # whatever the user's own umask takes away or not
    made = Service(tmp_path / "fleet", broker)
    yield made
    os.umask(before)
    if made.process is not None:
        made.stop()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- files ----------------------------------------------------------------------------------------


def test_keys_and_database_are_their_owners_alone_and_so_are_their_folders(
    service: Service, broker: Broker
) -> None:
    for arguments in (("provision", "board-1", "--host", "h"), ("broker-config",)):
        assert service.fleet(*arguments).returncode == 0
    # The broker of these tests knows no TLS.
    configuration.set_broker(
        service.folder / "fleet.toml",
        {"port": broker.port, "tls": False, "certificate": "", "key": "", "ca": "", "boards": ""},
    )
    service.start()
    names = "keys/signing.pem keys/credentials keys/service.key ca/ca.key boards/board-1/client.key"
    names += " boards/board-1/settings.json state/fleet.db state/fleet.db-wal state/fleet.db-shm"
    assert {name: mode(service.folder / name) for name in names.split()} == dict.fromkeys(
        names.split(), 0o600
    )
    folders = "keys ca boards/board-1 state state/objects"
    assert {name: mode(service.folder / name) for name in folders.split()} == dict.fromkeys(
        folders.split(), 0o700
    )


EXPOSED = {
    "keys/signing.pem": 0o644,
    "keys/credentials": 0o640,
    "keys": 0o755,
    "state": 0o711,
    "ca/ca.key": 0o604,
    "ca": 0o750,
    "boards/board-1/client.key": 0o444,
}
OF_BOARDS = {"boards/board-1/settings.json": 0o640, "boards/board-1": 0o755}


@pytest.mark.parametrize(("name", "wrong"), EXPOSED.items())
def test_what_others_can_read_is_named_at_the_start_with_the_command_that_mends_it(
    service: Service, name: str, wrong: int
) -> None:
    assert service.fleet("provision", "board-1", "--host", "h").returncode == 0
    (service.folder / "state").mkdir(mode=0o700, exist_ok=True)
    path = service.folder / name
    path.chmod(wrong)
    refused = service.fleet("serve")
    assert refused.returncode == 1 and refused.stdout == ""
    said = refused.stderr
    assert f"{path} can be " in said and f"(mode {wrong:o})" in said
    assert said.count("\n") == 1
    doctor = service.fleet("doctor").stdout
    assert f"WRONG  {name} can be " in doctor
    command = shlex.split(said.rpartition(": ")[2])
    assert command[0] == "chmod"
    subprocess.run(command, check=True)
    service.start()


@pytest.mark.parametrize(("name", "wrong"), OF_BOARDS.items())
def test_settings_of_boards_that_others_can_read_are_the_doctors_and_stop_no_service(
    service: Service, name: str, wrong: int
) -> None:
    assert service.fleet("provision", "board-1", "--host", "h").returncode == 0
    (service.folder / name).chmod(wrong)
    assert f"WRONG  {name} can be " in service.fleet("doctor").stdout
    service.start()


def test_a_database_that_others_can_read_is_named(service: Service) -> None:
    state = service.folder / "state"
    state.mkdir(mode=0o700)
    (state / "fleet.db").touch(0o644)
    refused = service.fleet("serve")
    assert "fleet.db can be read by others (mode 644): chmod 600 " in refused.stderr
    other = service.folder / "other.db"
    other.touch(0o660)
    refused = service.fleet("serve", "--database", f"sqlite:///{other}")
    assert f"{other} can be read by others (mode 660): chmod 600 {other}" in refused.stderr


def test_a_key_outside_of_the_fleet_says_nothing_about_its_folder(service: Service) -> None:
    outside = service.folder.parent / "elsewhere"
    outside.mkdir(mode=0o755)
    key = outside / "signing.pem"
    (service.folder / "keys/signing.pem").rename(key)
    path = service.folder / "fleet.toml"
    path.write_text(path.read_text().replace('"keys/signing.pem"', f'"{key}"'))
    assert set(service.config.secrets) >= {key}
    service.start()


# -- TLS of the control port ----------------------------------------------------------------------


def test_the_control_port_talks_tls_and_clients_verify_it(service: Service, tmp_path: Path) -> None:
    ca = LocalCA(tmp_path / "ca")
    certificate, key = ca.issue("control", "127.0.0.1")
    service.set(control_certificate=certificate, control_key=key)
    assert "ready control=https://127.0.0.1:" in service.start()
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"), translated():
        service.clients().revoked()
    service.set(endpoint_ca=ca.path)
    clients = service.clients()
    assert clients.revoked() == {}
    assert clients.iot.list_things()["things"] == []
    clients.s3.put_object(Bucket="packages", Key="a", Body=b"12345")
    assert clients.s3.head_object(Bucket="packages", Key="a")["ContentLength"] == 5
    assert clients.data.meta.endpoint_url.startswith("https://")
    endpoint = clients.endpoint.replace("127.0.0.1", "localhost")
    service.set(endpoint=endpoint)
    with pytest.raises(UnreachableError, match="localhost"), translated():
        service.clients().iot.list_things()  # the certificate names another host
    service.set(endpoint=endpoint.replace("https://localhost", "http://127.0.0.1"))
    with pytest.raises(UnreachableError), translated():
        service.clients().iot.list_things()


def test_files_of_the_control_ports_tls_that_cannot_be_used_are_named(
    service: Service, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("x")
    junk.chmod(0o600)
    service.set(control_certificate=junk)
    refused = service.fleet("serve")
    assert (refused.returncode, "both or neither" in refused.stderr) == (3, True)
    service.set(control_key=junk)
    refused = service.fleet("serve")
    assert f"cannot use {junk} with {junk}" in refused.stderr
    for path in (junk, tmp_path / "gone.pem"):
        service.set(endpoint_ca=path, endpoint="https://127.0.0.1:9")
        with pytest.raises(ConfigError, match="endpoint_ca: cannot use"):
            OwnService(service.config)


# -- signatures -----------------------------------------------------------------------------------


def signed(
    method: str = "PUT",
    url: str = "http://fleet.local:80/things/a?x=1",
    body: bytes = b"{}",
    service: str = "iot",
    *,
    claimed: str | None = None,
) -> HttpRequest:
    """A request that botocore has signed now."""
    request = AWSRequest(method, url, data=body, headers={"x-amz-mode": "a", "Host": "fleet.local"})
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    if claimed is not None:
        signer = type("Signer", (S3SigV4Auth,), {"payload": lambda *_: claimed})
    signer(BotoCredentials(KEYS.access_key, KEYS.secret_key), service, "local").add_auth(request)
    path, _, query = url.partition("://")[2].partition("/")[2].partition("?")
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    return HttpRequest(method, f"/{path}", query, headers, body)


def verify(request: HttpRequest, now: float | None = None) -> None:
    now = time.time() if now is None else now
    sigv4.verify(request, sigv4.read(request), KEYS.secret_key, "local", now)


def changed(request: HttpRequest, **changes: object) -> HttpRequest:
    return HttpRequest(**{**vars(request), **changes})


def code(request: HttpRequest, now: float | None = None) -> str:
    with pytest.raises(ApiError) as error:
        verify(request, now)
    return error.value.code


@pytest.mark.parametrize("service", ["iot", "s3"])
def test_a_signed_request_is_bound_to_host_method_path_query_body_and_headers(
    service: str,
) -> None:
    request = signed(service=service)
    verify(request)
    headers = dict(request.headers)
    for change in (
        {"method": "DELETE"},
        {"path": "/things/b"},
        {"query": "x=2"},
        {"query": ""},
        {"headers": {**headers, "host": "other.local"}},
        {"headers": {**headers, "x-amz-mode": "b"}},
    ):
        assert code(changed(request, **change)) == "SignatureDoesNotMatch", change
    wrong_body = code(changed(request, body=b"[]"))
    assert wrong_body == (
        "XAmzContentSHA256Mismatch" if service == "s3" else "SignatureDoesNotMatch"
    )
    added = {**headers, "x-amz-copy-source": "/packages/other"}
    assert code(changed(request, headers=added)) == "AccessDenied"


def test_a_signed_request_ends_after_a_quarter_of_an_hour() -> None:
    request = signed()
    at = dt.datetime.strptime(request.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    verify(request, at.timestamp() + sigv4.MAX_SKEW)
    verify(request, at.timestamp() - sigv4.MAX_SKEW)
    for later in (sigv4.MAX_SKEW + 1, -sigv4.MAX_SKEW - 1):
        assert code(request, at.timestamp() + later) == "RequestTimeTooSkewed"


@pytest.mark.parametrize("claimed", [sigv4.UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_request_whose_body_is_not_signed_is_refused(claimed: str) -> None:
    request = signed(service="s3", claimed=claimed)
    assert request.headers["x-amz-content-sha256"] == claimed
    assert code(request) == "AccessDenied"


def test_a_presigned_url_is_bound_to_host_method_and_object_and_ends() -> None:
    url = sigv4.presign("http://10.0.0.1:81", "/packages/a", KEYS, "local", 60, NOW)
    query = url.partition("?")[2]
    request = HttpRequest("GET", "/packages/a", query, {"host": "10.0.0.1:81"}, b"")
    verify(request, NOW)
    verify(request, NOW + 60)
    assert code(request, NOW + 61) == "AccessDenied"
    for change in (
        {"method": "HEAD"},
        {"method": "PUT"},
        {"path": "/packages/b"},
        {"query": f"{query}&versionId=1"},
        {"query": query.replace("Expires=60", "Expires=61")},
        {"headers": {"host": "10.0.0.1"}},
    ):
        assert code(changed(request, **change), NOW) == "SignatureDoesNotMatch", change


def test_a_presigned_url_signs_no_upload() -> None:
    """Its body is not covered: whoever sees such a URL could put anything there."""
    from botocore.auth import S3SigV4QueryAuth

    request = AWSRequest("PUT", "http://fleet.local/packages/a")
    credentials = BotoCredentials(KEYS.access_key, KEYS.secret_key)
    S3SigV4QueryAuth(credentials, "s3", "local", expires=60).add_auth(request)
    query = str(request.url).partition("?")[2]
    put = HttpRequest("PUT", "/packages/a", query, {"host": "fleet.local"}, b"anything")
    assert code(put) == "AccessDenied"


def test_the_settings_of_tls_stand_in_a_new_fleet_toml_and_an_older_one_does_without(
    service: Service,
) -> None:
    path = service.folder / "fleet.toml"
    for name in ("control_certificate", "control_key", "endpoint_ca"):
        text = path.read_text()
        assert f'\n{name} = ""' in text
        path.write_text(re.sub(rf"^{name} = .*\n", "", text, flags=re.M))
    assert service.config.control_certificate is service.config.endpoint_ca is None
