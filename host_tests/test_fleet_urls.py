"""The data path over HTTP: URLs that are signed when a board asks, and what they are good for."""

import hashlib
import importlib
import json
import random
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import boto3
import chipboard  # noqa: F401  gives CPython the chip's modules
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, THING, Site, fetch, refused
from ota import http

from sim.build import CHIP
from twinslot.config import Credentials
from twinslot.formats.document import Location
from twinslot.service import codec, sigv4
from twinslot.service.objects import PIECE, ObjectError
from twinslot.service.presign import Presigner

PLACEHOLDER = "${aws:iot:s3-presigned-url:https://s3.amazonaws.com/packages/%s}"
JOBS = "$aws/things/board-1/jobs"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.clients.iot.create_thing(thingName="board-1")
    made.clients.s3.put_object(Bucket="packages", Key="a b.ota", Body=IMAGE)
    made.clients.s3.put_object(Bucket="packages", Key="other.ota", Body=b"other")
    yield made
    made.close()


def document(key: str = "a%20b.ota") -> str:
    file = {
        "filesize": len(IMAGE),
        "fileid": 0,
        "update_data_url": PLACEHOLDER % key,
        "auth_scheme": "aws.s3.presigned",
    }
    return json.dumps({"afr_ota": {"protocols": ["HTTP"], "files": [file]}})


def offer(site: Site, job: str = "job-1", seconds: int = 60) -> None:
    site.clients.iot.create_job(
        jobId=job,
        targets=[THING + "board-1"],
        document=document(),
        presignedUrlConfig={"roleArn": ROLE, "expiresInSec": seconds},
    )


def ask(site: Site, operation: str, body: dict[str, Any] | None = None) -> Any:
    site.world.sent()
    site.world.ask_jobs(f"{JOBS}/{operation}", json.dumps(body or {}).encode())
    topic, message = site.world.sent()[0]
    assert topic == f"{JOBS}/{operation}/accepted"
    return message


def url_in(message: Any) -> str:
    """The URL of the one file, from an execution or an answer that has a job document."""
    found: str = message["jobDocument"]["afr_ota"]["files"][0]["update_data_url"]
    return found


def get(site: Site, url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of a GET, whatever it is."""
    try:
        return 200, fetch(url, headers)
    except HTTPError as error:
        return error.code, error.read()


@pytest.mark.compatibility(
    "4", "a pre-signed URL is what AWS's own signer makes of it", path="HTTP"
)
def test_a_url_is_what_aws_own_signer_makes_of_it() -> None:
    request = AWSRequest("GET", "http://boards.test:8080/packages/a%20b/c~d.ota")
    credentials: Any = boto3.session.Session("KEY", "secret").get_credentials()
    S3SigV4QueryAuth(credentials, "s3", "local", expires=77).add_auth(request)
    theirs = urlsplit(request.url)
    query = parse_qs(theirs.query)
    signed_at = sigv4._time(query["X-Amz-Date"][0])
    ours = urlsplit(
        sigv4.presign(
            "http://boards.test:8080",
            "/packages/a%20b/c~d.ota",
            Credentials("KEY", "secret"),
            "local",
            77,
            signed_at,
        )
    )
    assert parse_qs(ours.query) == query
    assert (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)


def test_a_url_names_the_server_as_clients_will(site: Site) -> None:
    for base, named in (
        ("https://updates.example:443", "https://updates.example/"),
        ("http://updates.example:80", "http://updates.example/"),
        ("https://updates.example:8443", "https://updates.example:8443/"),
        ("http://updates.example:443", "http://updates.example:443/"),
    ):
        url = Presigner(base, Credentials("KEY", "secret"), "local").url(Location("b", "k"), 60, 0)
        assert url.startswith(named + "b/k?")
        host = urlsplit(url).netloc
        parts = urlsplit(url)
        request = codec.HttpRequest("GET", parts.path, parts.query, {"host": host}, b"")
        sigv4.verify(request, sigv4.read(request), "secret", "local", 30)


def test_a_url_whose_host_is_not_signed_is_refused(site: Site) -> None:
    url = Presigner(site.data.url, site.credentials, "local").url(
        Location("packages", "other.ota"), 60, site.world.now
    )
    parts = urlsplit(url)
    query, _, _ = parts.query.replace("SignedHeaders=host", "SignedHeaders=accept").partition(
        "&X-Amz-Signature="
    )
    request = codec.HttpRequest("GET", parts.path, query, {"accept": "*/*"}, b"")
    scope = sigv4.read(codec.HttpRequest("GET", parts.path, parts.query, {}, b"")).scope
    claims = sigv4.Signed(scope, ("accept",), "", parse_qs(query)["X-Amz-Date"][0], 60)
    signature = sigv4._signature(request, claims, site.credentials.secret_key)
    unbound = f"{site.data.url}{parts.path}?{query}&X-Amz-Signature={signature}"
    status, body = get(site, unbound, Accept="*/*")
    assert (status, b"the host header is not signed" in body) == (403, True)


@pytest.mark.compatibility(
    "4", "every way to a job document brings a URL that is signed then", path="HTTP"
)
def test_every_way_to_a_job_document_brings_a_url_signed_then(site: Site) -> None:
    offer(site)
    topic, told = site.world.sent()[-1]
    assert topic == f"{JOBS}/notify-next"
    urls = [url_in(told["execution"])]
    progress = {"status": "IN_PROGRESS", "includeJobDocument": True}
    for operation, body in (
        ("$next/get", None),
        ("job-1/get", None),
        ("start-next", None),
        ("job-1/update", progress),
        ("$next/get", None),
    ):
        site.world.now += 10
        answer = ask(site, operation, body)
        urls.append(url_in(answer.get("execution", answer)))
    assert len(set(urls)) == len(urls)
    site.world.now += 15  # 65 s after the first, 55 s after the second
    assert get(site, urls[0])[0] == 403
    for url in urls[1:]:
        assert get(site, url) == (200, IMAGE)


@pytest.mark.compatibility(
    "4", "an expired URL: 403, `Request has expired`, as S3 says it", path="HTTP"
)
def test_a_url_names_an_expiry_and_ends_with_it_as_s3_says(site: Site) -> None:
    offer(site, seconds=90)
    url = url_in(ask(site, "$next/get")["execution"])
    assert "X-Amz-Expires=90&" in url
    site.world.now += 89
    assert get(site, url)[0] == 200
    site.world.now += 2
    status, body = get(site, url)
    assert status == 403
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in body


def test_a_url_reaches_one_object_by_get_and_nothing_else(site: Site) -> None:
    offer(site)
    url = url_in(ask(site, "$next/get")["execution"])
    assert url.startswith(f"{site.data.url}/packages/a%20b.ota?")
    for tampered in (
        url.replace("a%20b.ota", "other.ota"),
        url.replace("a%20b.ota", "%61%20b.ota"),
        url.replace("/packages/", "/packages/../packages/"),
        url.replace("Expires=60", "Expires=3600"),
        url + "&versionId=1",
        url.replace("Signature=", "Signature=0"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("%2Fs3%2F", "%2Fiot%2F"),
        url.replace(site.data.url, site.control.url),
    ):
        status, body = get(site, tampered)
        assert status in (403, 404), tampered
        assert b"other" not in body
        assert IMAGE[:256] not in body
    assert get(site, url, Host="elsewhere")[0] == 403
    for method in ("HEAD", "PUT", "POST", "DELETE"):
        with pytest.raises(HTTPError) as error:
            fetch(url, method=method)
        assert error.value.code in (403, 404)
    assert get(site, url) == (200, IMAGE)


@pytest.mark.compatibility(
    "4", "ranges: 206, Content-Range, Content-Length; connections are kept", path="HTTP"
)
def test_ranges_come_one_after_another_through_one_connection(site: Site) -> None:
    offer(site)
    parts = urlsplit(url_in(ask(site, "$next/get")["execution"]))
    connection = HTTPConnection(parts.netloc, timeout=10)
    connection.connect()
    assert connection.sock is not None
    local = connection.sock.getsockname()
    digest = hashlib.sha256()
    for first in range(0, len(IMAGE), 4096):
        last = min(first + 4096, len(IMAGE)) - 1
        target = f"{parts.path}?{parts.query}"
        connection.request("GET", target, headers={"Range": f"bytes={first}-{last}"})
        response = connection.getresponse()
        assert response.status == 206
        assert response.headers["content-range"] == f"bytes {first}-{last}/{len(IMAGE)}"
        assert response.headers["content-length"] == str(last - first + 1)
        digest.update(response.read())
        assert connection.sock is not None
        assert connection.sock.getsockname() == local
    assert digest.digest() == hashlib.sha256(IMAGE).digest()
    connection.request("GET", target, headers={"Range": f"bytes={len(IMAGE)}-"})
    beyond = connection.getresponse()
    assert (beyond.status, beyond.getheader("content-type")) == (416, "application/xml")
    assert b"<Code>InvalidRange</Code>" in beyond.read()
    connection.close()


def test_a_file_is_sent_in_pieces_and_arrives_whole(site: Site) -> None:
    data = random.Random(5).randbytes(2 * PIECE + 5)
    name = site.world.objects.add(data)
    assert [len(part) for part in site.world.objects.read(name, 1, len(data))] == [PIECE, PIECE, 4]
    site.clients.s3.put_object(Bucket="packages", Key="a b.ota", Body=data)
    offer(site)
    url = url_in(ask(site, "$next/get")["execution"])
    assert get(site, url) == (200, data)
    assert get(site, url, Range=f"bytes=1-{PIECE}")[1] == data[1 : PIECE + 1]
    assert get(site, url, Range="bytes=70000-")[1] == data[70000:]


def test_an_object_that_became_shorter_ends_its_answer_and_no_thread_spins(site: Site) -> None:
    name = site.world.objects.add(b"x" * 100)
    site.world.objects.path(name).write_bytes(b"x" * 40)
    with pytest.raises(ObjectError, match="cut short"):
        list(site.world.objects.read(name, 0, 100))


def test_where_objects_are_handed_out_no_body_is_taken(site: Site) -> None:
    request = Request(site.data.url + "/packages/x.ota", data=b"x", method="PUT")
    with pytest.raises(HTTPError) as error:
        urlopen(request, timeout=10)
    assert error.value.code == 413


def test_a_signature_that_is_no_text_of_ours_is_refused(site: Site) -> None:
    site.clients.s3.put_object(Bucket="packages", Key="a b.ota", Body=b"x")
    offer(site)
    url = url_in(ask(site, "$next/get")["execution"])
    with pytest.raises(HTTPError) as error:
        urlopen(url.partition("&X-Amz-Signature=")[0] + "&X-Amz-Signature=%C3%A9", timeout=10)
    assert error.value.code == 403


@pytest.mark.compatibility("4", "the board's own client reads from a pre-signed URL", path="HTTP")
def test_the_boards_own_client_reads_from_a_url_of_a_job(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CPython's sockets lack MicroPython's stream methods.
    monkeypatch.syspath_prepend(CHIP / "cpython")
    monkeypatch.setattr(http, "socket", importlib.import_module("cpython_sockets").socket)
    offer(site)
    url = url_in(ask(site, "$next/get")["execution"])
    source = http.Http(url)

    def block(offset: int) -> bytes:
        view = memoryview(bytearray(4096))
        filled = 0
        while filled < len(view):
            filled += source.read(offset + filled, view[filled:])
        return bytes(view)

    for offset in (0, 4096, 1000):
        assert block(offset) == IMAGE[offset : offset + 4096]
    assert source.size == len(IMAGE)
    source.close()
    site.world.now += 100
    with pytest.raises(OSError, match="the server answers 403"):
        block(0)


def test_what_a_device_says_is_never_signed(site: Site) -> None:
    offer(site)
    details = {"reason": PLACEHOLDER % "other.ota"}
    ask(site, "job-1/update", {"status": "IN_PROGRESS", "statusDetails": details})
    answer = ask(site, "$next/get", {"clientToken": "${aws:iot:s3-presigned-url:x}"})
    assert answer["execution"]["statusDetails"] == details
    assert answer["clientToken"] == "${aws:iot:s3-presigned-url:x}"


def test_a_jobs_own_expiry_is_told_and_has_a_default(site: Site) -> None:
    offer(site, "job-1", 3600)
    iot = site.clients.iot
    assert iot.describe_job(jobId="job-1")["job"]["presignedUrlConfig"] == {
        "roleArn": ROLE,
        "expiresInSec": 3600,
    }
    iot.create_job(
        jobId="job-2",
        targets=[THING + "board-1"],
        document=document(),
        presignedUrlConfig={"roleArn": ROLE},
    )
    assert "X-Amz-Expires=3600&" in url_in(ask(site, "job-2/get")["execution"])


@pytest.mark.parametrize(
    ("text", "config", "words"),
    [
        (document(), None, "presignedUrlConfig.roleArn is required"),
        (document(), {"expiresInSec": 60}, "presignedUrlConfig.roleArn is required"),
        (document(), {"roleArn": ROLE, "expiresInSec": 59}, "expiresInSec"),
        (document(), {"roleArn": ROLE, "expiresInSec": 3601}, "expiresInSec"),
        (document("missing.ota"), {"roleArn": ROLE}, "no object packages/missing.ota"),
        (document("%20").replace("s3.amazonaws.com/packages/", ""), {"roleArn": ROLE}, "S3 object"),
    ],
)
def test_a_job_whose_urls_could_not_be_signed_is_refused(
    site: Site, text: str, config: dict[str, Any] | None, words: str
) -> None:
    iot = site.clients.iot
    options: dict[str, Any] = {} if config is None else {"presignedUrlConfig": config}
    site.world.sent()
    if config is not None and config.get("expiresInSec", 60) < 60:
        iot = site.clients.client("iot", parameter_validation=False)
    with pytest.raises(ClientError, match=words) as error:
        iot.create_job(jobId="job-1", targets=[THING + "board-1"], document=text, **options)
    assert refused(error) == ("InvalidRequestException", 400)
    assert site.world.sent() == []
    assert site.clients.iot.list_jobs()["jobs"] == []
