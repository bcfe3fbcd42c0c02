"""ECDSA verification on NIST P-256 (FIPS 186-5, SEC 1) with Python's integers.

Only public data passes through here, so nothing needs constant time. Points are Jacobian triples
(x, y, z), None is the point at infinity. u1*G + u2*Q runs in one pass over both scalars in width-5
non-adjacent form: 256 shared doublings, some 43 additions each. The odd multiples of G are
constants, those of Q are made on the fly.
"""

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

# G, 3G, 5G, ... 15G: x and y, 32 bytes each, big-endian.
_ODD_G = (
    bytes.fromhex(
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ),
    bytes.fromhex(
        "5ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c"
        "8734640c4998ff7e374b06ce1a64a2ecd82ab036384fb83d9a79b127a27d5032"
    ),
    bytes.fromhex(
        "51590b7a515140d2d784c85608668fdfef8c82fd1f5be52421554a0dc3d033ed"
        "e0c17da8904a727d8ae1bf36bf8a79260d012f00d4d80888d1d0bb44fda16da4"
    ),
    bytes.fromhex(
        "8e533b6fa0bf7b4625bb30667c01fb607ef9f8b8a80fef5b300628703187b2a3"
        "73eb1dbde03318366d069f83a6f5900053c73633cb041b21c55e1a86c1f400b4"
    ),
    bytes.fromhex(
        "ea68d7b6fedf0b71878938d51d71f8729e0acb8c2c6df8b3d79e8a4b90949ee0"
        "2a2744c972c9fce787014a964a8ea0c84d714feaa4de823fe85a224a4dd048fa"
    ),
    bytes.fromhex(
        "3ed113b7883b4c590638379db0c21cda16742ed0255048bf433391d374bc21d1"
        "9099209accc4c8a224c843afa4f4c68a090d04da5e9889dae2f8eefce82a3740"
    ),
    bytes.fromhex(
        "177c837ae0ac495a61805df2d85ee2fc792e284b65ead58a98e15d9d46072c01"
        "63bb58cd4ebea558a24091adb40f4e7226ee14c3a1fb4df39c43bbe2efc7bfd8"
    ),
    bytes.fromhex(
        "f0454dc6971abae7adfb378999888265ae03af92de3a0ef163668c63e59b9d5f"
        "b5b93ee3592e2d1f4e6594e51f9643e62a3b21ce75b5fa3f47e59cde0d034f36"
    ),
)


def verify(public_key, digest, signature):
    """Say whether `signature` over `digest` belongs to `public_key`.

    public_key: 64 bytes x || y; digest: 32 bytes (SHA-256); signature: 64 bytes r || s.
    Returns False for anything that is no point of the curve or out of range.
    """
    if len(public_key) != 64 or len(digest) != 32 or len(signature) != 64:
        return False
    x, y = _pair(public_key)
    r, s = _pair(signature)
    if not (0 < r < N and 0 < s < N and _on_curve(x, y)):
        return False
    w = pow(s, N - 2, N)
    point = _joint(int.from_bytes(digest, "big") * w % N, r * w % N, (x, y, 1))
    if point is None:
        return False
    # r == affine x (mod N), compared without leaving projective coordinates.
    x, _, z = point
    zz = z * z % P
    return (r * zz - x) % P == 0 or (r + N < P and ((r + N) * zz - x) % P == 0)


def _pair(data):
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")


def _on_curve(x, y):
    return x < P and y < P and (y * y - (x * x - 3) * x - B) % P == 0


def _joint(u1, u2, q):
    """Return u1*G + u2*q."""
    odd_q = [q]
    twice = _double(q)
    for _ in range(7):
        odd_q.append(_add(odd_q[-1], twice))
    digits_g = _non_adjacent(u1)
    digits_q = _non_adjacent(u2)
    point = None
    for i in range(max(len(digits_g), len(digits_q)) - 1, -1, -1):
        if point is not None:
            point = _double(point)
        if i < len(digits_g) and digits_g[i]:
            digit = _signed(digits_g[i])
            x, y = _pair(_ODD_G[abs(digit) >> 1])
            point = _add(point, (x, y if digit > 0 else P - y, 1))
        if i < len(digits_q) and digits_q[i]:
            digit = _signed(digits_q[i])
            x, y, z = odd_q[abs(digit) >> 1]
            point = _add(point, (x, y if digit > 0 else P - y, z))
    return point


def _non_adjacent(scalar):
    """Return the width-5 digits of `scalar`, least significant first: 0 or odd, modulo 32."""
    digits = bytearray()
    while scalar:
        digit = 0
        if scalar & 1:
            digit = scalar & 31
            scalar -= _signed(digit)
        digits.append(digit)
        scalar >>= 1
    return digits


def _signed(digit):
    return digit - 32 if digit > 16 else digit


def _double(point):
    """Return 2 * point (dbl-2001-b, a = -3)."""
    x, y, z = point
    delta = z * z % P
    gamma = y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    z3 = ((y + z) * (y + z) - gamma - delta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, z3


def _add(p, q):
    """Return p + q; p may be the point at infinity, q may not. Cheaper when q's z is 1."""
    if p is None:
        return q
    x1, y1, z1 = p
    x2, y2, z2 = q
    zz = z1 * z1 % P
    x2 = x2 * zz % P
    y2 = y2 * z1 * zz % P
    z3 = z1
    if z2 != 1:
        zz = z2 * z2 % P
        x1 = x1 * zz % P
        y1 = y1 * z2 * zz % P
        z3 = z1 * z2
    h = x2 - x1
    r = y2 - y1
    if h == 0:
        return _double(p) if r == 0 else None
    hh = h * h % P
    hhh = h * hh % P
    v = x1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y1 * hhh) % P, h * z3 % P
