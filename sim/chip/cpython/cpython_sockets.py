"""MicroPython's `socket` and `tls` over CPython's: sockets return None where those raise."""

import socket as _socket
import ssl as _ssl
import tempfile
import types


class Socket:
    """A socket, plain or TLS, with MicroPython's stream methods. real: CPython's."""

    def __init__(self, *arguments, real=None):
        self.real = real or _socket.socket(*arguments)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def accept(self):
        """Return (socket, address)."""
        real, address = self.real.accept()
        return Socket(real=real), address

    def makefile(self, *_):
        """Return the socket itself: it is a stream already."""
        return self

    def readinto(self, buf, size=None):
        """Fill as much of `buf` as there is. Returns the bytes, None where it would block."""
        return _attempt(self.real.recv_into, memoryview(buf)[:size])

    def read(self, size=-1):
        """Return up to `size` bytes, None where it would block."""
        if size < 0:
            return b"".join(iter(lambda: self.real.recv(4096), b""))
        return _attempt(self.real.recv, size)

    def readline(self, size=-1):
        """Return a line, or its first `size` bytes."""
        line = b""
        while not line.endswith(b"\n") and len(line) != size:
            byte = self.real.recv(1)
            if not byte:
                break
            line += byte
        return line

    def write(self, data, size=None):
        """Send what can be sent. Returns the bytes, None where it would block."""
        data = data.encode() if isinstance(data, str) else data
        return _attempt(self.real.send, bytes(data)[:size])


class SSLContext:
    """MicroPython's tls.SSLContext. protocol: PROTOCOL_TLS_CLIENT or PROTOCOL_TLS_SERVER."""

    def __init__(self, protocol):
        self._real = _ssl.SSLContext(protocol)
        self._real.check_hostname = False

    @property
    def verify_mode(self):
        """CERT_NONE or CERT_REQUIRED."""
        return self._real.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._real.verify_mode = mode

    def load_verify_locations(self, cadata):
        """Trust these certificates (bytes: PEM or DER)."""
        data = bytes(cadata)
        self._real.load_verify_locations(cadata=data.decode() if _is_pem(data) else data)

    def load_cert_chain(self, certificate, key):
        """Show this certificate and own this key (bytes, PEM)."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(certificate) + b"\n" + bytes(key))
            file.flush()
            self._real.load_cert_chain(file.name)

    def wrap_socket(
        self, sock, server_side=False, do_handshake_on_connect=True, server_hostname=None
    ):
        """Return the TLS socket. Raises ValueError when a certificate does not verify."""
        if self._real.verify_mode == _ssl.CERT_REQUIRED and not server_side:
            if server_hostname is None:
                raise ValueError("CERT_REQUIRED requires server_hostname")
            self._real.check_hostname = True
        try:
            return Socket(
                real=self._real.wrap_socket(
                    sock.real,
                    server_side=server_side,
                    do_handshake_on_connect=do_handshake_on_connect,
                    server_hostname=server_hostname,
                )
            )
        except _ssl.SSLCertVerificationError as error:
            raise ValueError(error.verify_message)


def _getaddrinfo(host, port, *_):
    return _socket.getaddrinfo(host, port, _socket.AF_INET, _socket.SOCK_STREAM)


def _attempt(action, argument):
    try:
        return action(argument)
    except (BlockingIOError, _ssl.SSLWantReadError, _ssl.SSLWantWriteError):
        return None


def _is_pem(data):
    return data.lstrip().startswith(b"-----")


socket = types.ModuleType("socket")
vars(socket).update({name: value for name, value in vars(_socket).items() if name.isupper()})
socket.socket = Socket
socket.getaddrinfo = _getaddrinfo

tls = types.ModuleType("tls")
tls.SSLContext = SSLContext
tls.PROTOCOL_TLS_CLIENT = _ssl.PROTOCOL_TLS_CLIENT
tls.PROTOCOL_TLS_SERVER = _ssl.PROTOCOL_TLS_SERVER
tls.CERT_NONE = _ssl.CERT_NONE
tls.CERT_OPTIONAL = _ssl.CERT_OPTIONAL
tls.CERT_REQUIRED = _ssl.CERT_REQUIRED
