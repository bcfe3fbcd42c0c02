"""A private key that was made on the board and never leaves it.

`python -m board csr` makes it there and brings back a certificate signing request. From that
`fleet provision --csr` makes a settings folder without client.key, which `deploy` takes as long as
the board holds the key of the folder's client.pem.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twinslot import disk
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
    """Return the board's request for a certificate (DER), and whether its key was made for it.

    The board's program is stopped. Raises CertificateError when the request proves nothing, and
    CableError.
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
            "client.key is neither in the settings folder nor on the board. `make csr` makes a "
            "key on the board; then `fleet provision --renew --csr` makes the folder for it"
        )
    try:
        key = x509.load_pem_x509_certificate(wanted[CERTIFICATE]).public_key()
    except ValueError as error:
        raise OwnKeyError(f"client.pem holds no certificate in PEM: {error}") from error
    if key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:] != there:
        raise OwnKeyError(
            "the key on the board is not the one of client.pem: is this another thing's folder? "
            "`make csr` asks for a certificate for the key that is there"
        )


def _ask(cable: Cable, expression: str) -> Any:
    with cable.module(_MODULE, files.compile_module(_SOURCE)):
        return cable.evaluate(f"{_MODULE}.{expression}", _TIMEOUT_S)


@click.command("csr")
@click.argument("port")
@click.argument("thing")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of THING.csr.",
)
def command(port: str, thing: str, out: Path | None) -> None:
    """Let the board at PORT make its private key, and ask for a certificate for THING.

    The key stays on the board, in /etc/client.key; one that is there already is used. The request
    goes to `fleet provision --csr`. main.py is stopped for this, and started again.
    """
    certificates.check_thing(thing)
    path = out or Path(f"{thing}.csr")
    with Cable(port) as cable, cable.paused():
        running.check(running.look(cable))
        cable.bare_reset()  # which frees the memory of a stopped main.py
        der, made = request(cable, thing)
    disk.replace(path, x509.load_der_x509_csr(der).public_bytes(Encoding.PEM))
    click.echo(
        f"The board made its key, which stays there, in {KEY}."
        if made
        else f"The key that is on the board, in {KEY}, stays."
    )
    click.echo(f"Wrote {path}. Then, in the folder of fleet.toml:")
    click.echo(f"  fleet provision {thing} --csr {path}")
    click.echo("and `make deploy` with SETTINGS=, the folder that it writes.")
