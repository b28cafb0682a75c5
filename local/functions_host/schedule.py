"""NCRONTAB: the six-field schedules of timer triggers, in UTC.

`second minute hour day month weekday`. Unlike most crons, day AND weekday must both match, and
Sunday is 0 only. There is no L, W, # or ?.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
#: 29 February on a given weekday can be 40 years away (2096 to 2104 has no leap day between).
_YEARS_SEARCHED = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field(name="second", low=0, high=59),
    _Field(name="minute", low=0, high=59),
    _Field(name="hour", low=0, high=23),
    _Field(name="day", low=1, high=31),
    _Field(name="month", low=1, high=12, names=_MONTHS),
    _Field(name="weekday", low=0, high=6, names=_DAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a timer fires; sorted values of each field."""

    expression: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence strictly after a moment; raise ValueError if there is none."""
        second = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day, earliest = second.date(), second.time()
        while day.year <= moment.year + _YEARS_SEARCHED:
            if day.month not in self.months:
                day, earliest = (day.replace(day=1) + timedelta(days=32)).replace(day=1), time.min
                continue
            if day.day in self.days and day.isoweekday() % 7 in self.weekdays:
                found = self._first_from(earliest)
                if found is not None:
                    return datetime.combine(day, found, UTC)
            day, earliest = day + timedelta(days=1), time.min
        raise ValueError(f"the schedule {self.expression!r} never comes")

    @property
    def is_dense(self) -> bool:
        """Whether it fires more than once a minute; the real host then keeps no status."""
        first = self.next_after(_SOME_DAY)
        return self.next_after(first) - first < timedelta(minutes=1)

    def _first_from(self, earliest: time) -> time | None:
        for hour in self.hours:
            for minute in self.minutes:
                if (hour, minute) < (earliest.hour, earliest.minute):
                    continue
                floor = earliest.second if (hour, minute) == (earliest.hour, earliest.minute) else 0
                for second in self.seconds:
                    if second >= floor:
                        return time(hour, minute, second)
        return None


_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def parse(expression: str) -> Schedule:
    """Read a schedule of six fields, or five with the seconds left out; raise ValueError."""
    parts = expression.split()
    if len(parts) == len(_FIELDS) - 1:
        parts = ["0", *parts]
    if len(parts) != len(_FIELDS):
        raise ValueError(f"the schedule {expression!r} does not have six fields")
    values = [_field_values(field, part) for field, part in zip(_FIELDS, parts, strict=True)]
    schedule = Schedule(
        expression=expression,
        seconds=tuple(sorted(values[0])),
        minutes=tuple(sorted(values[1])),
        hours=tuple(sorted(values[2])),
        days=frozenset(values[3]),
        months=frozenset(values[4]),
        weekdays=frozenset(values[5]),
    )
    schedule.next_after(_SOME_DAY)  # 30 February is refused here, not when the timer starts.
    return schedule


def _field_values(field: _Field, text: str) -> set[int]:
    return {value for part in text.split(",") for value in _part_values(field, part)}


def _part_values(field: _Field, text: str) -> range:
    span, _, step_text = text.partition("/")
    step = _number(step_text) if "/" in text else 1
    if step is None or step < 1:
        raise ValueError(f"the {field.name} {text!r} has no step above zero")
    if span == "*":
        return range(field.low, field.high + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _value(field, first_text)
    last = first
    if dash:
        last = _value(field, last_text)
    elif "/" in text:
        last = field.high
    return range(min(first, last), max(first, last) + 1, step)


def _value(field: _Field, text: str) -> int:
    number = _number(text)
    if number is None and text:
        matches = (i for i, name in enumerate(field.names) if name.startswith(text.lower()))
        index = next(matches, None)
        number = None if index is None else index + field.low
    if number is None or not field.low <= number <= field.high:
        raise ValueError(f"the {field.name} {text!r} is not one of {field.low} to {field.high}")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
