"""ECDSA verification on P-256 as a textbook has it: the yardstick for ota.p256.

Jacobian coordinates, the tables of 1..15 times G and of 1..15 times the key both built on the fly,
one joint pass over digits of four bits. The inverse is ota.p256's own, which is no part of what is
compared. For valid input only.
"""

from ota.p256 import _inverse

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)


def verify(public_key, digest, signature):
    """As ota.p256.verify."""
    x, y = int.from_bytes(public_key[:32], "big"), int.from_bytes(public_key[32:], "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    w = _inverse(s, N)
    x, z = joint(int.from_bytes(digest, "big") * w % N, r * w % N, (x, y, 1))
    return (r * z * z - x) % P == 0


def joint(u1, u2, q):
    """Return x and z of u1*G + u2*q."""
    table_g = multiples(G)
    table_q = multiples(q)
    point = None
    for shift in range(252, -1, -4):
        if point is not None:
            for _ in range(4):
                point = double(point)
        digit = u1 >> shift & 15
        if digit:
            point = add(point, table_g[digit])
        digit = u2 >> shift & 15
        if digit:
            point = add(point, table_q[digit])
    return point[0], point[2]


def multiples(point):
    """Return [None, point, 2*point, ... 15*point]."""
    table = [None, point, double(point)]
    for _ in range(13):
        table.append(add(table[-1], point))
    return table


def double(p):
    """Return 2*p."""
    x, y, z = p
    zz = z * z % P
    yy = y * y % P
    s = 4 * x * yy % P
    m = 3 * (x - zz) * (x + zz) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def add(p, q):
    """Return p + q; p may be None, the point at infinity."""
    if p is None:
        return q
    x1, y1, z1 = p
    x2, y2, z2 = q
    zz1 = z1 * z1 % P
    zz2 = z2 * z2 % P
    u1 = x1 * zz2 % P
    s1 = y1 * zz2 * z2 % P
    h = x2 * zz1 % P - u1
    r = y2 * zz1 * z1 % P - s1
    if h == 0:
        return double(p) if r == 0 else None
    hh = h * h % P
    hhh = h * hh % P
    v = u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P
