"""The chip's `ssl`: a wrapper of the built-in `tls`, which does not verify unless it is told to."""

import tls
from tls import *  # noqa: F403


class SSLContext:
    """As tls.SSLContext, but CERT_NONE at first, and files may be given by their path."""

    def __init__(self, *protocol):
        self._context = tls.SSLContext(*protocol)
        self._context.verify_mode = tls.CERT_NONE

    @property
    def verify_mode(self):
        """CERT_NONE or CERT_REQUIRED."""
        return self._context.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._context.verify_mode = mode

    def load_cert_chain(self, certfile, keyfile):
        """certfile, keyfile: a path (str) or the contents (bytes), PEM or DER."""
        self._context.load_cert_chain(_contents(certfile), _contents(keyfile))

    def load_verify_locations(self, cafile=None, cadata=None):
        """cafile: a path; cadata: the contents (bytes)."""
        self._context.load_verify_locations(cadata if cafile is None else _contents(cafile))

    def wrap_socket(
        self,
        sock,
        server_side=False,
        do_handshake_on_connect=True,
        server_hostname=None,
    ):
        """Return the TLS socket."""
        return self._context.wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            server_hostname=server_hostname,
        )


def wrap_socket(
    sock,
    server_side=False,
    key=None,
    cert=None,
    cert_reqs=tls.CERT_NONE,
    cadata=None,
    server_hostname=None,
    do_handshake=True,
):
    """Return a TLS socket, by a context made for it alone."""
    context = SSLContext(tls.PROTOCOL_TLS_SERVER if server_side else tls.PROTOCOL_TLS_CLIENT)
    if cert or key:
        context.load_cert_chain(cert, key)
    if cadata:
        context.load_verify_locations(cadata=cadata)
    context.verify_mode = cert_reqs
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake,
        server_hostname=server_hostname,
    )


def _contents(source):
    if not isinstance(source, str):
        return source
    with open(source, "rb") as file:
        return file.read()
