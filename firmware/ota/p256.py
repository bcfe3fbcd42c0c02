"""ECDSA verification on NIST P-256 (FIPS 186-5, SEC 1) with Python's integers.

Only public data passes through here, so nothing needs constant time. On a chip a reduction modulo
P takes as long as two or three multiplications, so the formulas were chosen for few of them.

- Every y is kept doubled. A point is (x, w) with w = 2y, or Jacobian: (x, w, z) is the point
  (x / z**2, w / z**3). The point at infinity has z = 0.
- u1*G + u2*Q runs in one pass over both scalars in non-adjacent form: 256 shared doublings, some
  37 additions from 16 odd multiples of G, which lie at the end of this file, and 43 from eight of
  Q, which are made on the fly.
- That takes a third of a second on a chip. So `verifying` is a generator, which yields between
  slices of a few hundred multiplications.
"""

from .compat import const, finish

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

# Bits of a digit: odd multiples up to 31 of G, up to 15 of Q.
_WIDTH_G = const(6)
_WIDTH_Q = const(5)
# Doublings of a slice; at most seven additions come with them.
_SLICE = const(16)


def verify(public_key, digest, signature):
    """Say at once whether `signature` over `digest` belongs to `public_key`; see `verifying`."""
    return finish(verifying(public_key, digest, signature))


def verifying(public_key, digest, signature):
    """Find out whether `signature` over `digest` belongs to `public_key`. A generator of slices.

    public_key: 64 bytes x || y; digest: 32 bytes (SHA-256); signature: 64 bytes r || s.
    Returns False for anything that is no point of the curve or out of range.
    """
    if len(public_key) != 64 or len(digest) != 32 or len(signature) != 64:
        return False
    x, y = _pair(public_key)
    r, s = _pair(signature)
    if not (0 < r < N and 0 < s < N and _on_curve(x, y)):
        return False
    s = _inverse(s, N)
    u1 = int.from_bytes(digest, "big") * s % N
    x, _, z = yield from _joint(u1, r * s % N, (x, 2 * y % P))
    if not z:
        return False
    # r == affine x (mod N), compared without leaving projective coordinates.
    zz = z * z % P
    return (r * zz - x) % P == 0 or (r + N < P and ((r + N) * zz - x) % P == 0)


def _pair(data):
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")


def _on_curve(x, y):
    return x < P and y < P and (y * y - (x * x - 3) * x - B) % P == 0


def _inverse(number, prime):
    """Return 1 / number modulo `prime` (Euclid: a quarter of the time of a power)."""
    a, b, x, y = number, prime, 1, 0
    while a > 1:
        quotient, b = divmod(b, a)
        y -= quotient * x
        if b == 1:
            return y % prime
        quotient, a = divmod(a, b)
        x -= quotient * y
    return x % prime


def _joint(u1, u2, q):
    """Compute u1*G + u2*q, q affine, the sum Jacobian. A generator of slices.

    Doublings and additions in one function, as a call takes as long as a multiplication.
    """
    digits_g = _non_adjacent(u1, _WIDTH_G)
    digits_q = _non_adjacent(u2, _WIDTH_Q)
    yield
    odd_q = _odd_multiples(q)
    yield
    p = P
    x, w, z = 1, 1, 0
    times = 0  # to be doubled
    for i in range(256, -1, -1):
        times += 1
        g = digits_g[i]
        q = digits_q[i]
        if not (g or q) and i % _SLICE:
            continue
        while True:
            # dbl-2001-b with a = -3, for a doubled y
            xx = x + x
            for _ in range(times):
                zz = z * z % p
                ww = w * w % p
                s = xx * ww % p
                m = (x - zz) * (x + zz) * 3 % p
                x = (m * m - s) % p
                xx = x + x
                z = w * z % p
                w = (m * (s - xx) - ww * ww) % p
            times = 0
            if g:
                x2, w2 = _multiple_of_g(g)
                g = 0
            elif q:
                x2, w2 = odd_q[(q if q < 16 else 32 - q) >> 1]
                if q > 16:
                    w2 = p - w2
                q = 0
            else:
                break
            if not z:
                x, w, z = x2, w2, 1
                continue
            # madd-2007-bl, for a doubled y
            zz = z * z % p
            h = x2 * zz % p - x
            r = w2 * (zz * z % p) % p - w
            if not h and not r:
                times = 1  # they are equal
                continue
            hh = h + h
            z = hh * z % p
            hh = hh * hh % p
            v = x * hh % p
            j = h * hh % p
            x = (r * r - j - v - v) % p
            w = (r * (v - x) - w * j) * 2 % p
        if i % _SLICE == 0:
            yield
    return x, w, z


def _non_adjacent(scalar, width):
    """Return the 257 digits of `scalar`, least significant first: 0 or odd.

    A negative digit is kept modulo 2**width.
    """
    digits = bytearray(257)
    modulus = 1 << width
    i = 0
    while scalar:
        if scalar & 1:
            digit = scalar & (modulus - 1)
            digits[i] = digit
            if 2 * digit > modulus:
                scalar += modulus
            scalar >>= width
            i += width
        else:
            scalar >>= 1
            i += 1
    return digits


def _multiple_of_g(digit):
    """Return digit*G, affine."""
    at = (digit if digit < 32 else 64 - digit) >> 1 << 6
    x, w = _pair(_ODD_G[at : at + 64])
    return x, w if digit < 32 else P - w


def _odd_multiples(q):
    """Return q, 3q, 5q, ... 15q, affine.

    2q (xd, wd) is added again and again. It is written with the same z as the sum, which makes the
    next addition a cheap one (Meloni, New Point Addition Formulae for ECC Applications, 2007; for a
    doubled y). No sum is of equals or opposites, as q has a large prime order.
    """
    p = P
    x, z = q  # 2q has the z that is q's w
    ww = z * z % p
    w = ww * ww % p
    m = (x - 1) * (x + 1) * 3 % p
    x = x * ww % p
    xd = (m * m - x - x) % p
    wd = (m * (x - xd) * 2 - w) % p
    sums = []
    for _ in range(7):
        h = x - xd
        r = w - wd
        hh = h + h
        i = hh * hh % p
        j = h * i % p
        xd = xd * i % p
        wd = wd * j * 2 % p
        x = (r * r - j - xd - xd) % p
        w = (r * (xd - x) * 2 - wd) % p
        z = hh * z % p
        sums.append((x, w, hh))
    # Each z is the one before times hh: one inverse serves all.
    by_z = _inverse(z, p)
    multiples = [q] * 8
    for i in range(7, 0, -1):
        x, w, hh = sums[i - 1]
        zz = by_z * by_z % p
        multiples[i] = x * zz % p, w * (zz * by_z % p) % p
        by_z = by_z * hh % p
    return multiples


# G, 3G, 5G, ... 31G: x and w, 32 bytes each, big-endian.
_ODD_G = (
    b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
    b"\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
    b"\x9f\xc6\x85\xc5\xfc\x34\xff\x37\x1d\xcf\xd6\x94\xf8\x1f\x3c\x2c"
    b"\x57\x9c\x66\xae\xd6\x62\xbd\x9d\x97\x6c\x80\xd0\x6f\x7e\xa3\xea"
    b"\x5e\xcb\xe4\xd1\xa6\x33\x0a\x44\xc8\xf7\xef\x95\x1d\x4b\xf1\x65"
    b"\xe6\xc6\xb7\x21\xef\xad\xa9\x85\xfb\x41\x66\x1b\xc6\xe7\xfd\x6c"
    b"\x0e\x68\xc8\x19\x93\x31\xfe\xfb\x6e\x96\x0d\x9c\x34\xc9\x45\xd9"
    b"\xb0\x55\x60\x6b\x70\x9f\x70\x7b\x34\xf3\x62\x4f\x44\xfa\xa0\x65"
    b"\x51\x59\x0b\x7a\x51\x51\x40\xd2\xd7\x84\xc8\x56\x08\x66\x8f\xdf"
    b"\xef\x8c\x82\xfd\x1f\x5b\xe5\x24\x21\x55\x4a\x0d\xc3\xd0\x33\xed"
    b"\xc1\x82\xfb\x52\x20\x94\xe4\xfa\x15\xc3\x7e\x6d\x7f\x14\xf2\x4c"
    b"\x1a\x02\x5e\x00\xa9\xb0\x11\x11\xa3\xa1\x76\x89\xfb\x42\xdb\x49"
    b"\x8e\x53\x3b\x6f\xa0\xbf\x7b\x46\x25\xbb\x30\x66\x7c\x01\xfb\x60"
    b"\x7e\xf9\xf8\xb8\xa8\x0f\xef\x5b\x30\x06\x28\x70\x31\x87\xb2\xa3"
    b"\xe7\xd6\x3b\x7b\xc0\x66\x30\x6c\xda\x0d\x3f\x07\x4d\xeb\x20\x00"
    b"\xa7\x8e\x6c\x67\x96\x08\x36\x43\x8a\xbc\x35\x0d\x83\xe8\x01\x68"
    b"\xea\x68\xd7\xb6\xfe\xdf\x0b\x71\x87\x89\x38\xd5\x1d\x71\xf8\x72"
    b"\x9e\x0a\xcb\x8c\x2c\x6d\xf8\xb3\xd7\x9e\x8a\x4b\x90\x94\x9e\xe0"
    b"\x54\x4e\x89\x92\xe5\x93\xf9\xcf\x0e\x02\x95\x2c\x95\x1d\x41\x90"
    b"\x9a\xe2\x9f\xd5\x49\xbd\x04\x7f\xd0\xb4\x44\x94\x9b\xa0\x91\xf4"
    b"\x3e\xd1\x13\xb7\x88\x3b\x4c\x59\x06\x38\x37\x9d\xb0\xc2\x1c\xda"
    b"\x16\x74\x2e\xd0\x25\x50\x48\xbf\x43\x33\x91\xd3\x74\xbc\x21\xd1"
    b"\x21\x32\x41\x36\x99\x89\x91\x43\x49\x90\x87\x5f\x49\xe9\x8d\x14"
    b"\x12\x1a\x09\xb3\xbd\x31\x13\xb5\xc5\xf1\xdd\xf9\xd0\x54\x6e\x81"
    b"\x17\x7c\x83\x7a\xe0\xac\x49\x5a\x61\x80\x5d\xf2\xd8\x5e\xe2\xfc"
    b"\x79\x2e\x28\x4b\x65\xea\xd5\x8a\x98\xe1\x5d\x9d\x46\x07\x2c\x01"
    b"\xc7\x76\xb1\x9a\x9d\x7d\x4a\xb1\x44\x81\x23\x5b\x68\x1e\x9c\xe4"
    b"\x4d\xdc\x29\x87\x43\xf6\x9b\xe7\x38\x87\x77\xc5\xdf\x8f\x7f\xb0"
    b"\xf0\x45\x4d\xc6\x97\x1a\xba\xe7\xad\xfb\x37\x89\x99\x88\x82\x65"
    b"\xae\x03\xaf\x92\xde\x3a\x0e\xf1\x63\x66\x8c\x63\xe5\x9b\x9d\x5f"
    b"\x6b\x72\x7d\xc7\xb2\x5c\x5a\x3d\x9c\xcb\x29\xca\x3f\x2c\x87\xcc"
    b"\x54\x76\x43\x9b\xeb\x6b\xf4\x7e\x8f\xcb\x39\xbc\x1a\x06\x9e\x6d"
    b"\x47\x77\x69\x04\xc0\xf1\xcc\x3a\x9c\x09\x84\xb6\x6f\x75\x30\x1a"
    b"\x5f\xa6\x86\x78\xf0\xd6\x4a\xf8\xba\x1a\xbc\xe3\x47\x38\xa7\x3e"
    b"\x54\x00\xbd\xce\x6b\x72\xae\x4f\xc4\x63\x0a\xca\xee\xc9\x1d\x07"
    b"\x03\x65\x00\x87\x51\xaa\xe6\x7e\x65\xef\x0f\xfe\xe3\xe3\xf9\xb9"
    b"\xcb\x6d\x28\x61\x10\x2c\x0c\x25\xce\x39\xb7\xc1\x71\x08\xc5\x07"
    b"\x78\x2c\x45\x22\x57\x88\x48\x95\xc1\xfc\x7b\x74\xab\x03\xed\x83"
    b"\xb1\xae\xc2\x96\x49\xb3\xde\xa2\xb8\x6b\xce\x20\x1a\xda\xd9\xc9"
    b"\x49\x2c\xe2\xdc\x61\xf4\x7c\x07\xc7\x22\xa0\xea\x57\x9d\x9b\x54"
    b"\x32\x50\xfc\xf6\x86\x63\x7c\x7b\x2e\x4a\xc8\x6e\xb4\x73\xbc\xa5"
    b"\x3a\x58\x21\x39\xf4\x2b\x15\x23\xfd\x76\x36\x4e\x67\x39\x9e\x83"
    b"\x85\xcf\x86\x84\xcc\xfa\x6b\x27\x2f\x66\x12\x1a\x3a\xfd\x71\x19"
    b"\x12\xf9\xa7\x86\x76\xac\xd5\x04\x2b\xbc\x49\x40\xe3\xa9\x18\x12"
    b"\x0e\x91\xc7\x23\x9c\x26\x40\xd7\xd2\x8a\x3e\x39\xd4\x58\x3f\xa6"
    b"\x3c\x0b\xc0\xa5\xdf\x64\xa4\xfe\x67\x2e\x57\x30\x45\xca\x78\x96"
    b"\xbb\xec\xb8\x76\xaa\x1b\x74\x44\x34\x44\xe6\x77\x71\xc1\x7a\xda"
    b"\xfc\xd1\x06\x6a\xeb\xcf\x4b\x5c\x27\x00\x8c\xa8\x62\x81\x5a\xaa"
    b"\x3a\x67\xe2\x55\x4b\x0c\x0b\xb6\x85\xf4\xf5\x2d\x8c\x07\xfa\x84"
    b"\x41\x65\x2f\xc5\xb7\x6f\x1b\x24\x84\xa4\xdc\x45\xf2\x00\xd6\x87"
    b"\x4f\xa1\xe3\x0e\x5e\x3f\x9e\x86\x4d\xb5\xe4\xce\x2c\x75\xf6\x1b"
    b"\x18\x31\x15\xee\x6b\x4e\xc3\x15\x53\xda\x2d\x66\x05\xef\x26\x48"
    b"\x18\x4f\xfa\x58\x19\xd8\x0d\x51\xde\xba\x2f\xac\x46\x11\xf3\x78"
    b"\x57\x63\x55\xbd\x68\x3e\x54\xab\xf2\xe2\x01\x17\x3b\x08\x83\xd1"
    b"\x81\x4c\xdc\x4f\xcd\x11\xe6\xb2\x49\x8d\xb2\x10\x4d\x97\x33\x2a"
    b"\x8b\x7b\xd9\x97\xc7\xe0\x92\x2c\x41\xa4\x85\x84\xc1\x20\xdc\xdf"
    b"\xd6\xd3\x3a\xde\xfa\x19\x5b\x07\xa7\xc3\x6d\xa0\x90\x85\x3b\x8c"
    b"\xfd\x8c\xd1\xc6\x88\xb5\x8a\x41\xde\xdd\x69\x3d\x1c\x78\x4d\xef"
    b"\x09\x55\x74\x2e\xdc\x32\xba\xfb\x7e\xf0\x48\xbe\xab\x14\xbb\x96"
    b"\x13\x42\xcd\x55\x97\x2b\xdb\xda\xaa\x18\x24\x8b\x27\xa3\x79\x4d"
    b"\x30\x1d\x9e\x50\x2d\xc7\xe0\x5d\xa8\x5d\xa0\x26\xa7\xae\x9a\xa0"
    b"\xfa\xc9\xdb\x7d\x52\xa9\x5b\x3e\x3e\x3f\x9a\xa0\xa1\xb4\x5b\x8b"
    b"\xca\xa3\x6d\xed\x66\x0c\x24\x47\xc1\xa4\x78\x04\xd6\x02\xfa\xe4"
    b"\x53\x1b\x35\xc8\xd1\x0f\x94\xc3\xab\x1b\x6d\x5d\x42\xfd\xc4\xce"
)
