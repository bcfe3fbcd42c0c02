"""How a `link.Link` is made from the settings and opened: memory, socket, TLS, CONNECT, CONNACK.

Lent for that time, because it takes 3 KB of heap. No phase of an update needs it.
"""

import gc
import socket
import struct
import time
from errno import ECONNRESET, ENOMEM

try:
    import tls
except ImportError:  # MicroPython 1.22
    import ssl as tls

from . import chip, errors
from .defaults import agent_settings
from .inbox import CONTROL_SIZE, OVERHEAD
from .settings import is_there, read_etc, require
from .wire import MQTTError

# Bytes that Wi-Fi's association, a connection and its messages take beside Python's heap, and with
# TLS (docs/board-tests.md).
_FOR_LINK = 22 * 1024
_FOR_TLS = 48 * 1024
# With so much free heap there is PSRAM, and nothing is scarce.
_PLENTY = 512 * 1024
# The operating system frees a stack when it has nothing else to do.
_FREEING_MS = 50

# AWS IoT, "Device communication protocols": MQTT with a client certificate on port 443.
_ALPN = "x-amzn-mqtt-ca"

# What a broker answers to CONNECT (MQTT 3.1.1, 3.2.2.3).
_REFUSED = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker refuses this client id",
    3: "the broker's MQTT service is not available",
    4: "the broker refuses user name or password",
    5: "the broker does not let this client in",
}


# A part of what mbedTLS says -> what it means here (ssl.h, x509_crt.c).
_HINTS = (
    ("future", "the clock is wrong: setting ntp sets it"),
    ("expired", "the broker's certificate has expired, or the clock is wrong"),
    ("not correctly signed", "ca.pem is not the authority of this broker, or memory is short"),
    ("mismatch", "the broker's certificate is not for broker.host"),
    ("invalid", "ca.pem or client.* is not PEM, or memory is short"),
    ("30592", "the broker refuses client.pem, or wants one"),
    ("29184", "broker.port does not speak TLS"),
    ("29312", "the broker hung up: broker.port may not speak TLS"),
    ("32512", "memory is short"),
)


def set_aside(tls):
    """Keep memory for a link until the function that is returned is called.

    Without PSRAM, Wi-Fi, sockets and TLS allocate from what Python's heap has not taken, and that
    heap takes all it finds whenever it grows. MicroPython has no call to set memory aside, but a
    parked thread has memory of its own: its stack. Raises OSError when so much is not there.
    """
    import _thread

    if gc.mem_free() > _PLENTY:
        return _nothing
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.stack_size(_FOR_TLS if tls else _FOR_LINK)
    try:
        _thread.start_new_thread(lock.acquire, ())
    finally:
        _thread.stack_size(0)

    def give_back():
        lock.release()
        time.sleep_ms(_FREEING_MS)

    return give_back


def _nothing():
    pass


def make_link(link, settings):
    """Return what the class `link` makes of the settings. Raises SettingsError."""
    host = require(settings, "broker", "host")
    broker = settings["broker"]
    port = broker.get("port", 8883 if broker.get("tls") else 1883)
    keepalive = broker.get("keepalive", 60)
    if not isinstance(port, int) or not isinstance(keepalive, int):
        raise errors.SettingsError("settings broker.port and broker.keepalive must be numbers")
    if "/" in host or host.count(":") == 1:
        raise errors.SettingsError(
            "setting broker.host must be a name or an address alone, not %s: the port is setting "
            "broker.port" % host
        )
    user = password = None
    if broker.get("user"):
        user = require(settings, "broker", "user")
        if broker.get("password"):
            password = require(settings, "broker", "password")
    return link(
        require(settings, "thing"),
        host,
        port,
        user=user,
        password=password,
        keepalive=keepalive,
        tls_context=bool(broker.get("tls")) or None,
        max_payload=max(agent_settings(settings)["message_size"], CONTROL_SIZE) + OVERHEAD,
        waits=False,
    )


def own_context(host, port):
    """Make the SSLContext of the board's own files in /etc.

    Raises SettingsError, and ValueError for a file that cannot be used, or for want of memory:
    MicroPython does not tell these apart.
    """
    context = tls_context(
        read_etc("ca.pem", "the broker's CA, as broker.tls is set"),
        *_pair() if is_there("etc/client.pem") or is_there("etc/client.key") else (),
    )
    if port == 443 and host.endswith(".amazonaws.com"):
        if not hasattr(context, "set_alpn_protocols"):
            raise errors.SettingsError(
                "AWS wants ALPN on port 443, which this firmware lacks: set broker.port to 8883"
            )
        context.set_alpn_protocols([_ALPN])
    return context


def _pair():
    return (
        read_etc("client.pem", "this board's certificate, as there is client.key"),
        read_etc("client.key", "this board's private key, as there is client.pem"),
    )


def connected(host, port, timeout_ms, context):
    """Return a socket that is connected to the port of a host, and does not block.

    timeout_ms: for TCP's connection, after the name was looked up; context: an SSLContext, which
    looks for `host` in the server's certificate, None for plain TCP. The handshake is done by the
    first write. Raises OSError, and ValueError of mbedTLS.
    """
    try:
        address = socket.getaddrinfo(host, port)[0][-1]
    except OSError:
        raise MQTTError("%s cannot be looked up: is broker.host right, does DNS answer?" % host)
    sock = socket.socket()
    try:
        sock.settimeout(timeout_ms / 1000)
        try:
            sock.connect(address)
        except OSError as error:
            raise MQTTError("no connection to port %d of %s: %s" % (port, host, error))
        sock.setblocking(False)
        if hasattr(socket, "TCP_NODELAY"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        return sock
    except (OSError, ValueError, MemoryError):
        sock.close()
        raise


def explained(error, over_tls):
    """Return the error that says in a sentence why a link could not be opened.

    Its errno is ENOMEM where memory is short, of which a handshake that stands still may be the
    only sign. error: of `connected`, or of what was read and written afterwards; over_tls (bool).
    """
    text = str(error).strip()
    for part, hint in _HINTS if over_tls else ():
        if part in text:
            text = "%s (%s)" % (hint, text)
            break
    number = getattr(error, "errno", ECONNRESET)
    if over_tls and not chip.fits_tls(0):
        text += ": memory is short"
    elif isinstance(error, MQTTError):
        return error
    if isinstance(error, MemoryError) or "memory" in text:
        number = ENOMEM
    return MQTTError("the link cannot be opened: " + text, number)


def introduction(client, clean_session):
    """Return the body of CONNECT (MQTT 3.1.1, 3.1) from a umqtt client's fields (bytearray)."""
    flags = clean_session << 1
    texts = [client.client_id]
    if client.lw_topic:
        flags |= 0x04 | client.lw_qos << 3 | client.lw_retain << 5
        texts += [client.lw_topic, client.lw_msg]
    if client.user is not None:
        flags |= 0x80
        texts.append(client.user)
        if client.pswd is not None:
            flags |= 0x40
            texts.append(client.pswd)
    body = bytearray(b"\x00\x04MQTT\x04\x00") + struct.pack("!H", client.keepalive)
    body[7] = flags
    for text in texts:
        text = text.encode() if isinstance(text, str) else text
        body += struct.pack("!H", len(text)) + text
    return body


def refusal(answer):
    """Say in a sentence why the broker's answer to CONNECT lets nobody in, "" if it does.

    answer: the four bytes of CONNACK.
    """
    if answer[:2] != b"\x20\x02":
        return "the broker's answer is not MQTT"
    return answer[3] and _REFUSED.get(answer[3], "the broker refuses the connection")


def tls_context(ca, certificate=None, key=None):
    """Make an SSLContext that verifies the broker.

    ca: bytes of the trusted CA certificates (PEM); certificate, key: bytes of the client's (PEM),
    or None. Raises ValueError when one cannot be read.
    """
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
