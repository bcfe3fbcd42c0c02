"""What the service's HTTP side reads: signatures, and requests of AWS's operations."""

from twinslot.config import Credentials
from twinslot.service import sigv4
from twinslot.service.codec import ApiError, Codec, HttpRequest

ALLOWED = (ApiError,)
COVERS = (
    "src/twinslot/service/sigv4.py: read verify _read_query _read_scope _time _check_time"
    " verify_head _check_bound _check_payload _leaves_body"
    " _signature _payload_digest _canonical_path _canonical_query _canonical_header"
    " _pairs",
    "src/twinslot/service/codec.py: Codec.match Codec.parse Codec._parameters Codec._payload"
    " Codec._json _Route.matches _Route.rank _Route.path_parameters _from_query _from_text"
    " from_json",
    "src/twinslot/service/xml.py: read _value _item_name _local",
)
_CODECS = [Codec("iot"), Codec("iot-data"), Codec("s3"), Codec("lambda")]
_KEYS = Credentials("K", "s")
_NOW = 1_760_000_000
_SCOPE = "K/20251009/local/iot/aws4_request"
_AUTH = f"AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
SEEDS = tuple(
    text.encode()
    for text in (
        'POST\n/things/a\n\n\n{"attributePayload":{"attributes":{"a":"b"}}}',
        "GET\n/things\nmaxResults=5&nextToken=x\n\n",
        'PUT\n/jobs/j\n\n\n{"targets":["a"],"document":"{}","timeoutConfig":{"inProgressTimeoutInMinutes":5}}',
        'POST\n/otaUpdates/u\n\n\n{"targets":["a"],"files":[{"fileVersion":"1"}],"roleArn":"r"}',
        "DELETE\n/jobs/j\nforce=true\n\n",
        "PUT\n/b/k\n\nx-amz-meta-a: b\ncontent-length: 5\n\nhello",
        "GET\n/b/k\nresponse-expires=1&versionId=2\nrange: bytes=0-1\nif-modified-since: x\n\n",
        f"GET\n/things\n\nauthorization: {_AUTH}\nhost: h\nx-amz-date: 20251009T085320Z\n\n",
        "GET\n/b/k\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K/20251009/local/s3/aws4_request"
        "&X-Amz-Date=20251009T085320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
        "\nhost: h\n\n",
        "POST\n/things/a/shadow\nname=ota\n\n{}",
        f"GET\n/things\n\nauthorization: {_AUTH}\nhost: h\nx-amz-date: 20251009T080000Z\n\n",
        f"GET\n/\n\nauthorization: {_AUTH}\nhost: h\nx-amz-date: 20251009T085320Z\n"
        "x-amz-content-sha256: UNSIGNED-PAYLOAD\n\n",
        f"GET\n/\n\nauthorization: {_AUTH}\nhost: h\nx-amz-date: 20251009T085320Z\n"
        "x-amz-content-sha256: 0\n\n",
        "PUT\n/b\npolicy\n\nx",
        "DELETE\n/2017-03-31/tags/arn\ntagKeys=a&tagKeys=b\n\n",  # lists in the query
        "PUT\n/b\npolicy\n\n\n\xff",
        "PUT\n/jobs/j\n\n\n[]",
        'POST\n/audit/findings\n\n\n{"startTime":5}',
        'POST\n/audit/findings\n\n\n{"startTime":1e999}',
        'POST\n/otaUpdates/u\n\n\n{"files":[{"codeSigning":{"customCodeSigning":{"signature":'
        '{"inlineDocument":"AA=="}}}}]}',
        'POST\n/otaUpdates/u\n\n\n{"files":[{"codeSigning":{"customCodeSigning":{"signature":'
        '{"inlineDocument":"A"}}}}]}',
        'POST\n/loggingOptions\n\n\n{"roleArn":"r"}',
        "POST\n/b/k\nuploadId=u\n\n<a><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></a>",
        "POST\n/b/k\nuploadId=u\n\n<a><Part><PartNumber>x</PartNumber></Part></a>",
        "POST\n/b/k\nuploadId=u\n\n<!DOCTYPE a><a/>",
        "POST\n/b/k\nuploadId=u\n\n<a",
        "POST\n/b/k\nuploadId=u\n\n<a/>",
        "PUT\n/b\nlifecycle\n\n<a><Rule><Expiration><Date>2026-01-01T00:00:00Z</Date>"
        "<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule></a>",
        "PUT\n/b\nlifecycle\n\n<a><Rule><Expiration><Date>1e99</Date></Expiration></Rule></a>",
        "PUT\n/b\ntagging\n\n<a><TagSet><Tag><Key>k</Key></Tag></TagSet></a>",
    )
)


def run(data: bytes) -> None:
    """Read a request: method, path, query, headers until an empty line, and its body."""
    lines = data.split(b"\n")
    method, path, query = ([text.decode("latin-1") for text in lines[:3]] + ["", "", ""])[:3]
    headers, at = {}, 3
    while at < len(lines) and lines[at]:
        name, _, value = lines[at].decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
        at += 1
    body = b"\n".join(lines[at + 1 :])
    request = HttpRequest(method, path, query, headers, body)
    for codec in _CODECS:
        try:
            codec.parse(codec.match(request), request)
        except ApiError as error:
            codec.error(error)
    signed = sigv4.read(request)
    try:
        sigv4.verify(request, _forged(request, signed), _KEYS.secret_key, "local", _NOW)
    except ApiError:
        pass
    sigv4.verify(request, signed, _KEYS.secret_key, "local", _NOW)


def _forged(request: HttpRequest, signed: sigv4.Signed) -> sigv4.Signed:
    """The same claims with the signature that belongs to them."""
    from dataclasses import replace

    return replace(signed, signature=sigv4._signature(request, signed, _KEYS.secret_key))
