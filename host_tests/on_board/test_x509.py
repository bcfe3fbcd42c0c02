"""The board takes the key and the dates of a certificate, and survives whatever else lies there."""

import random
from binascii import b2a_base64, unhexlify

import vectors
from expect import raises
from ota import x509

SEED = 20261204


def rows():
    """(comment, DER, what `parse` returns, what a refusal says instead) of each vector."""
    for comment, der, key, before, after, fault in vectors.load("x509.json")["tests"]:
        key = (unhexlify(key[0]), key[1]) if isinstance(key, list) else unhexlify(key)
        yield comment, unhexlify(der), (key, before, after), fault


def der_of(name):
    for comment, der, _, _ in rows():
        if comment == name:
            return der
    raise AssertionError(name)


def pem(der, newline="\n"):
    text = b2a_base64(der).decode().strip()
    lines = [text[i : i + 64] + newline for i in range(0, len(text), 64)]
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return (begin + newline + "".join(lines) + end + newline).encode()


def refused(data):
    return str(raises(ValueError, x509.parse, data))


def element(tag, *parts):
    """Return an element of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def number(data):
    """Return an INTEGER, from its bytes."""
    return element(0x02, b"\x00" if data[0] & 0x80 else b"", data)


def certificate(modulus=b"\xc5" * 256, exponent=b"\x01\x00\x01", unused=0, more=""):
    """Return a certificate of an RSA key. unused: bits; more: where an element is too many."""

    def extra(place):
        return element(0x05) if place == more else b""

    def sequence(place, *parts):
        return element(0x30, *parts, extra(place))

    name = element(0x30)
    date = element(0x17, b"240229123456Z")
    rsa = element(0x30, unhexlify("06092a864886f70d0101010500"))
    numbers = sequence("numbers", number(modulus), number(exponent))
    key = element(0x03, bytes([unused]), numbers, extra("key"))
    signed = element(
        0x30,
        number(b"\x01"),
        name,
        name,
        sequence("validity", date, date),
        name,
        sequence("info", rsa, key),
        element(0xA3),
    )
    return sequence("certificate", signed, name, element(0x03, b"\x00")) + extra("outer")


def test_key_and_dates_of_every_certificate_are_read_or_the_refusal_says_why():
    for comment, der, said, fault in rows():
        if fault:
            assert fault in refused(der), comment
        else:
            assert x509.parse(der) == said, comment


def test_pem_and_der_are_one():
    der = der_of("P-256")
    assert x509.parse(pem(der)) == x509.parse(der)
    assert x509.parse(pem(der, "\r\n")) == x509.parse(der)
    assert x509.parse(b"subject=CN = signer\n" + pem(der)) == x509.parse(der)
    assert x509.parse(pem(der) + pem(der_of("RSA 2048"))) == x509.parse(der), "the first counts"


def test_a_file_without_a_certificate_is_refused():
    key = pem(der_of("P-256")).replace(b"CERTIFICATE", b"PUBLIC KEY")
    for data in (b"", b"\n", b"no certificate", key):
        assert "no certificate" in refused(data)
    assert "END" in refused(pem(der_of("P-256"))[:-30])
    refused(b"\xff\xfe\x00")


def test_a_certificate_cut_short_at_any_byte_is_refused():
    for name in ("P-256", "RSA 2048"):
        der = der_of(name)
        for length in range(len(der)):
            refused(der[:length])


def test_a_certificate_with_something_behind_it_is_refused():
    assert "behind its end" in refused(der_of("P-256") + b"\x00")


def test_a_changed_byte_is_refused_or_changes_what_is_read_there_and_nothing_else():
    random.seed(SEED)
    for name in ("P-256", "RSA 2048"):
        der = der_of(name)
        key, *dates = x509.parse(der)
        numbers = [key] if name == "P-256" else [key[0], key[1].to_bytes(3, "big")]
        places = [(der.index(number), len(number)) for number in numbers]
        valid = der.index(b"240229123456Z")
        read = 0
        for at in range(len(der)):
            changed = bytearray(der)
            for value in (0, 0x7F, 0x80, 0x84, 0xFF, random.getrandbits(8)):
                changed[at] = value
                try:
                    found = x509.parse(bytes(changed))
                except ValueError:
                    assert value != der[at], at
                    continue
                read += 1
                there = [bytes(changed[start : start + size]) for start, size in places]
                key = there[0] if name == "P-256" else (there[0], int.from_bytes(there[1], "big"))
                assert found[0] == key, (name, at, value)
                if not valid <= at < valid + 28:  # two dates, with the head of the second
                    assert list(found[1:]) == dates, (name, at, value)
        assert 0 < read < 6 * len(der), "some are read, and some refused"


def test_elements_cut_short_or_stretched_within_are_refused():
    der = der_of("P-256")
    # Outer SEQUENCE 30 82 LL LL, then the signed part 30 82 LL LL.
    for at in (2, 3, 6, 7):
        for change in (-1, 1):
            changed = bytearray(der)
            changed[at] = (changed[at] + change) & 0xFF
            refused(bytes(changed))


def test_a_certificate_has_no_element_too_many():
    assert x509.parse(certificate())[0] == (b"\xc5" * 256, 65537)
    for place in ("outer", "certificate", "validity", "info", "key", "numbers"):
        assert "goes on behind its end" in refused(certificate(more=place)), place


def test_a_key_of_rsa_has_2048_to_4096_bits_in_whole_bytes_and_an_exponent_of_64():
    for size in (256, 257, 512):
        assert x509.parse(certificate(b"\x80" + bytes(size - 1)))[0][0] == b"\x80" + bytes(size - 1)
    for modulus in (b"\xff" * 255, b"\xff" * 513, b"\x7f" + b"\xff" * 255):
        assert "2048 to 4096 bits" in refused(certificate(modulus))
    for exponent, value in ((b"\x03", 3), (b"\x81", 0x81), (b"\xff" * 8, (1 << 64) - 1)):
        assert x509.parse(certificate(exponent=exponent))[0][1] == value
    for exponent in (b"\x01", b"\x02", b"\x01\x00", b"\x01" * 9):
        assert "even, 1 or above 64 bits" in refused(certificate(exponent=exponent))
    for unused in (1, 7, 8):
        assert "not whole bytes" in refused(certificate(unused=unused))


def test_an_element_says_at_which_byte_it_is_wrong():
    for text, says in (
        ("3007020101020101", "ends too early: an element at byte 0 is longer"),
        ("300602010102030201", "goes on behind its end at byte 8"),
        ("3006020101020302", "ends too early: an element at byte 5 is longer"),
        ("3006020101040102", "no element 0x02 at byte 5"),
        ("30810402010102", "an impossible length at byte 0"),
        ("3006020100020102", "not positive, or spelled too long"),
        ("300702020001020102", "not positive, or spelled too long"),
    ):
        said = str(raises(ValueError, x509.ecdsa_signature, unhexlify(text)))
        assert says in said, (text, said)


def test_lengths_are_spelled_in_one_way_only():
    good = unhexlify("3006020101020102")
    assert x509.ecdsa_signature(good) == bytes(31) + b"\x01" + bytes(31) + b"\x02"
    for text in (
        "308106020101020102",  # long form of a short length
        "30820006020101020102",
        "3080020101020102",  # indefinite
        "3080020101020102" + "0000",
        "3083000006020101020102",  # three bytes of length
        "30ff020101020102",
    ):
        raises(ValueError, x509.ecdsa_signature, unhexlify(text))


def test_numbers_are_positive_and_spelled_in_one_way_only():
    for number in ("0200", "020100", "020181", "0202007f", "02020000", "0203000080"):
        body = number + "020101"
        text = "30%02x%s" % (len(body) // 2, body)
        raises(ValueError, x509.ecdsa_signature, unhexlify(text))
    body = "02020080" + "0201" + "7f"
    assert x509.ecdsa_signature(unhexlify("3007" + body))[31] == 0x80


def test_a_signature_has_two_numbers_of_at_most_32_bytes():
    most = "022100" + "ff" * 32
    assert x509.ecdsa_signature(unhexlify("3046" + most + most)) == b"\xff" * 64
    for large in ("0221" + "7f" * 33, "022200" + "ff" * 33):
        pair = large + "020101"
        text = "30%02x" % (len(pair) // 2) + pair
        error = raises(ValueError, x509.ecdsa_signature, unhexlify(text))
        assert "too large for P-256" in str(error)
    for text in (
        "",
        "30",
        "3000",
        "3003020101",
        "3009020101020101020101",
        "3047" + most + "022200" + "ff" * 33,
        "3026" + "0221" + "7f" * 33 + "020101",
        "3106020101020102",
        "3006020101040102",
        "300602010102010200",
    ):
        raises(ValueError, x509.ecdsa_signature, unhexlify(text))


def test_dates_have_one_form_only():
    der = der_of("P-256")
    date = b"240229123456Z"
    assert der.count(date) == 1
    for other in (b"240229123456+", b"2402291234560", b"24022912345 Z", b"-40229123456Z"):
        assert "date" in refused(der.replace(date, other))


def test_exponents_that_are_even_one_or_huge_are_refused():
    der = der_of("RSA 2048")
    number = unhexlify("0203010001")
    assert der.count(number) == 1
    for other in ("0203010000", "0203010002"):
        assert "exponent" in refused(der.replace(number, unhexlify(other)))
    der = der_of("RSA 2048, exponent 3")
    # The exponent is the last thing of the key: 02 01 03 in front of the extensions.
    at = der.index(unhexlify("020103a3"))
    for other in (b"\x01", b"\x02"):
        assert "exponent" in refused(der[: at + 2] + other + der[at + 3 :])
