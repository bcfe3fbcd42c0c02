"""Certificates of light boards and of the bare publisher, for a broker that wants them.

They share one key, which saves the time of making thousands; the names are what the broker looks
at.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import ssl
from collections.abc import Iterable
from pathlib import Path

from bench.fleet.orders import BARE
from demo.stack import Stack
from twinslot import disk
from twinslot.gate import Paths
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority

HOST = "127.0.0.1"
_LIFE = dt.timedelta(days=1)


def issue(stack: Stack, things: Iterable[str], bare: str) -> Path:
    """Write a certificate for each thing, and one for the bare publisher, in a folder of the run.

    The broker gets a line more in its access list: what the bare publisher and its boards say.
    """
    folder = stack.folder / "identities"
    folder.mkdir()
    authority = Authority(stack.folder / "ca")
    shutil.copy(authority.path, folder / "ca.pem")
    key = keys.generate()
    secret = certificates.private_pem(key)
    signing, now = authority.key, dt.datetime.now(dt.UTC)
    for name in (*things, bare):
        made = certificates.client(
            authority.certificate, signing, name, key.public_key(), begin=now - _LIFE,
            end=now + _LIFE,
        )  # fmt: skip
        disk.replace(folder / f"{name}.pem", secret + certificates.pem(made), disk.SECRET)
    broker = Paths(stack.config.broker_folder)
    with broker.acl.open("a") as acl:
        acl.write(f"\nuser {bare}\ntopic readwrite {BARE}/#\n")
        acl.write(f"\npattern readwrite {BARE}/things/%u/#\n")
    os.kill(stack.broker_pid, signal.SIGHUP)
    return folder


def context(folder: str, name: str) -> ssl.SSLContext | None:
    """Return how `name` proves that it is itself; None without a folder, and without TLS."""
    if not folder:
        return None
    made = ssl.create_default_context(cafile=Path(folder) / "ca.pem")
    made.load_cert_chain(Path(folder) / f"{name}.pem")
    return made
