"""A board's own private key, and a certificate signing request for it (PKCS #10, RFC 2986).

`fleet board csr` brings this onto a board, runs it there and takes it away again. The key is
made there, lies in /etc/client.key (SEC 1 in PEM, RFC 5915, which every mbedTLS reads), and is
never printed. MicroPython's own TLS makes no keys, so the arithmetic of P-256 is here.

- The random numbers are the chip's, `os.urandom`. They are true ones while the radio works
  (ESP-IDF, Random Number Generation), so Wi-Fi is switched on for as long as they are drawn.
- A signature's nonce is hashed from the key, the message and random numbers: it is secret as long
  as the key is, whatever the generator does.
- Nothing takes constant time. Whoever could measure that sits at the desk and holds the board.
"""

import os
from binascii import a2b_base64, b2a_base64
from hashlib import sha256

import network

KEY = "/etc/client.key"

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_EC_KEY = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"  # object identifiers: RFC 5480
_P256 = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
_ECDSA_SHA256 = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
_COMMON_NAME = b"\x06\x03\x55\x04\x03"
# How a key in SEC 1 begins when its public key is in it: version 1, then the number's 32 bytes.
_BEGIN = b"\x30\x77\x02\x01\x01\x04\x20"


def request(thing):
    """Return a request for a certificate of `thing` (DER), and whether the key was made now.

    A key that lies on the board stays, and the request is for it. Raises ValueError for one that
    cannot be used, OSError where nothing can be written.
    """
    key = _read()
    made = key is None
    if made:
        key = _random()
        _write(key)
    name = _der(0x31, _der(0x30, _COMMON_NAME, _der(0x0C, thing.encode())))
    spki = _der(0x30, _der(0x30, _EC_KEY, _P256), _bits(b"\x04" + _public(key)))
    info = _der(0x30, _der(0x02, b"\0"), _der(0x30, name), spki, b"\xa0\0")
    r, s = _sign(key, info)
    signature = _der(0x30, _integer(r), _integer(s))
    return _der(0x30, info, _der(0x30, _ECDSA_SHA256), _bits(signature)), made


def public():
    """Return the public key, 64 bytes x || y, of the key on the board, None without one.

    As `request` raises.
    """
    key = _read()
    return None if key is None else _public(key)


def _read():
    try:
        with open(KEY) as file:
            lines = file.read().split("\n")
    except OSError as error:
        if error.errno == 2:
            return None
        raise
    data = a2b_base64("".join([line.strip() for line in lines if "-----" not in line]))
    if not data.startswith(_BEGIN):
        raise ValueError(KEY + " holds no P-256 key in SEC 1")
    return int.from_bytes(data[7:39], "big")


def _write(key):
    point = _der(0xA1, _bits(b"\x04" + _public(key)))
    data = _BEGIN + _bytes(key) + _der(0xA0, _P256) + point
    try:
        os.mkdir("/etc")
    except OSError as error:
        if error.errno != 17:
            raise
    with open(KEY + ".new", "w") as file:
        file.write("-----BEGIN EC PRIVATE KEY-----\n")
        for at in range(0, len(data), 48):
            file.write(b2a_base64(data[at : at + 48]).decode())
        file.write("-----END EC PRIVATE KEY-----\n")
    os.rename(KEY + ".new", KEY)


def _random():
    """Return a random number from 1 to N - 1 (FIPS 186-5, A.2.2: what does not fit is thrown)."""
    wlan = network.WLAN(network.STA_IF)
    was = wlan.active()
    wlan.active(True)
    try:
        while True:
            number = int.from_bytes(os.urandom(32), "big")
            if 0 < number < _N:
                return number
    finally:
        wlan.active(was)


def _sign(key, message):
    """Return ECDSA's r and s over SHA-256 (FIPS 186-5, 6.4.1)."""
    digest = sha256(message).digest()
    while True:
        seed = sha256(_bytes(key) + digest + os.urandom(32)).digest()
        nonce = int.from_bytes(seed, "big")
        if 0 < nonce < _N:
            r = _times_g(nonce)[0] % _N
            s = pow(nonce, _N - 2, _N) * (int.from_bytes(digest, "big") + r * key) % _N
            if r and s:
                return r, s


def _public(key):
    x, y = _times_g(key)
    return _bytes(x) + _bytes(y)


def _times_g(number):
    """Return number * G, affine. number: 1 to N - 1, so that no sum is of equals or opposites."""
    x, y, z = 0, 0, 0
    for bit in range(255, -1, -1):
        if z:
            x, y, z = _double(x, y, z)
        if number >> bit & 1:
            x, y, z = _add_g(x, y, z) if z else (_G[0], _G[1], 1)
    inverse = pow(z, _P - 2, _P)
    square = inverse * inverse % _P
    return x * square % _P, y * square * inverse % _P


def _double(x, y, z):
    """Return 2 * (x / z**2, y / z**3), Jacobian (dbl-2001-b, a = -3)."""
    zz, yy = z * z % _P, y * y % _P
    s = 4 * x * yy % _P
    m = 3 * (x - zz) * (x + zz) % _P
    x = (m * m - 2 * s) % _P
    return x, (m * (s - x) - 8 * yy * yy) % _P, 2 * y * z % _P


def _add_g(x, y, z):
    """Return (x / z**2, y / z**3) + G, Jacobian."""
    zz = z * z % _P
    h = (_G[0] * zz - x) % _P
    r = (_G[1] * zz * z - y) % _P
    hh = h * h % _P
    hhh, v = h * hh % _P, x * hh % _P
    x = (r * r - hhh - 2 * v) % _P
    return x, (r * (v - x) - y * hhh) % _P, h * z % _P


def _bytes(number):
    return number.to_bytes(32, "big")


def _integer(number):
    data = number.to_bytes(33, "big").lstrip(b"\0")
    return _der(0x02, b"\0" if data[0] & 0x80 else b"", data)


def _bits(data):
    return _der(0x03, b"\0", data)


def _der(tag, *parts):
    """Return a DER value (X.690): tag, the shortest length, content of less than 64 KB."""
    data = b"".join(parts)
    size = len(data)
    if size < 0x80:
        head = bytes([tag, size])
    elif size < 0x100:
        head = bytes([tag, 0x81, size])
    else:
        head = bytes([tag, 0x82, size >> 8, size & 0xFF])
    return head + data
