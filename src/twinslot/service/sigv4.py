"""AWS Signature Version 4 from the server's side: signed headers, and URLs signed or checked.

Written after the algorithm's description, not over botocore's signer, so that each of the two is
the other's witness in the tests.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlencode, urlsplit

from twinslot.config import Credentials
from twinslot.service.codec import ApiError, HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = 15 * 60  # seconds between the signer's clock and ours
MAX_EXPIRES = 7 * 24 * 3600  # seconds that a URL may be signed for
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_UNSIGNED = (UNSIGNED_PAYLOAD, "STREAMING-")  # the second signs pieces, or none
_DIGEST = "x-amz-content-sha256"  # the header with which a client says the digest of its body

_AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Scope:
    """The credential scope: date, region and service of a signature."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """The scope without its access key, as it is signed."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Signed:
    """The claims of a request's signature; nothing in it is checked yet."""

    scope: Scope
    headers: tuple[str, ...]
    signature: str
    timestamp: str
    expires: int | None
    """Seconds a pre-signed URL is good for; None for signed headers."""

    @property
    def presigned(self) -> bool:
        """True when the signature is in the URL."""
        return self.expires is not None


def read(request: HttpRequest) -> Signed:
    """Read the signature of a request. Raises ApiError where there is none, or half of one."""
    query = dict(_pairs(request.query))
    if "X-Amz-Signature" in query:
        return _read_query(query)
    authorization = request.headers.get("authorization")
    if authorization is None:
        raise ApiError("MissingAuthenticationTokenException", "the request is not signed", 403)
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    if match is None:
        raise _incomplete("the Authorization header is not AWS Signature Version 4")
    return Signed(
        _read_scope(match[1]),
        tuple(match[2].split(";")),
        match[3],
        request.headers.get("x-amz-date", ""),
        None,
    )


def names_body(request: HttpRequest, signed: Signed) -> bool:
    """Whether a request's head alone shows who signed it: a header has the body's digest, or none
    is signed. Where the header is missing the signature covers the body itself.
    """
    return signed.presigned or _DIGEST in request.headers


def verify(request: HttpRequest, signed: Signed, secret_key: str, region: str, now: float) -> None:
    """Check a signature and its time. `now` in Unix seconds. Raises ApiError."""
    verify_head(request, signed, secret_key, region, now)
    _check_payload(request, signed)


def verify_head(
    request: HttpRequest, signed: Signed, secret_key: str, region: str, now: float
) -> None:
    """Check a signature and its time, before the body is here. Raises ApiError.

    The body need not be the one that was signed: `verify` checks that.
    """
    if signed.scope.region != region:
        raise ApiError(
            "SignatureDoesNotMatch",
            f"signed for region {signed.scope.region}, this service is in {region}",
            403,
        )
    signed_at = _time(signed.timestamp)
    if not signed.timestamp.startswith(signed.scope.date):
        raise _incomplete("the date of the credential scope is not that of the request")
    if "host" not in signed.headers:
        raise _incomplete("the host header is not signed")
    expected = _signature(request, signed, secret_key)
    if not hmac.compare_digest(expected.encode(), signed.signature.encode()):
        raise ApiError(
            "SignatureDoesNotMatch",
            "the signature does not match: wrong secret key, or the request changed on its way",
            403,
        )
    _check_time(signed, signed_at, now)
    _check_bound(request, signed)


def presign(
    base: str, path: str, credentials: Credentials, region: str, expires: int, now: float
) -> str:
    """The URL of a GET from S3, good for `expires` seconds from `now` (Unix seconds).

    `base` is the server's URL without a path, `path` the object's, percent-encoded. The server's
    name, the method and the object are signed: nothing else can be asked for with it.
    """
    timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = Scope(credentials.access_key, timestamp[:8], region, "s3")
    query = urlencode(
        {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{scope.access_key}/{scope.text}",
            "X-Amz-Date": timestamp,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": "host",
        }
    )
    request = HttpRequest("GET", path, query, {"host": urlsplit(base).netloc}, b"")
    signed = Signed(scope, ("host",), "", timestamp, expires)
    signature = _signature(request, signed, credentials.secret_key)
    return f"{base}{path}?{query}&X-Amz-Signature={signature}"


def _read_query(query: Mapping[str, str]) -> Signed:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise _incomplete(f"X-Amz-Algorithm is not {ALGORITHM}")
    expires = query.get("X-Amz-Expires", "")
    if not re.fullmatch("[0-9]{1,6}", expires) or not 1 <= int(expires) <= MAX_EXPIRES:
        raise _incomplete(f"X-Amz-Expires is no number from 1 to {MAX_EXPIRES}")
    return Signed(
        _read_scope(query.get("X-Amz-Credential", "")),
        tuple(query.get("X-Amz-SignedHeaders", "").split(";")),
        query["X-Amz-Signature"],
        query.get("X-Amz-Date", ""),
        int(expires),
    )


def _read_scope(text: str) -> Scope:
    parts = text.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise _incomplete("the credential is not KEY/DATE/REGION/SERVICE/aws4_request")
    return Scope(*parts[:4])


def _time(timestamp: str) -> float:
    try:
        return datetime.strptime(timestamp + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
    except ValueError as error:
        raise _incomplete("the date of the request (X-Amz-Date) is missing or wrong") from error


def _check_time(signed: Signed, signed_at: float, now: float) -> None:
    if signed_at > now + MAX_SKEW:
        raise ApiError("RequestTimeTooSkewed", "the request is dated in the future", 403)
    if signed.expires is None:
        if signed_at < now - MAX_SKEW:
            raise ApiError(
                "RequestTimeTooSkewed",
                f"the request was signed {int(now - signed_at)} seconds ago; set the clocks",
                403,
            )
    elif now > signed_at + signed.expires:
        raise ApiError("AccessDenied", "Request has expired", 403)


def _check_bound(request: HttpRequest, signed: Signed) -> None:
    """Refuse a request with a part that matters and that its signature does not cover."""
    loose = [
        name
        for name in request.headers
        if name.startswith("x-amz-") and name not in (*signed.headers, _DIGEST)
    ]
    if loose:  # the digest of the body is signed in any case
        raise ApiError("AccessDenied", f"headers that are not signed: {', '.join(loose)}", 403)
    if _leaves_body(signed):
        if request.method not in ("GET", "HEAD"):
            raise ApiError("AccessDenied", "a pre-signed URL reads; it does not sign a body", 403)
    elif request.headers.get(_DIGEST, "").startswith(_UNSIGNED):
        raise ApiError(
            "AccessDenied",
            "the body is not signed: docs/service.md has the client's settings that sign it",
            403,
        )


def _check_payload(request: HttpRequest, signed: Signed) -> None:
    # Without the header the canonical request had the body's own digest.
    claimed = request.headers.get(_DIGEST)
    known = (None, hashlib.sha256(request.body).hexdigest())
    if claimed not in known and not _leaves_body(signed):
        raise ApiError("XAmzContentSHA256Mismatch", "the body is not the one that was signed", 400)


def _leaves_body(signed: Signed) -> bool:
    """Whether a signature covers no body: that in a URL of S3."""
    return signed.presigned and signed.scope.service == "s3"


def _signature(request: HttpRequest, signed: Signed, secret_key: str) -> str:
    canonical = "\n".join(
        [
            request.method,
            _canonical_path(request.path, signed.scope.service),
            _canonical_query(request.query),
            *(f"{name}:{_canonical_header(request, name)}" for name in signed.headers),
            "",
            ";".join(signed.headers),
            _payload_digest(request, signed),
        ]
    )
    to_sign = "\n".join(
        [
            ALGORITHM,
            signed.timestamp,
            signed.scope.text,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = b"AWS4" + secret_key.encode()
    for part in (signed.scope.date, signed.scope.region, signed.scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def _payload_digest(request: HttpRequest, signed: Signed) -> str:
    if _leaves_body(signed):
        return UNSIGNED_PAYLOAD
    claimed = request.headers.get(_DIGEST)
    return claimed or hashlib.sha256(request.body).hexdigest()


def _canonical_path(path: str, service: str) -> str:
    # S3 signs the path as it is sent; every other service encodes it once more.
    return path if service == "s3" else quote(path, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="~"), quote(value, safe="~"))
        for name, value in _pairs(query)
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_header(request: HttpRequest, name: str) -> str:
    value = request.headers.get(name)
    if value is None:
        raise _incomplete(f"the header {name} is signed, but it is not there")
    return " ".join(value.split())


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        yield unquote(name), unquote(value)


def _incomplete(message: str) -> ApiError:
    return ApiError("IncompleteSignature", message, 403)
