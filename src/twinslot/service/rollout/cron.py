"""AWS's cron expressions, `cron(minutes hours day-of-month month day-of-week year)`, in UTC. Pure.

The syntax is that of Amazon EventBridge's user guide ("Cron expressions"): six fields, days of the
week from 1 for Sunday, `?` in one of the two fields of days, and `L`, `W` and `#` there. Libraries
for Unix's cron count days from 0, and know neither `?` nor years.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date

from twinslot.errors import FleetError

_EXPRESSION = re.compile(r"cron\(\s*(.*?)\s*\)")
_ITEM = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199


class CronError(FleetError):
    """A text is no cron expression."""


@dataclass(frozen=True)
class Cron:
    """Times in UTC: `minutes` of a day, on the days that all other fields allow.

    Of years and of the two kinds of days None means any.
    """

    minutes: tuple[int, ...]
    months: frozenset[int]
    years: frozenset[int] | None
    in_month: "_MonthDays | None"
    in_week: "_Weekdays | None"

    def on(self, day: date) -> tuple[int, ...]:
        """The times on this day, in minutes from its beginning, in order."""
        return self.minutes if self._allows(day) else ()

    def _allows(self, day: date) -> bool:
        if day.month not in self.months or (self.years is not None and day.year not in self.years):
            return False
        return (self.in_month is None or self.in_month.has(day)) and (
            self.in_week is None or self.in_week.has(day)
        )


@dataclass(frozen=True)
class _MonthDays:
    """Days of the month: by their number; so many days before the last one; and the nearest ones.

    nearest: days of which the nearest one from Monday to Friday is meant, 0 for the last day.
    """

    numbers: frozenset[int]
    last: frozenset[int]
    nearest: frozenset[int]

    def has(self, day: date) -> bool:
        length = _length(day)
        return (
            day.day in self.numbers
            or length - day.day in self.last
            or any(day.day == _nearest(day, wanted or length) for wanted in self.nearest)
        )


@dataclass(frozen=True)
class _Weekdays:
    """Days of the week from 1 for Sunday: all of them, the last ones of the month, the nth ones."""

    numbers: frozenset[int]
    last: frozenset[int]
    nth: frozenset[tuple[int, int]]

    def has(self, day: date) -> bool:
        weekday = _weekday(day)
        return (
            weekday in self.numbers
            or (weekday in self.last and day.day + 7 > _length(day))
            or (weekday, (day.day + 6) // 7) in self.nth
        )


def parse(text: str) -> Cron:
    """Read an expression. Raises CronError."""
    match = _EXPRESSION.fullmatch(text)
    fields = match[1].split() if match else []
    if len(fields) != 6:
        raise CronError(
            f"{text!r} is not cron(minutes hours day-of-month month day-of-week year), such as "
            "cron(0 2 ? * MON *)"
        )
    minutes, hours, month_days, months, weekdays, years = fields
    if (month_days == "?") == (weekdays == "?"):
        raise CronError(f"{text!r}: one of day-of-month and day-of-week is ?, the other is not")
    try:
        return Cron(
            minutes=tuple(
                sorted(
                    60 * hour + minute
                    for hour in _numbers(hours, 0, 23)
                    for minute in _numbers(minutes, 0, 59)
                )
            ),
            months=_numbers(months, 1, 12, _MONTHS),
            years=None if years == "*" else _numbers(years, _FIRST_YEAR, _LAST_YEAR),
            in_month=_month_days(month_days),
            in_week=_weekdays(weekdays),
        )
    except ValueError as error:
        raise CronError(f"{text!r}: {error}") from error


def _month_days(field: str) -> _MonthDays | None:
    if field == "?":
        return None
    plain, last, nearest = [], set(), set()
    for item in field.split(","):
        if match := re.fullmatch(r"L(?:-(\d+))?", item):
            last.add(_number(match[1] or "0", 0, 30))
        elif match := re.fullmatch(r"(\d+|L)W", item):
            nearest.add(0 if match[1] == "L" else _number(match[1], 1, 31))
        else:
            plain.append(item)
    numbers = _numbers(",".join(plain), 1, 31) if plain else frozenset[int]()
    return _MonthDays(numbers, frozenset(last), frozenset(nearest))


def _weekdays(field: str) -> _Weekdays | None:
    if field == "?":
        return None
    plain, last, nth = [], set(), set()
    for item in field.split(","):
        if match := re.fullmatch(r"(\w+)#(\d)", item):
            nth.add((_number(match[1], 1, 7, _WEEKDAYS), _number(match[2], 1, 5)))
        elif item == "L":  # the last day of a week
            plain.append("7")
        elif match := re.fullmatch(r"(\d|[A-Za-z]{3})L", item):
            last.add(_number(match[1], 1, 7, _WEEKDAYS))
        else:
            plain.append(item)
    numbers = _numbers(",".join(plain), 1, 7, _WEEKDAYS) if plain else frozenset[int]()
    return _Weekdays(numbers, frozenset(last), frozenset(nth))


def _numbers(
    field: str, low: int, high: int, names: dict[str, int] | None = None
) -> frozenset[int]:
    """The numbers of a field such as 1,5-7,10/15. Raises ValueError."""
    found: set[int] = set()
    for item in field.split(","):
        match = _ITEM.fullmatch(item)
        if match is None or (match[1] == "*" and match[2]):
            raise ValueError(f"{item!r} is no number, range or step")
        if match[1] == "*":
            first, last = low, high
        else:
            first = _number(match[1], low, high, names)
            last = high if match[3] else first
            if match[2]:
                last = _number(match[2], low, high, names)
        step = int(match[3] or 1)
        if last < first or step < 1:
            raise ValueError(f"{item!r} holds no number")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: dict[str, int] | None = None) -> int:
    number = (names or {}).get(text.upper())
    if number is None:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else -1
    if not low <= number <= high:
        raise ValueError(f"{text!r} is not within {low} to {high}")
    return number


def _weekday(day: date) -> int:
    return (day.weekday() + 1) % 7 + 1


def _length(day: date) -> int:
    """The number of days of its month."""
    return calendar.monthrange(day.year, day.month)[1]


def _nearest(day: date, wanted: int) -> int | None:
    """The day from Monday to Friday that is nearest to a day of the month, within the month."""
    length = _length(day)
    if wanted > length:
        return None
    weekday = _weekday(day.replace(day=wanted))
    if weekday == 7:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 1:
        return wanted + 1 if wanted < length else wanted - 2
    return wanted
