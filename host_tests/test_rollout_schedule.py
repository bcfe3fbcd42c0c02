"""Starts, ends and maintenance windows: when a job reaches things."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinslot.service.rollout.cron import parse
from twinslot.service.rollout.schedule import Phase, Schedule, Window

MONDAY = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 24 * 3600
NIGHT = Window(parse("cron(0 22 ? * MON-FRI *)"), 240)  # over midnight


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def test_without_a_schedule_it_is_always_open() -> None:
    for now in (0, MONDAY):
        assert Schedule().phase(now) is Phase.OPEN
        assert Schedule().next_change(now) is None


def test_it_opens_at_its_start_and_ends_at_its_end() -> None:
    schedule = Schedule(start=MONDAY, end=MONDAY + DAY)
    phases = [schedule.phase(MONDAY + offset) for offset in (-1, 0, DAY - 1, DAY)]
    assert phases == [Phase.SCHEDULED, Phase.OPEN, Phase.OPEN, Phase.ENDED]
    changes = [schedule.next_change(MONDAY + offset) for offset in (-1, 0, DAY)]
    assert changes == [MONDAY, MONDAY + DAY, None]


@pytest.mark.parametrize(
    ("now", "phase", "change"),
    [
        ("2026-11-30T21:59:59", Phase.SCHEDULED, "2026-11-30T22:00"),
        ("2026-11-30T22:00", Phase.OPEN, "2026-12-01T02:00"),
        ("2026-12-01T01:59:59", Phase.OPEN, "2026-12-01T02:00"),
        ("2026-12-01T02:00", Phase.SCHEDULED, "2026-12-01T22:00"),
        ("2026-12-05T01:00", Phase.OPEN, "2026-12-05T02:00"),  # Saturday, of Friday's window
        ("2026-12-05T02:00", Phase.SCHEDULED, "2026-12-07T22:00"),
    ],
)
def test_a_window_opens_and_closes(now: str, phase: Phase, change: str) -> None:
    schedule = Schedule(windows=(NIGHT,))
    assert schedule.phase(at(now)) is phase
    assert schedule.next_change(at(now)) == at(change)


def test_a_window_that_opens_at_midnight_is_open_from_there() -> None:
    schedule = Schedule(windows=(Window(parse("cron(0 0 ? * * *)"), 60),))
    found = [at(f"2026-{text}") for text in ("11-30T23:59", "12-01T00:00", "12-01T00:59")]
    phases = [schedule.phase(now) for now in found]
    assert phases == [Phase.SCHEDULED, Phase.OPEN, Phase.OPEN]
    changes = [schedule.next_change(now) for now in found]
    assert changes == [at("2026-12-01T00:00"), at("2026-12-01T01:00"), at("2026-12-01T01:00")]


def test_an_end_within_a_window_is_the_last_change() -> None:
    schedule = Schedule(end=at("2026-11-30T23:00"), windows=(NIGHT,))
    assert schedule.next_change(at("2026-11-30T22:30")) == at("2026-11-30T23:00")
    for now in ("2026-11-30T23:00", "2026-11-30T23:30", "2026-12-01T02:00"):
        assert schedule.phase(at(now)) is Phase.ENDED
        assert schedule.next_change(at(now)) is None


def test_an_opening_a_second_before_the_start_is_none() -> None:
    schedule = Schedule(start=at("2026-11-30T22:00:01"), windows=(NIGHT,))
    nights = [at("2026-12-01T22:00"), at("2026-12-02T22:00")]
    assert schedule.openings(at("2026-11-30T12:00"), 2) == nights


def test_a_window_of_leap_days_is_found_four_years_ahead() -> None:
    schedule = Schedule(windows=(Window(parse("cron(0 2 29 2 ? *)"), 60),))
    assert schedule.next_change(at("2028-02-29T03:00")) == at("2032-02-29T02:00")


def test_a_window_that_is_open_at_the_start_counts_from_there() -> None:
    schedule = Schedule(start=at("2026-11-30T23:00"), windows=(NIGHT,))
    assert schedule.phase(at("2026-11-30T22:30")) is Phase.SCHEDULED
    assert schedule.next_change(at("2026-11-30T22:30")) == at("2026-11-30T23:00")
    assert schedule.phase(at("2026-11-30T23:00")) is Phase.OPEN


def test_the_next_seven_openings_end_before_the_end() -> None:
    schedule = Schedule(windows=(NIGHT,))
    found = schedule.openings(at("2026-11-30T22:00"), 7)
    nights = ["01", "02", "03", "04", "07", "08", "09"]
    assert found == [at(f"2026-12-{night}T22:00") for night in nights]
    ended = Schedule(end=at("2026-12-03T22:00"), windows=(NIGHT,))
    assert ended.openings(at("2026-11-30T22:00"), 7) == found[:2]
    later = Schedule(start=at("2026-12-03T22:00"), windows=(NIGHT,))
    assert later.openings(at("2026-11-30T22:00"), 2) == found[2:4]


def test_a_window_that_never_opens_again_changes_nothing() -> None:
    schedule = Schedule(windows=(Window(parse("cron(0 2 ? * MON 2020)"), 60),))
    assert schedule.phase(MONDAY) is Phase.SCHEDULED
    assert schedule.next_change(MONDAY) is None
    assert schedule.openings(MONDAY, 7) == []


@settings(max_examples=50)
@given(
    st.integers(0, 3 * DAY // 60),
    st.sampled_from(["0 22 ? * MON-FRI *", "*/50 3-5 * * ? *", "0 0 1 12 ? *", "10 1 ? * TUE *"]),
    st.integers(1, 1430),
    st.one_of(st.none(), st.integers(0, 2 * DAY)),
    st.one_of(st.none(), st.integers(2 * DAY, 4 * DAY)),
)
def test_the_phase_changes_at_no_other_time_than_the_one_that_was_said(
    minute: int, fields: str, minutes: int, start: int | None, end: int | None
) -> None:
    schedule = Schedule(
        start=None if start is None else MONDAY + start,
        end=None if end is None else MONDAY + end,
        windows=(Window(parse(f"cron({fields})"), minutes),),
    )
    now = MONDAY + 60 * minute
    phase, change = schedule.phase(now), schedule.next_change(now)
    last = now + DAY if change is None else change
    assert last > now
    for later in range(now, min(last, now + DAY), 60):
        assert schedule.phase(later) is phase
