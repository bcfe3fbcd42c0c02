"""Errors read, in `reason`, as the 2019 FreeRTOS agent (V1.0.4) spells them."""

from ota import errors, words

# FreeRTOS OTA agent V1.0.4: what it publishes as `reason` when a job fails.
REASONS = (
    (errors.JobError, "0x24000000: 0x00000005"),
    (errors.EmptyFileError, "0x24000000: 0x00000004"),
    (errors.PackageError, "0x24000000: 0x00000005"),
    (errors.MismatchError, "0x24000000: 0x00000005"),
    (errors.SignatureError, "0x01000000: 0xfffffffe"),
    (errors.UnknownKeyError, "0x02000000: 0xfffffffd"),
    (errors.TooLargeError, "aborted: 0x14000000"),
    (errors.DataPathError, "aborted: 0x2d000000"),
    (errors.ExpiredError, "rejected: 0x22000000"),
    (errors.DowngradeError, "rejected: 0x22000000"),
    (errors.FailedBeforeError, "rejected: 0x23000000"),
    (errors.SameVersionError, "rejected: 0x23000000"),
    (errors.BlockError, "0x27000000: 0xfffffff8"),
    (errors.FlashError, "0x27000000: 0xfffffff7"),
    (errors.FilesystemError, "0x27000000: 0xfffffff7"),
    (errors.ArchiveError, "0x24000000: 0x00000005"),
    (errors.SourceError, "aborted: 0x0d000000"),
    (errors.ImageError, "0x11000000: 0xfffffffd"),
    (errors.ActivateError, "aborted: 0x04000000"),
    (errors.SlowError, "aborted: 0x21000020"),
    (errors.MomentumError, "aborted: 0x21000020"),
    (errors.AbortedError, "aborted: 0x28000000"),
    (errors.RejectedError, "rejected: 0x00000000"),
    (errors.RolledBackError, "rejected: 0x23000000"),
    (errors.StateMismatchError, "rejected: 0x26000000"),
    (errors.ExtensionError, "0x24000000: 0x00000005"),
)
# End no job.
OTHERS = (errors.OtaError, errors.StateError, errors.SettingsError)


def every_class():
    classes = [getattr(errors, row.split(" ")[0]) for row in words.ROWS.strip().split("\n")]
    assert len(classes) > 15
    return classes


def test_every_error_that_ends_a_job_has_the_agents_reason():
    for error, reason in REASONS:
        assert error("why").reason() == reason, error
    listed = [error for error, _ in REASONS]
    for error in every_class():
        assert error in listed or error in OTHERS, error


def test_every_error_is_an_ota_error_and_keeps_its_sentence():
    for error in every_class():
        assert issubclass(error, errors.OtaError), error
        assert str(error("one sentence")) == "one sentence"


def test_every_error_has_a_cause_of_one_word():
    for error in every_class():
        cause = error("why").cause
        assert cause and " " not in cause, error


def test_causes_tell_apart_what_a_fleet_counts_apart():
    causes = [error("why").cause for error, _ in REASONS if error is not errors.EmptyFileError]
    assert len(set(causes)) == len(causes)


def test_a_class_is_made_once_with_the_bases_it_needs():
    assert errors.FilesystemError is errors.FilesystemError
    assert issubclass(errors.FilesystemError, errors.FlashError)
    assert issubclass(errors.EmptyFileError, errors.JobError)
    assert not hasattr(errors, "__path__")


def test_an_error_s_own_cause_is_not_that_of_its_class():
    error = errors.RolledBackError("it hung")
    error.own_cause = "watchdog"
    assert error.cause == "watchdog"
    assert errors.RolledBackError("it hung").cause == "rolled_back"
