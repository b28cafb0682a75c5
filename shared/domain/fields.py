"""The fields of the document: names, durations, schedules and addresses, as people write them."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic.json_schema import WithJsonSchema


class Part(BaseModel):
    """A part of the document: keys in camel case, none unknown, never changed."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
    )


#: Lower-case kebab names are legal in every place a name travels to: hubs, containers, jobs, tags.
Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=1, max_length=50)
]
#: Columns and tables become SQL identifiers; a leading underscore is kept for our own columns.
ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=128)]

_SPOKEN_UNITS = {
    "s": "seconds", "sec": "seconds", "secs": "seconds",
    "m": "minutes", "min": "minutes", "mins": "minutes",
    "h": "hours", "hr": "hours", "hrs": "hours",
    "d": "days", "day": "days", "days": "days",
}  # fmt: skip
_SPOKEN = re.compile(r"^\s*(\d+)\s*([a-z]+)\s*$")
SETTING = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)%")


def _spoken_duration(value: object) -> object:
    """Let people write `3hrs`; everything else is left to ISO 8601."""
    match = _SPOKEN.match(value.lower()) if isinstance(value, str) else None
    if match and match[2] in _SPOKEN_UNITS:
        return timedelta(**{_SPOKEN_UNITS[match[2]]: int(match[1])})
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration must be longer than nothing")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_spoken_duration),
    AfterValidator(_positive),
    WithJsonSchema({"type": "string", "examples": ["P1D", "PT3H", "3hrs"]}),
]


def _ncrontab(value: str) -> str:
    """Six fields, as the Functions timer trigger reads them (NCRONTAB)."""
    if len(value.split()) != 6:  # noqa: PLR2004 -- NCRONTAB has six fields.
        raise ValueError(
            "a schedule has six NCRONTAB fields: second minute hour day month weekday, "
            "for example '0 */5 * * * *' for every five minutes"
        )
    return value


Schedule = Annotated[str, AfterValidator(_ncrontab)]


def _web_address(value: str) -> str:
    TypeAdapter(AnyHttpUrl).validate_python(SETTING.sub("http://setting", value, count=1))
    return value


Url = Annotated[str, AfterValidator(_web_address)]


def nearest(word: str, known: Any) -> str:  # noqa: ANN401 -- Any collection of names.
    """A question about what was probably meant; empty when nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
