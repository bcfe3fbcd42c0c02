"""A private key that was made on the board and never leaves it.

`fleet board csr` makes it there and brings back a certificate signing request. From that
`fleet provision --csr` makes a settings folder without client.key, which `deploy` takes as long as
the board holds the key of the folder's client.pem.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twinslot.board import files, running
from twinslot.board.cable import Cable
from twinslot.errors import FleetError
from twinslot.trust import certificates

KEY = "/etc/client.key"
CERTIFICATE = "/etc/client.pem"

_SOURCE = Path(__file__).parent / "on_board" / "own_key.py"
_MODULE = "board_own_key"
_TIMEOUT_S = 60.0  # for two multiplications of a point, with Wi-Fi starting


class OwnKeyError(FleetError):
    """The board's key and the certificate do not go together."""


def request(cable: Cable, thing: str) -> tuple[bytes, bool]:
    """Return the board's request for a certificate (PEM), and whether its key was made for it.

    The board's program is stopped for this, and started again. Raises CertificateError when the
    request proves nothing, UnfitError, PendingError and CableError.
    """
    with cable.paused():
        running.check(running.look(cable))
        cable.bare_reset()  # which frees the memory of a stopped main.py
        der, made = asked(cable, thing)
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM), made


def asked(cable: Cable, thing: str) -> tuple[bytes, bool]:
    """Return the request (DER), and whether its key was made for it, from a board that is stopped.

    Raises CertificateError when the request proves nothing, and CableError.
    """
    der, made = _ask(cable, f"request({certificates.check_thing(thing)!r})")
    certificates.requested_key(der, thing)
    return der, made


def check(cable: Cable, wanted: Mapping[str, bytes]) -> None:
    """Judge whether the files go with the key on the board, where they bring none.

    wanted: absolute path to bytes. Raises OwnKeyError, CableError.
    """
    if CERTIFICATE not in wanted or KEY in wanted:
        return
    there = _ask(cable, "public()")
    if there is None:
        raise OwnKeyError(
            "client.key is neither in the settings folder nor on the board. `fleet board csr` "
            "makes a key on the board; then `fleet provision --renew --csr` makes the folder for it"
        )
    try:
        key = x509.load_pem_x509_certificate(wanted[CERTIFICATE]).public_key()
    except ValueError as error:
        raise OwnKeyError(f"client.pem holds no certificate in PEM: {error}") from error
    if key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:] != there:
        raise OwnKeyError(
            "the key on the board is not the one of client.pem: is this another thing's folder? "
            "`fleet board csr` asks for a certificate for the key that is there"
        )


def _ask(cable: Cable, expression: str) -> Any:
    with cable.module(_MODULE, files.compile_module(_SOURCE)):
        return cable.evaluate(f"{_MODULE}.{expression}", _TIMEOUT_S)
