"""A serial port, opened so that the board behind it does not notice."""

import errno
import os
import re
from typing import Any

import serial
from serial import rfc2217
from serial.tools import list_ports

from twinslot.errors import FleetError

BAUD = 115200  # of MicroPython's console
_TIMEOUT_S = 10  # of one read or write
# MicroPython on the USB of an S2 or S3 may drop output without DTR, and no reset hangs on it there.
# Espressif's vendor id: from 0x4000 on programs, before it bridges, whose DTR and RTS do reset.
_ESPRESSIF, _PROGRAMS = 0x303A, 0x4000
# mpremote's short names: u0 is /dev/ttyUSB0.
_SHORT = {"a": "/dev/ttyACM", "u": "/dev/ttyUSB", "c": "COM"}


class CableError(FleetError):
    """The board behind the port cannot be asked, or did not do what it was asked."""


class PortError(CableError):
    """The port cannot be opened, or the connection was lost."""


class _Remote(rfc2217.Serial):  # type: ignore[misc]
    """A port of an RFC 2217 server, which has DTR and RTS in hand.

    Nothing is said of the two: esptool's server takes "RTS off" for the wish to reset the board.
    """

    @property
    def in_waiting(self) -> int:
        """Return how many bytes can be read. Raises SerialException when the connection is lost."""
        waiting: int = super().in_waiting
        if not waiting and not (self._thread and self._thread.is_alive()):
            raise serial.SerialException("the server hung up")
        return waiting

    def _update_dtr_state(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass


def resolve(port: str) -> str:
    """Return the port that one of mpremote's short names stands for; any other name as it is.

    a0, u0, c0 and so on, id:SERIAL_NUMBER, and auto: the one USB serial port, never the first of
    several, since some commands erase what they find. Raises PortError.
    """
    short = re.fullmatch(r"([auc])(\d+)", port)
    if short:
        return _SHORT[short[1]] + short[2]
    if port == "auto":
        found = sorted(info.device for info in list_ports.comports() if info.vid is not None)
    elif port.startswith("id:"):
        infos = list_ports.comports()
        found = sorted(info.device for info in infos if info.serial_number == port[3:])
    else:
        return port
    if len(found) != 1:
        there = ", ".join(found) or f"no such port. Serial ports here: {_serial_ports()}"
        raise PortError(f"{port} must stand for one USB serial port, and there is {there}")
    return str(found[0])


def open_quietly(port: str, baud: int = BAUD) -> Any:
    """Return a port, pyserial's object, open with DTR and RTS off, which resets no board.

    port: serial device, socket://HOST:PORT, rfc2217://HOST:PORT, or a short name (`resolve`).
    Raises PortError.
    """
    port = resolve(port)
    try:
        if port.lower().startswith("rfc2217://"):
            opened = _Remote(baudrate=baud, timeout=_TIMEOUT_S)  # a write waits 5 s
            opened.port = port
            opened.open()
            return opened
        opened = serial.serial_for_url(
            port,
            do_not_open=True,
            baudrate=baud,
            timeout=_TIMEOUT_S,
            write_timeout=_TIMEOUT_S,
            exclusive=True,
        )
        opened.rts = False
        opened.dtr = wants_dtr = _is_own_usb(port)
        # Linux switches both on. Development boards reset while RTS is on and DTR off, so RTS must
        # go first; pyserial begins with DTR, unless this option takes DTR out of its hands.
        opened.dsrdtr = os.name == "posix"
        opened.open()
        _set_dtr(opened, wants_dtr)
    except (OSError, ValueError) as error:
        raise PortError(complaint(port, error)) from error
    return opened


def _set_dtr(opened: Any, on: bool) -> None:
    try:
        opened.dtr = on
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):  # a pseudo-terminal has no such line
            raise


def _is_own_usb(port: str) -> bool:
    return any(
        info.vid == _ESPRESSIF and info.pid >= _PROGRAMS
        for info in list_ports.comports()
        if info.device == port
    )


def complaint(port: str, error: BaseException) -> str:
    """Return the sentence for what keeps a port closed. Pure, but for a list of the ports here."""
    code = getattr(error, "errno", None)
    if code == errno.EACCES:
        return (
            f"{port}: permission denied. Serial ports belong to a group, on Debian and Ubuntu "
            "dialout: `sudo usermod -aG dialout $USER`, then log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN):
        return f"{port} is in use; close the other program"
    if code == errno.ENOENT:
        return f"{port} does not exist. Serial ports here: {_serial_ports()}"
    if "does not seem to support RFC2217" in str(error):
        return f"{port}: no RFC 2217 server answers there; is it socket://?"
    return f"cannot open {port}: {error}"


def _serial_ports() -> str:
    return ", ".join(info.device for info in list_ports.comports()) or "none"
