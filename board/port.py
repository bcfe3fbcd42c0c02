"""A serial port, opened so that the board behind it does not notice."""

import errno
import os
from typing import Any

import serial
from serial.tools import list_ports

from fleet.errors import FleetError

BAUD = 115200  # of MicroPython's console
_TIMEOUT_S = 10  # of one read or write
# MicroPython on the USB of an S2 or S3 may drop output without DTR, and no reset hangs on it there.
# Espressif's vendor id: from 0x4000 on programs, before it bridges, whose DTR and RTS do reset.
_ESPRESSIF, _PROGRAMS = 0x303A, 0x4000


class CableError(FleetError):
    """The board behind the port cannot be asked, or did not do what it was asked."""


class PortError(CableError):
    """The port cannot be opened, or the connection was lost."""


def open_quietly(port: str, baud: int = BAUD) -> Any:
    """Return a port, pyserial's object, open with DTR and RTS off, which resets no board.

    port: serial device, socket://HOST:PORT or rfc2217://HOST:PORT. Raises PortError.
    """
    try:
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
        raise PortError(_complaint(port, error)) from error
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


def _complaint(port: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EACCES:
        return (
            f"{port}: permission denied. Serial ports belong to a group, on Debian and Ubuntu "
            "dialout: `sudo usermod -aG dialout $USER`, then log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN):
        return f"{port} is in use; close the other program"
    if code == errno.ENOENT:
        names = ", ".join(info.device for info in list_ports.comports()) or "none"
        return f"{port} does not exist. Serial ports here: {names}"
    return f"cannot open {port}: {error}"
