"""AWS's cron expressions: which minutes of which days."""

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.service.rollout.cron import Cron, CronError, parse

DAYS = st.dates(date(1970, 1, 1), date(2199, 12, 31))
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def days(expression: str, year: int, month: int) -> list[int]:
    """The days of a month on which there is a time."""
    cron = parse(expression)
    length = calendar.monthrange(year, month)[1]
    return [day for day in range(1, length + 1) if cron.on(date(year, month, day))]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("0 2 ? * MON *", [120]),
        ("15 10 * * ? *", [615]),
        ("0/20 8 * * ? *", [480, 500, 520]),
        ("5,10-12 0 * * ? *", [5, 10, 11, 12]),
        ("30 */8 * * ? *", [30, 510, 990]),
        ("0 22-23 * * ? *", [1320, 1380]),
        ("10-30/10 0 * * ? *", [10, 20, 30]),
    ],
)
def test_the_times_of_a_day(fields: str, expected: list[int]) -> None:
    monday = date(2026, 11, 30)
    assert list(parse(f"cron({fields})").on(monday)) == expected


@pytest.mark.parametrize(
    ("fields", "year", "month", "expected"),
    [
        ("0 2 ? * MON *", 2026, 11, [2, 9, 16, 23, 30]),
        ("0 2 ? * 2 *", 2026, 11, [2, 9, 16, 23, 30]),  # 1 is Sunday
        ("0 2 ? * mon-wed *", 2026, 11, [2, 3, 4, 9, 10, 11, 16, 17, 18, 23, 24, 25, 30]),
        ("0 2 ? * L *", 2026, 11, [7, 14, 21, 28]),
        ("0 2 ? * 6L *", 2026, 11, [27]),
        ("0 2 ? * MONL *", 2026, 11, [30]),
        ("0 2 ? * TUE#2 *", 2026, 11, [10]),
        ("0 2 ? * SAT#1 *", 2026, 11, [7]),
        ("0 2 ? * 1#5 *", 2026, 11, [29]),
        ("0 2 ? * 2#1,6L,L *", 2026, 11, [2, 7, 14, 21, 27, 28]),
        ("0 2 ? * 1#5 *", 2026, 12, []),
        ("0 2 L * ? *", 2028, 2, [29]),
        ("0 2 L-3 * ? *", 2026, 11, [27]),
        ("0 2 LW * ? *", 2027, 1, [29]),  # the 31st is a Sunday
        ("0 2 1W * ? *", 2026, 8, [3]),  # the 1st is a Saturday: the month is not left
        ("0 2 15W * ? *", 2026, 11, [16]),  # a Sunday
        ("0 2 14W * ? *", 2026, 11, [13]),  # a Saturday
        ("0 2 31W * ? *", 2026, 11, []),
        ("0 2 1,15 * ? *", 2026, 11, [1, 15]),
        ("0 2 1,L * ? *", 2026, 11, [1, 30]),
        ("0 2 29 2 ? *", 2027, 2, []),
        ("0 2 1 JAN,NOV ? *", 2026, 11, [1]),
        ("0 2 1 1-10 ? *", 2026, 11, []),
        ("0 2 1 * ? 2026-2027", 2026, 11, [1]),
        ("0 2 1 * ? 2027", 2026, 11, []),
        ("0 2 1 * ? 1970,2199", 1970, 1, [1]),
        ("0 2 1 * ? 1970,2199", 2199, 12, [1]),
        ("0 2 1 * ? *", 2200, 1, [1]),  # any year, be it one that has no number here
    ],
)
def test_the_days_of_a_month(fields: str, year: int, month: int, expected: list[int]) -> None:
    assert days(f"cron({fields})", year, month) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 2 ? * MON *",
        "cron()",
        "cron(0 2 ? * MON)",
        "cron(0 2 * * * *)",
        "cron(0 2 ? * ? *)",
        "cron(60 2 ? * MON *)",
        "cron(0 24 ? * MON *)",
        "cron(0 2 0 * ? *)",
        "cron(0 2 32 * ? *)",
        "cron(0 2 32W * ? *)",
        "cron(0 2 L-31 * ? *)",
        "cron(0 2 1 13 ? *)",
        "cron(0 2 1 ABC ? *)",
        "cron(0 2 ? * 8 *)",
        "cron(0 2 ? * 0 *)",
        "cron(0 2 ? * MON#6 *)",
        "cron(0 2 ? * MON#0 *)",
        "cron(0 2 ? * XYZL *)",
        "cron(0 2 1 * ? 1969)",
        "cron(0 2 1 * ? 2200)",
        "cron(5-1 2 1 * ? *)",
        "cron(*/0 2 1 * ? *)",
        "cron(*-5 2 1 * ? *)",
        "cron(0,, 2 1 * ? *)",
        "cron(-1 2 1 * ? *)",
        "cron(0 2 1 * ? ٢٠٢٦)",
        "cron(99999999999999999999 2 1 * ? *)",
        "rate(5 minutes)",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(CronError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 2 * * *", "'0 2 * * *' is not cron(minutes hours day-of-month month day-of-week year)"),
        ("cron(0 2 ? * MON)", "such as cron(0 2 ? * MON *)"),
        ("cron(0 2 * * * *)", "one of day-of-month and day-of-week is ?, the other is not"),
        ("cron(*-5 2 1 * ? *)", "cron(*-5 2 1 * ? *)': '*-5' is no number, range or step"),
        ("cron(5-1 2 1 * ? *)", "cron(5-1 2 1 * ? *)': '5-1' holds no number"),
        ("cron(0 24 ? * MON *)", "cron(0 24 ? * MON *)': '24' is not within 0 to 23"),
        ("cron(0 2 L-31 * ? *)", "'31' is not within 0 to 30"),
        ("cron(0 2 ? * XYZL *)", "'XYZ' is not within 1 to 7"),
    ],
)
def test_a_refusal_names_the_expression_and_what_is_wrong_in_it(text: str, words: str) -> None:
    with pytest.raises(CronError) as error:
        parse(text)
    assert words in str(error.value)


@given(st.text(st.sampled_from("cron()0123456789?*,-/LW# MONFRISUN"), max_size=40))
def test_any_text_is_read_or_refused_with_the_one_error(text: str) -> None:
    try:
        found = parse(f"cron({text})")
    except CronError:
        return
    assert isinstance(found, Cron)
    found.on(date(2026, 11, 30))


@given(DAYS, st.sets(st.integers(1, 7), min_size=1))
def test_a_day_of_the_week_counts_from_sunday(day: date, wanted: set[int]) -> None:
    cron = parse(f"cron(0 0 ? * {','.join(map(str, sorted(wanted)))} *)")
    named = parse(f"cron(0 0 ? * {','.join(WEEKDAYS[number - 1] for number in wanted)} *)")
    assert bool(cron.on(day)) == (day.isoweekday() % 7 + 1 in wanted) == bool(named.on(day))


@given(DAYS, st.integers(0, 30))
def test_the_last_days_are_counted_from_the_end(day: date, before: int) -> None:
    last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    text = f"L-{before}" if before else "L"
    assert bool(parse(f"cron(0 0 {text} * ? *)").on(day)) == (day == last - timedelta(days=before))


@given(DAYS, st.integers(1, 31))
def test_the_nearest_weekday_is_a_weekday_of_the_same_month(day: date, wanted: int) -> None:
    length = calendar.monthrange(day.year, day.month)[1]
    cron = parse(f"cron(0 0 {wanted}W * ? *)")
    found = [n for n in range(1, length + 1) if cron.on(day.replace(day=n))]
    if wanted > length:
        assert found == []
    else:
        (only,) = found
        at_work = [n for n in range(1, length + 1) if day.replace(day=n).isoweekday() <= 5]
        assert only in at_work
        assert abs(only - wanted) == min(abs(n - wanted) for n in at_work)
