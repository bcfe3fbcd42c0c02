"""Every way an update can fail, with the words a job service and a person get to read.

A check raises where it fails; nothing passes a boolean up. Each class carries
- `word`, `sub`: the error words of the 2019 FreeRTOS OTA agent (code << 24 | detail),
- `prefix`: which of the agent's three forms of `reason`: "rejected: W", "aborted: W", "W: S",
- `cause`: one word for dashboards and tests.
The exception's text is one sentence for people.
"""

_NON_CONFORMING = 0x00000005
_SIGNATURE_CHECK = -2
_FILE_CLOSE = -3
_BLOCK_OUT_OF_RANGE = -7
_BAD_DATA = -8
_WRITE_FAILED = -9


class OtaError(Exception):
    """An update, or a call to the agent, that cannot go on."""

    word = 0x27000000
    sub = 0
    prefix = ""
    cause = "error"

    def reason(self):
        """Return the `reason` of statusDetails in the form of the 2019 agent (V1.0.4)."""
        if self.prefix:
            return "%s: 0x%08x" % (self.prefix, self.word)
        return "0x%08x: 0x%08x" % (self.word, self.sub & 0xFFFFFFFF)


class StateError(OtaError):
    """The call is not legal in the agent's present state. Ends no job."""

    cause = "state"


class SettingsError(OtaError):
    """A setting is missing or wrong. Ends no job."""

    cause = "settings"


class JobError(OtaError):
    """A job document that cannot be carried out. job_id: the job to fail, None without one."""

    job_id = None
    word = 0x24000000
    sub = _NON_CONFORMING
    cause = "bad_job"


class PackageError(OtaError):
    """The head of the package breaks the format."""

    word = 0x24000000
    sub = _NON_CONFORMING
    cause = "bad_package"


class SignatureError(OtaError):
    """The signature does not belong to these bytes and this key."""

    word = 0x01000000
    sub = _SIGNATURE_CHECK
    cause = "bad_signature"


class UnknownKeyError(OtaError):
    """The package is signed by a key this board does not trust."""

    word = 0x02000000
    sub = _FILE_CLOSE
    cause = "unknown_key"


class MismatchError(OtaError):
    """A genuine package, but for another product, chip or bootloader."""

    word = 0x24000000
    sub = _NON_CONFORMING
    cause = "wrong_target"


class TooLargeError(OtaError):
    """The image does not fit the slot."""

    word = 0x14000000
    prefix = "aborted"
    cause = "too_large"


class ExpiredError(OtaError):
    """The package's own date says that it must no longer be installed."""

    word = 0x22000000
    prefix = "rejected"
    cause = "expired"


class DowngradeError(OtaError):
    """The package's sequence lies below what this board has already accepted."""

    word = 0x22000000
    prefix = "rejected"
    cause = "old_sequence"


class SameVersionError(OtaError):
    """The package's sequence is the one that already runs."""

    word = 0x23000000
    prefix = "rejected"
    cause = "same_sequence"


class BlockError(OtaError):
    """A block that cannot be read."""

    sub = _BAD_DATA
    cause = "bad_block"


class BlockRangeError(BlockError):
    """A block of the wrong size, or outside the file."""

    sub = _BLOCK_OUT_OF_RANGE


class FlashError(OtaError):
    """The flash would not read, erase or write."""

    sub = _WRITE_FAILED
    cause = "flash"


class ImageError(OtaError):
    """What was received is not what the manifest promised."""

    word = 0x11000000
    sub = _FILE_CLOSE
    cause = "bad_image"


class ActivateError(OtaError):
    """The chip refused to boot the new slot."""

    word = 0x04000000
    prefix = "aborted"
    cause = "activate"


class MomentumError(OtaError):
    """The service answers, but the stream stays silent."""

    word = 0x21000020
    prefix = "aborted"
    cause = "no_data"


class AbortedError(OtaError):
    """The application gave the update up."""

    word = 0x28000000
    prefix = "aborted"
    cause = "user"


class RejectedError(OtaError):
    """The application refused the image."""

    word = 0x00000000
    prefix = "rejected"
    cause = "rejected"


class RolledBackError(OtaError):
    """The new image did not prove itself; the old one runs again."""

    word = 0x23000000
    prefix = "rejected"
    cause = "rolled_back"

    def __init__(self, text, cause="rolled_back"):
        super().__init__(text)
        self.cause = cause


class StateMismatchError(OtaError):
    """The job says that a test is running, the flash says that none is."""

    word = 0x26000000
    prefix = "rejected"
    cause = "state_mismatch"
