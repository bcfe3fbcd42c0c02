"""What the classes of `errors` are called outside: to the job service, dashboards and tests. Pure.

word, sub: the error words of the 2019 FreeRTOS OTA agent (code << 24 | detail); prefix: which of
the agent's three forms of `reason` it is: "rejected: W", "aborted: W", or "W: S" without one.
"""

# Class, cause, prefix or -, word (hexadecimal), sub. One text, the smallest form on a chip.
ROWS = """
OtaError error - 27000000 0
StateError state - 27000000 0
SettingsError settings - 27000000 0
JobError bad_job - 24000000 5
EmptyFileError bad_job - 24000000 4
PackageError bad_package - 24000000 5
SignatureError bad_signature - 01000000 -2
UnknownKeyError unknown_key - 02000000 -3
MismatchError wrong_target - 24000000 5
TooLargeError too_large aborted 14000000 0
DataPathError data_path aborted 2d000000 0
ExpiredError expired rejected 22000000 0
DowngradeError old_sequence rejected 22000000 0
SameVersionError same_sequence rejected 23000000 0
FailedBeforeError failed_before rejected 23000000 0
BlockError bad_block - 27000000 -8
FlashError flash - 27000000 -9
FilesystemError filesystem - 27000000 -9
ArchiveError bad_archive - 24000000 5
SourceError source aborted 0d000000 0
ImageError bad_image - 11000000 -3
ActivateError activate aborted 04000000 0
MomentumError no_data aborted 21000020 0
SlowError too_slow aborted 21000020 0
AbortedError user aborted 28000000 0
RejectedError rejected rejected 00000000 0
RolledBackError rolled_back rejected 23000000 0
StateMismatchError state_mismatch rejected 26000000 0
ExtensionError extension - 24000000 5
"""


def cause_of(error):
    """Return the cause of an OtaError (str)."""
    return _row(error)[1]


def reason_of(error):
    """Return the `reason` of an OtaError (str)."""
    _, _, prefix, word, sub = _row(error)
    if prefix != "-":
        return "%s: 0x%s" % (prefix, word)
    return "0x%s: 0x%08x" % (word, int(sub) & 0xFFFFFFFF)


def _row(error):
    start = ROWS.index("\n%s " % type(error).__name__) + 1
    return ROWS[start : ROWS.index("\n", start)].split(" ")
