"""Whatever a start finds in journal and otadata, the board does what the recovery table says."""

from chip_bench import Bench
from ota import journal as phases
from ota import recovery
from ota.journal import Journal
from ota.recovery import ACCEPTED, ACTIVATE, FAILED, NO_ROLLBACK, ORDINARY, RESET, TEST
from ota.slots import ABORTED, INVALID, NEW, PENDING, VALID

HERE, THERE = "ota_0", "ota_1"
BLANK = None
CAUSES = ("power", "watchdog", "soft", "reset")
QUIET = (phases.NONE, phases.RECEIVING, phases.VERIFIED, phases.ACCEPTED)
IN_TEST = (phases.ACTIVATED, phases.TESTING)
ENDED = (phases.FAILED,)
EVERY = QUIET + IN_TEST + ENDED


def words(wifi):
    """Say what a number of `wlan.status()` means, as `wifi.reason` does."""
    return "reason %d" % wifi


def journal(phase=phases.NONE, slot="", tries=0, **changes):
    """Return a board's journal as it would be read, in the state given."""
    Bench()
    read = Journal()
    assert read.lost
    read.phase, read.slot, read.tries = phase, slot, tries
    for key in changes:
        setattr(read, key, changes[key])
    return read


def found(entry, running, other, *, active=True, causes=CAUSES):
    """Return the one decision for these otadata states, whatever the reset's cause."""
    decisions = [
        recovery.decide(entry, (HERE, running), (THERE, other), active, cause) for cause in causes
    ]
    assert decisions == decisions[:1] * len(causes), decisions
    return decisions[0]


# -- the rows of the table, in its order --------------------------------------------------------


def test_an_image_that_runs_as_new_shows_a_bootloader_without_rollback():
    for phase in EVERY:
        for other in (BLANK, VALID, ABORTED):
            assert found(journal(phase, HERE), NEW, other) == NO_ROLLBACK


def test_a_pending_slot_that_does_not_run_needs_one_reset_first():
    # The bootloader refused its image; the reset turns PENDING into ABORTED.
    for phase in EVERY:
        for running in (BLANK, VALID, PENDING):
            assert found(journal(phase, THERE), running, PENDING, active=False) == RESET


def test_an_image_in_test_that_runs_without_being_pending_or_valid_has_failed():
    for phase in IN_TEST:
        for running in (BLANK, INVALID, ABORTED):
            for other in (BLANK, VALID, ABORTED):
                assert found(journal(phase, HERE, 1), running, other) == FAILED


def test_a_roll_back_by_boot_py_is_a_failure():
    for other in (BLANK, ABORTED, VALID):
        assert found(journal(phases.FAILED, THERE, 1, cause="self_test"), VALID, other) == FAILED


def test_a_valid_image_in_test_was_accepted_and_only_the_note_was_cut():
    for phase in IN_TEST:
        for other in (BLANK, VALID, ABORTED):
            assert found(journal(phase, HERE, 1), VALID, other) == ACCEPTED


def test_a_pending_image_that_runs_is_tested():
    for other in (BLANK, VALID, ABORTED):
        assert found(journal(phases.ACTIVATED, HERE, 1), PENDING, other) == TEST
        assert found(journal(phases.TESTING, HERE, 1), PENDING, other) == TEST


def test_a_cut_set_boot_is_done_again():
    for other in (BLANK, VALID, NEW, INVALID):
        assert found(journal(phases.ACTIVATED, THERE, 1), VALID, other) == ACTIVATE
        assert found(journal(phases.ACTIVATED, THERE, 2), VALID, other) == ACTIVATE


def test_a_set_boot_that_never_holds_is_given_up():
    for other in (BLANK, VALID, NEW, INVALID):
        assert found(journal(phases.ACTIVATED, THERE, 3), VALID, other) == FAILED


def test_an_image_that_died_before_boot_py_has_failed():
    entry = journal(phases.ACTIVATED, THERE, 1)
    assert found(entry, VALID, ABORTED, causes=("watchdog", "soft", "reset")) == FAILED


def test_a_power_cut_during_the_test_gives_the_image_a_second_try():
    for phase in IN_TEST:
        entry = journal(phase, THERE, 1)
        assert found(entry, VALID, ABORTED, causes=("power",)) == ACTIVATE
    assert found(journal(phases.TESTING, THERE, 1), VALID, BLANK, causes=("power",)) == ACTIVATE


def test_a_second_power_cut_during_the_test_is_a_failure():
    for phase in IN_TEST:
        assert found(journal(phase, THERE, 2), VALID, ABORTED) == FAILED


def test_a_rolled_back_image_has_failed():
    for other in (ABORTED, BLANK, VALID):
        entry = journal(phases.TESTING, THERE, 1)
        assert found(entry, VALID, other, causes=("watchdog", "soft", "reset")) == FAILED


def test_a_failure_that_was_noted_stays_one_after_a_power_cut():
    for phase in IN_TEST:
        assert found(journal(phase, THERE, 1, cause="crash"), VALID, ABORTED) == FAILED


def test_without_an_update_in_test_a_start_is_ordinary():
    for phase in QUIET:
        for slot in ("", THERE):
            for other in (BLANK, VALID, INVALID):
                assert found(journal(phase, slot), VALID, other) == ORDINARY


# -- what the table says of a lost journal ------------------------------------------------------


def test_a_lost_journal_does_not_keep_a_new_image_from_being_tested():
    assert journal().lost
    for other in (BLANK, VALID, ABORTED):
        assert found(journal(), PENDING, other) == TEST


def test_a_lost_journal_and_an_aborted_slot_report_nothing():
    assert found(journal(), VALID, ABORTED) == ORDINARY


def test_a_board_flashed_by_cable_starts_ordinarily():
    for running in (BLANK, VALID):
        assert found(journal(), running, BLANK, active=running == VALID) == ORDINARY


# -- why it failed ------------------------------------------------------------------------------


def test_what_the_new_image_said_of_itself_comes_first():
    entry = journal(phases.FAILED, THERE, 1, cause="self_test", detail="no sensor")
    for cause in CAUSES:
        for note in (None, ("selftest", 19000)):
            assert recovery.explain(entry, cause, note, words) == ("self_test", "no sensor")


def test_power_cuts_are_counted():
    cause, sentence = recovery.explain(journal(phases.TESTING, THERE, 2), "power", None, words)
    assert cause == "power"
    assert "2 times" in sentence


def test_an_image_that_left_no_note_died_before_boot_py():
    for reset in ("watchdog", "soft", "reset"):
        cause, sentence = recovery.explain(journal(phases.ACTIVATED, THERE, 1), reset, None, words)
        assert cause == "crash"
        assert "before boot.py" in sentence


def test_a_reset_that_was_no_watchdog_is_a_crash_at_the_stage_noted():
    for reset in ("soft", "reset"):
        entry = journal(phases.TESTING, THERE, 1)
        cause, sentence = recovery.explain(entry, reset, ["started", "20000", ""], words)
        assert cause == "crash"
        assert "started" in sentence


def test_a_watchdog_is_an_interpreter_that_stood_still():
    entry = journal(phases.TESTING, THERE, 1)
    for stage in ("selftest", "named"):
        cause, sentence = recovery.explain(entry, "watchdog", [stage, "20000", ""], words)
        assert cause == "watchdog"
        assert stage in sentence


def missed(stage, wifi="1010", link=""):
    """Return what is said of a trial that missed its deadline."""
    entry = journal(phases.TESTING, THERE, 1, cause="deadline", detail=wifi)
    return recovery.explain(entry, "reset", [stage, "20000", link, ""], words)


def test_a_missed_deadline_is_told_by_the_furthest_stage():
    for stage, cause, said in (
        ("repl", "stopped", "main.py was stopped at the REPL"),
        ("main", "no_agent", "main.py runs, but made no Agent"),
        ("returned", "returned", "main.py ended, and nothing made an Agent"),
        ("agent", "not_stepped", "made an Agent, but never called its step()"),
        ("stepped", "no_broker", "never reached the broker: it called no start()"),
        ("started", "no_job", "the job service did not name this job"),
        ("named", "no_answer", "the application did not accept it"),
        ("selftest", "watchdog", "it hung at stage selftest of the test"),
    ):
        found, sentence = missed(stage)
        assert found == cause
        assert said in sentence, (said, sentence)


def test_without_wifi_no_broker_is_missed():
    for link, said in (
        ("", "no Wi-Fi: reason 202"),
        ("the broker closed the link", "no Wi-Fi: reason 202"),
        ("no Wi-Fi sim: the password is wrong", "no Wi-Fi sim: the password is wrong"),
    ):
        for stage in ("agent", "stepped"):
            assert missed(stage, "202", link) == ("no_wifi", said)
        assert missed("started", "202", link)[0] == "no_job", "it was there"
        assert missed("main", "202", link)[0] == "no_agent"


def test_a_broker_that_was_not_reached_is_told_with_its_fault():
    for wifi in ("1010", ""):
        for stage in ("agent", "stepped"):
            cause, sentence = missed(stage, wifi, "[Errno 111] ECONNREFUSED")
            assert cause == "no_broker"
            assert "ECONNREFUSED" in sentence


def test_a_board_that_uses_no_wifi_is_told_of_its_broker():
    """As with Ethernet: the radio is idle, and the link failed."""
    for stage in ("agent", "stepped"):
        cause, sentence = missed(stage, "1000", "no connection to port 1883 of b: ECONNREFUSED")
        assert cause == "no_broker" and "ECONNREFUSED" in sentence
        assert missed(stage, "1000") == ("no_wifi", "no Wi-Fi: reason 1000")
        said = "no Wi-Fi sim: it was not found"
        assert missed(stage, "1000", said) == ("no_wifi", said)


def test_without_a_note_of_the_trial_a_missed_deadline_is_still_told():
    entry = journal(phases.TESTING, THERE, 1, cause="deadline", detail="")
    assert recovery.explain(entry, "reset", None, words)[0] == "no_agent"
