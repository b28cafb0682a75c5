"""The cursor field: what of a record says how far a source has been read, and how that is asked.

Inside a poll a cursor value is an integer (microseconds since 1970, for times), a number or a text,
so that values compare as the source means them: texts of times with different precision do not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from shared.domain.fields import Duration, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

type Value = float | str | None
Form = Literal["iso8601", "date", "epochSeconds", "epochMilliseconds", "integer", "string"]
#: Clocks differ; a time further ahead than this is a mistake and must not hide all that follows.
AHEAD_MAX = timedelta(days=1)
_TIMES = ("iso8601", "date", "epochSeconds", "epochMilliseconds")
_MICROSECONDS = {"epochSeconds": 1_000_000, "epochMilliseconds": 1000}
_MICROSECOND = timedelta(microseconds=1)
_WHOLE = re.compile(r"-?\d+$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CursorField(Part):
    """How new records are asked for."""

    field: str = Field(description="Dotted path, within a record, to what grows.")
    form: Form = Field(default="iso8601", description="How the field is written.")
    parameter: str = Field(
        default="", description="Query parameter that takes the value; empty: nothing is asked for."
    )
    parameter_form: Form | None = Field(
        default=None, description="How the parameter is written, if not as the field is."
    )
    start: str = Field(default="", description="Value of the first poll; empty: from the start.")
    lookback: Duration | None = Field(
        default=None, description="Read again so much of what was read, for what arrives late."
    )
    until: str = Field(
        default="", description="Query parameter that takes the end of a window, if there is one."
    )
    window: Duration | None = Field(
        default=None, description="Read the past in windows of this length; needs `until`."
    )

    @property
    def is_time(self) -> bool:
        """Whether values are moments."""
        return self.form in _TIMES

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if (self.lookback or self.window) and not self.is_time:
            raise ValueError(f"lookback and window are for times, not for a {self.form}")
        if self.window and not (self.until and self.parameter and self.start):
            raise ValueError("window needs start, parameter and until")
        if self.parameter_form and (self.parameter_form in _TIMES) != self.is_time:
            raise ValueError(f"a {self.form} cannot be asked for as {self.parameter_form}")
        if self.start:
            self.value(self.start)
        return self

    def value(self, found: Any) -> Value:  # noqa: ANN401 -- JSON is any value.
        """What a field's content means; None for what means nothing; for text, `ValueError`."""
        if found is None or isinstance(found, (bool, list, dict)):
            return None
        if self.form == "string":
            return str(found)
        if self.form in ("iso8601", "date"):
            return micros_of(datetime.fromisoformat(str(found)))
        number = float(found) if isinstance(found, str) and not _WHOLE.match(found) else found
        number = int(number) if isinstance(number, str) else number
        return round(number * _MICROSECONDS[self.form]) if self.is_time else number

    def text(self, value: float | str) -> str:
        """A value as the request's parameter takes it."""
        form = self.parameter_form or self.form
        if isinstance(value, str) or not self.is_time:
            return str(value)
        micros = int(value)
        if form in ("iso8601", "date"):
            moment = _EPOCH + timedelta(microseconds=micros)
            text = moment.isoformat().replace("+00:00", "Z")
            return text if form == "iso8601" else moment.date().isoformat()
        return str(micros // _MICROSECONDS[form])  # Rounded down: nothing is left out.

    def newest(self, found: Iterable[Any], *, now: datetime) -> Value:
        """The greatest of many values; those that mean nothing, or lie far ahead, do not count."""
        known = {each for each in found if isinstance(each, str | int | float)}
        values = [value for each in known if (value := self._read(each)) is not None]
        if self.is_time:
            latest = micros_of(now + AHEAD_MAX)
            values = [value for value in values if not isinstance(value, str) and value <= latest]
        return max(values, default=None)

    def since(self, value: Value) -> Value:
        """Where the next poll begins: a little earlier, for what arrives late."""
        if value is None:
            return self.value(self.start) if self.start else None
        if self.lookback and not isinstance(value, str):
            return value - self.lookback // _MICROSECOND
        return value

    def _read(self, found: Any) -> Value:  # noqa: ANN401 -- JSON is any value.
        try:
            return self.value(found)
        except (ValueError, TypeError, OverflowError):
            return None


def micros_of(moment: datetime) -> int:
    """A moment as a cursor value; one without a zone is taken for UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def later(one: Value, other: Value) -> Value:
    """The greater of two values; of two kinds, the one that the source gives now."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, str) or isinstance(other, str):
        return max(str(one), str(other)) if type(one) is type(other) else other
    return max(one, other)
