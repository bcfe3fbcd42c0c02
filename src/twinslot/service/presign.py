"""URLs of single objects, for boards: good for a while, and for nothing else."""

from urllib.parse import quote

from twinslot.config import Credentials
from twinslot.formats.document import Location
from twinslot.service import sigv4


class Presigner:
    """Signs URLs. `base` is the data listener's, without a path, as boards reach it."""

    def __init__(self, base: str, credentials: Credentials, region: str) -> None:
        default = ":443" if base.startswith("https:") else ":80"
        self._base = base.removesuffix(default)  # as HTTP clients name the host they ask
        self._credentials = credentials
        self._region = region

    def url(self, location: Location, seconds: int, now: float) -> str:
        """A URL from which this object, and nothing else, can be got for so many seconds."""
        path = quote(f"/{location.bucket}/{location.key}", safe="/~")
        return sigv4.presign(self._base, path, self._credentials, self._region, seconds, now)
