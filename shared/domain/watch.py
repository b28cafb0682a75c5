"""The watch: when somebody is told, and who; what the document expects of time, volume and cost."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic.functional_validators import BeforeValidator
from pydantic.json_schema import WithJsonSchema

from shared.domain.fields import Duration, Part

_WHOLE = re.compile(r"P(?=\d|T\d)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?")
_SPOKEN = re.compile(r" *\d+ *[A-Za-z]+ *")


def _readable_by_all(value: object) -> object:
    """Refuse forms of a duration that the infrastructure, which reads the same text, does not know.

    Weeks, months, years and fractions are among them, and numbers without a unit.
    """
    if isinstance(value, str) and not (_WHOLE.fullmatch(value) or _SPOKEN.fullmatch(value)):
        raise ValueError(
            f"{value!r} is no duration in whole days, hours, minutes and seconds, "
            "for example 'P1D', 'PT3H', 'P1DT12H' or '3hrs'"
        )
    if isinstance(value, int | float):
        raise ValueError("a duration needs a unit, for example 'PT90S' or '3hrs'")  # noqa: TRY004 -- pydantic collects ValueErrors.
    return value


#: A duration that code and infrastructure read alike: both get the text as it is written.
Period = Annotated[
    Duration,
    BeforeValidator(_readable_by_all),
    WithJsonSchema({"type": "string", "examples": ["P1D", "PT3H", "P1DT12H", "3hrs"]}),
]

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)]

#: What one record is taken to be where the document does not say.
RECORDS_PER_DAY = 100_000
RECORD_BYTES = 1_000


class Alerts(Part):
    """When the pipeline calls for somebody, and whom."""

    emails: tuple[Email, ...] = Field(
        default=(), description="Who is told; without any, alerts only show in the portal."
    )
    freshness: Period = Field(
        default="P1D",
        validate_default=True,
        description="How far a table may be behind its source; a dataset may say its own.",
    )
    lag_events: int = Field(
        default=10_000, ge=1, description="Events a partition may hold that are not landed."
    )
    run_late_after: Period = Field(
        default="PT1H", validate_default=True, description="How long a run may stay open."
    )
    silent_after: Period = Field(
        default="PT15M",
        validate_default=True,
        le=timedelta(days=1),  # The alert looks back as far as that.
        description="How long the function app may say nothing at all.",
    )
    monthly_budget: int = Field(
        default=200, ge=1, description="Cost of one environment in the subscription's currency."
    )
