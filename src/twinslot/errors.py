"""The root of every error this package raises on purpose.

The command line prints the sentence and exits with `exit_code`; nothing else is caught there, so a
programming mistake still shows its traceback.
"""


class FleetError(Exception):
    """Something was refused or failed; the text is one sentence that says what to do."""

    exit_code = 1


class ConfigError(FleetError):
    """fleet.toml, or a file that it names, is missing or wrong."""

    exit_code = 3


class PackageError(FleetError):
    """The bytes, or the values to write, break a rule of the package format."""


class EncodingError(PackageError):
    """The stored bytes of a component break a rule of their encoding."""


class BaseMismatchError(PackageError):
    """A delta needs a base, and the bytes that were given are not that base."""


class UnreachableError(FleetError):
    """No service answers at the endpoint."""

    exit_code = 4


class InterruptedByUserError(FleetError):
    """Ctrl-C ended a command; the text says what goes on without it. 128 + SIGINT, as in shells."""

    exit_code = 130
