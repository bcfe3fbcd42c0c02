"""Compiled modules (.mpy): whether an interpreter would load them. Pure.

A .mpy begins with "M", its version, a byte of sub-version (bits 0 and 1) and architecture (bits 2
to 5), and the bits of a small integer (py/persistentcode.h). Bytecode alone, architecture 0, needs
the interpreter's version and no wider integers: version 6 is that of MicroPython 1.19 and every
later one. Native code needs its sub-version and architecture too, and an ESP32 with RISC-V loads
some since MicroPython 1.24.
"""

from dataclasses import dataclass

from twinslot.errors import FleetError
from twinslot.formats import releases
from twinslot.formats.chips import CHIPS, RISC_V, XTENSA

_VERSION = 6
_SMALL_INT_BITS = 31  # of a 32-bit chip
_NATIVE = {XTENSA: 10, RISC_V: 11}  # mpy-cross's -march, the header's architecture
_NATIVE_RISC_V = (1, 24)


class MpyError(FleetError):
    """A module cannot be compiled, or not loaded where it is going to."""


@dataclass(frozen=True)
class Target:
    """The interpreter that is to load modules.

    `chip` by esptool's name; `micropython` as major and minor number, None when it is not known.
    """

    chip: str
    micropython: tuple[int, int] | None = None

    @property
    def march(self) -> str:
        """The architecture of native code, in mpy-cross's words."""
        return CHIPS[self.chip].march

    @property
    def sub_version(self) -> int | None:
        """The sub-version that native code must have; None when it is not known."""
        if self.micropython is None:
            return None
        return 2 if self.micropython < (1, 23) else 3


def target(chip: str, version: str | None) -> Target:
    """The interpreter of a firmware whose image says it is MicroPython `version` ("v1.26.1").

    Raises MpyError for a version that the agent does not run on, or none at all.
    """
    release = releases.of(version)
    if release is None:
        raise MpyError(
            "the firmware names no version of MicroPython, so its version of .mpy is unknown; "
            "leave the modules as source"
        )
    if release < releases.OLDEST:
        oldest = releases.text(releases.OLDEST)
        raise MpyError(f"the firmware is MicroPython {version}; the agent needs {oldest} or newer")
    return Target(chip, release)


def check(path: str, data: bytes, target: Target) -> None:
    """Raise MpyError unless the target would load the module `data`, called `path`."""
    if len(data) < 4 or data[:1] != b"M":
        raise MpyError(f"{path} is no .mpy: it does not begin with M")
    if data[1] != _VERSION or data[3] > _SMALL_INT_BITS:
        raise MpyError(
            f"{path} is of .mpy version {data[1]} with small integers of {data[3]} bits; the board "
            f"loads version {_VERSION} with {_SMALL_INT_BITS} at most: compile it again"
        )
    architecture = data[2] >> 2 & 15
    if architecture == 0:
        return
    if architecture != _NATIVE[target.march]:
        raise MpyError(f"{path} has native code, but not {target.march}, which {target.chip} runs")
    if target.micropython is None:
        raise MpyError(
            f"{path} has native code, whose form depends on MicroPython's version: give the "
            "firmware as well, or leave the module as source"
        )
    running = releases.text(target.micropython)
    if target.march == RISC_V and target.micropython < _NATIVE_RISC_V:
        raise MpyError(
            f"{path} has native code, which MicroPython {running} does not load on {target.chip}; "
            "leave the module as source"
        )
    if data[2] & 3 != target.sub_version:
        raise MpyError(
            f"{path} has native code of .mpy version {_VERSION}.{data[2] & 3}; MicroPython "
            f"{running} loads {_VERSION}.{target.sub_version}: compile it again"
        )
