"""Every way an update can fail, with the words a job service and a person get to read.

A check raises where it fails; nothing passes a boolean up. Each class carries
- `word`, `sub`: the error words of the 2019 FreeRTOS OTA agent (code << 24 | detail),
- `prefix`: which of the agent's three forms of `reason`: "rejected: W", "aborted: W", "W: S",
- `cause`: one word for dashboards and tests.
The exception's text is one sentence for people.

A class is made when it is first asked for: all of them would take 7 KB of a chip's heap.
"""

# name, base, cause, prefix or -, word, sub. What each means: docs/error-words.md. One text, because
# it is the smallest form on a chip.
_CLASSES = """\
StateError OtaError state - 27000000 0
SettingsError OtaError settings - 27000000 0
JobError OtaError bad_job - 24000000 5
PackageError OtaError bad_package - 24000000 5
SignatureError OtaError bad_signature - 01000000 -2
UnknownKeyError OtaError unknown_key - 02000000 -3
MismatchError OtaError wrong_target - 24000000 5
TooLargeError OtaError too_large aborted 14000000 0
DataPathError OtaError data_path aborted 2d000000 0
ExpiredError OtaError expired rejected 22000000 0
DowngradeError OtaError old_sequence rejected 22000000 0
SameVersionError OtaError same_sequence rejected 23000000 0
BlockError OtaError bad_block - 27000000 -8
FlashError OtaError flash - 27000000 -9
FilesystemError FlashError filesystem - 27000000 -9
ArchiveError OtaError bad_archive - 24000000 5
SourceError OtaError source aborted 0d000000 0
ImageError OtaError bad_image - 11000000 -3
ActivateError OtaError activate aborted 04000000 0
MomentumError OtaError no_data aborted 21000020 0
AbortedError OtaError user aborted 28000000 0
RejectedError OtaError rejected rejected 00000000 0
RolledBackError OtaError rolled_back rejected 23000000 0
StateMismatchError OtaError state_mismatch rejected 26000000 0
ExtensionError OtaError extension - 24000000 5
"""


class OtaError(Exception):
    """An update, or a call to the agent, that cannot go on.

    job_id: the job to fail with it, None unless a document that cannot be read names one.
    """

    word = 0x27000000
    sub = 0
    prefix = ""
    cause = "error"
    job_id = None

    def reason(self):
        """Return the `reason` of statusDetails in the form of the 2019 agent (V1.0.4)."""
        if self.prefix:
            return "%s: 0x%08x" % (self.prefix, self.word)
        return "0x%08x: 0x%08x" % (self.word, self.sub & 0xFFFFFFFF)


def __getattr__(name):
    """Make the class `name` (PEP 562)."""
    for line in _CLASSES.split("\n"):
        if line.startswith(name + " "):
            _, base, cause, prefix, word, sub = line.split(" ")
            break
    else:
        raise AttributeError(name)
    values = {"cause": cause, "word": int(word, 16), "sub": int(sub), "__module__": __name__}
    values["prefix"] = "" if prefix == "-" else prefix
    globals()[name] = made = type(name, (globals().get(base) or __getattr__(base),), values)
    return made


def names():
    """Return the names of all classes (list of str)."""
    return [line.split(" ")[0] for line in _CLASSES.splitlines()] + ["OtaError"]
