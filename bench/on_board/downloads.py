"""The board's end of the benchmark: one function per kind of download, on any MicroPython.

Brought there as .mpy for a while. Each function prints its result as one line of JSON; times are
milliseconds from before the connection is opened.
"""

import gc
import json
import os
import socket
import sys
import time
from hashlib import sha256

from esp32 import Partition

SECTOR = 4096
FOLDER = "/bench"


def tell(**result):
    """Print a result."""
    sys.stdout.write(json.dumps(result) + "\n")


def since(start):
    """Return the milliseconds since `start`."""
    return time.ticks_diff(time.ticks_ms(), start)


def other_slot():
    """Return the partition of the idle slot."""
    return Partition(Partition.RUNNING).get_next_update()


def slot():
    """Tell the chip's id, as images hold it, and the most bytes that an image may have."""
    from ota import slots

    found = slots.Slots()
    tell(chip=found.running.chip_id(), capacity=found.other.capacity)


def slow_flash(erase, erase_64k, program):
    """Let a simulated flash chip take its time, milliseconds: a sector, 64 KB, a sector."""
    ioctl, write = Partition.ioctl, Partition.writeblocks

    def slow_ioctl(self, operation, argument):
        if operation == 6:
            time.sleep_ms(erase)
        return ioctl(self, operation, argument)

    def slow_write(self, block, buf, *offset):
        size = len(buf)
        if not offset:
            whole = size // 65536 if (self.info()[2] + block * SECTOR) % 65536 == 0 else 0
            time.sleep_ms(whole * erase_64k + (size - whole * 65536) // SECTOR * erase)
        time.sleep_ms(size * program // SECTOR)
        write(self, block, buf, *offset)

    Partition.ioctl, Partition.writeblocks = slow_ioctl, slow_write
    tell()


def prepare(keys):
    """Join the board's own Wi-Fi, and trust `keys` (PEM text) in a folder of the benchmark's."""
    import network
    import ota
    from ota import journal, slots

    found = slots.Slots()
    state = journal.Journal()
    if found.pending or state.phase != journal.NONE or state.result:
        raise ValueError("the board has an update in hand; let it end first")
    if journal.trust_version():
        raise ValueError("the board has a set of keys, which does not know this run's: flash it")
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    if not wlan.isconnected():
        wifi = ota.load_settings()["wifi"]
        wlan.connect(wifi["ssid"], wifi.get("password", ""))
        start = time.ticks_ms()
        while not wlan.isconnected():
            if since(start) > 30000:
                raise OSError("no Wi-Fi")
            time.sleep_ms(100)
    for folder in (FOLDER, FOLDER + "/etc"):
        try:
            os.mkdir(folder)
        except OSError:
            pass  # it is there already
    with open(FOLDER + "/etc/trusted_keys.pem", "w") as file:
        file.write(keys + "\n" + own_keys())  # the board's own verify what runs
    gc.collect()
    tell(
        chip=found.running.chip_id(),
        capacity=found.other.capacity,
        heap=gc.mem_free(),
        version=".".join([str(part) for part in sys.implementation[1][:3]]),
        platform=sys.platform,
    )


def own_keys():
    """Return the text of the board's own trusted keys, "" without any."""
    from ota import SettingsError, settings

    try:
        return settings.trusted_keys()
    except SettingsError:
        return ""


def clean_up():
    """Leave no trailer that speaks of an image which was never meant to run, and no files."""
    other = other_slot()
    other.ioctl(6, other.info()[3] // SECTOR - 1)
    os.remove(FOLDER + "/etc/trusted_keys.pem")
    os.rmdir(FOLDER + "/etc")
    os.rmdir(FOLDER)
    tell()


def connected(host, port):
    """Return a socket."""
    sock = socket.socket()
    sock.connect(socket.getaddrinfo(host, port)[0][-1])
    return sock


def fill(sock, view):
    """Read until `view` is full."""
    done = 0
    while done < len(view):
        count = sock.readinto(view[done:])
        if not count:
            raise OSError("the server closed the connection")
        done += count


def raw(host, port, size):
    """Read `size` bytes from a bare socket into a buffer of 4096 bytes; flash is left alone."""
    gc.collect()
    view = memoryview(bytearray(SECTOR))
    start = time.ticks_ms()
    sock = connected(host, port)
    left = size
    while left:
        count = sock.readinto(view[: min(SECTOR, left)])
        if not count:
            raise OSError("the server closed the connection")
        left -= count
    took = since(start)
    sock.close()
    tell(transfer=took, total=took)


def http(host, port, size):
    """Do as an ordinary updater: GET, write sector by sector, then read back and compare hashes."""
    gc.collect()
    other = other_slot()
    buf = bytearray(SECTOR)
    view = memoryview(buf)
    came = sha256()
    start = time.ticks_ms()
    sock = connected(host, port)
    sock.write(b"GET / HTTP/1.0\r\nHost: bench\r\n\r\n")
    while sock.readline() not in (b"\r\n", b""):
        pass
    for at in range(0, size, SECTOR):
        piece = view[: min(SECTOR, size - at)]
        fill(sock, piece)
        came.update(piece)
        other.writeblocks(at // SECTOR, buf)  # erases, then writes
    transfer = since(start)
    sock.close()
    there = sha256()
    for at in range(0, size, SECTOR):
        piece = view[: min(SECTOR, size - at)]
        other.readblocks(at // SECTOR, piece)
        there.update(piece)
    if came.digest() != there.digest():
        raise OSError("the slot does not hold what came")
    tell(transfer=transfer, total=since(start))


def agent(host, port, thing, settings, patience):
    """Let the agent take an update up to the moment when it asks for the reboot, and refuse it.

    settings: of the agent; patience: milliseconds. start: until the head is verified; transfer:
    from then to the last block; total: until the image is read back, hashed and has its trailer.
    """
    import ota
    import ota.settings
    from link import Link
    from ota.agent import Agent

    gc.collect()
    ota.settings.ROOT = FOLDER + "/"
    ended = []

    def on_event(event, detail):
        if event in (ota.EVENT_ACTIVATE, ota.EVENT_FAIL):
            ended.append((event, str(detail)))

    link = Link(thing, host, port, max_payload=settings.get("block_size", SECTOR) + 512)
    updater = Agent(link, thing, on_event, settings=settings)
    link.set_callback(updater.on_message)
    head = last = None
    start = time.ticks_ms()
    link.connect()
    updater.start()
    while not ended:
        link.check_msg(min(updater.step(), 50))
        progress = updater.progress
        if progress and last is None:
            if head is None and progress[0]:
                head = since(start)
            if progress[0] == progress[1]:
                last = since(start)
        if since(start) > patience:
            raise OSError("the update did not come to its end")
    total = since(start)
    if ended[0][0] != ota.EVENT_ACTIVATE:
        raise OSError(ended[0][1])
    updater.reject("measured")
    while updater.journal.result:
        link.check_msg(min(updater.step(), 50))
    link.disconnect()
    tell(start=head, transfer=last - head, total=total, dropped=updater.stats.dropped)
