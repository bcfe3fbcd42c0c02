"""Whatever bytes a stranger hands over, a parser of the host raises errors of this project alone.

The parsers are those of fuzz/targets, which say what each may raise.
"""

from __future__ import annotations

import zlib

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import target
from twinslot.errors import FleetError, PackageError
from twinslot.formats import bundle, frozen, trailer
from twinslot.trust import certificates

HOST = [name for name in target.names() if name.startswith("host_")]
CERTIFICATES = target.load("host_certificates")
EDITS = st.lists(
    st.tuples(st.integers(0, 8192), st.binary(max_size=4), st.integers(0, 3)), max_size=4
)


@pytest.mark.parametrize("name", HOST)
def test_a_damaged_input_raises_errors_of_this_project_alone(name: str) -> None:
    loaded = target.load(name)
    assert all(issubclass(kind, FleetError) for kind in loaded.allowed)

    @settings(max_examples=150)
    @given(st.sampled_from([*loaded.seeds, *loaded.kept()]), EDITS)
    def damaged(data: bytes, edits: list[tuple[int, bytes, int]]) -> None:
        for at, new, cut in edits:
            at %= len(data) + 1
            data = data[:at] + new + data[at + cut :]
        leak = loaded.leak(data)
        assert leak is None, f"{type(leak).__name__}: {leak} by {data.hex()}"

    damaged()


def test_a_request_and_a_certificate_of_another_version_are_refused() -> None:
    """cryptography raises InvalidVersion for them, which is no ValueError."""
    _, _, request, *_ = CERTIFICATES.seeds
    with pytest.raises(x509.InvalidVersion):
        _ = x509.load_der_x509_csr(request)
    with pytest.raises(certificates.CertificateError, match="no certificate signing request"):
        certificates.requested_key(request, "board-1")


def test_a_trailers_directory_that_is_no_ascii_is_refused() -> None:
    good = target.load("host_trailer").seeds[0]
    body = good[: trailer.RECORDS_LENGTH] + b"app\xff\0\0\0\0"
    import hashlib

    with pytest.raises(PackageError, match="not ASCII"):
        trailer.read_trailer(body + hashlib.sha256(body).digest())


def test_a_module_of_a_bundle_cannot_fill_the_memory() -> None:
    """A few hundred bytes of deflate may become a gigabyte, for each line of the index."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -10, 9)
    bomb = packer.compress(bytes(2**24)) + packer.flush()
    head = b"ota-bundle %05d x\n"
    begin = len(head % 0) + 20 * len(b"/m00 00000") + 1
    rest = b"".join(b"/m%02d %05x" % (number, begin) for number in range(20)) + b"\n"
    data = head % (begin + len(bomb)) + rest + bomb
    with pytest.raises(bundle.BundleError, match="above"):
        bundle.read(data)


def test_a_table_of_frozen_modules_that_is_cut_short_is_none() -> None:
    image = target.load("host_image").seeds[3]
    assert frozen.names(image) == ["a.py"]
    for end in range(288, 300):
        assert frozen.names(image[:end]) in ([], ["a.py"])
