"""Hosts and ports as people write them."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """A TCP address; port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """HOST:PORT as an Address; IPv6 stands in brackets. Raises ValueError, a sentence."""
    host, colon, port = text.rpartition(":")
    if "://" in text:
        raise ValueError(f"{text!r} has a scheme, {text.partition('://')[0]}://; give HOST:PORT")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(parse_host(host), int(port))


def is_local(host: str) -> bool:
    """Say whether a host means the machine that asks, or no other can reach it by this name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".").lower().rpartition(".")[2] == "localhost"
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified


def parse_host(text: str) -> str:
    """A name or an address, without brackets. Raises ValueError, a sentence, for anything else."""
    bare = text[1:-1] if text[:1] + text[-1:] == "[]" else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    scheme, found, _ = text.partition("://")
    if found:
        raise ValueError(f"{text!r} has a scheme, {scheme}://; give the name or address alone")
    if ":" in text:
        raise ValueError(
            f"{text!r} has a port; give the name or address alone, the port has a place of its own"
        )
    if not text or not text.isprintable() or set(text) & set(" /?#@[]\\\"'"):
        raise ValueError(f"{text!r} is no host, which is a name or an address")
    return text
