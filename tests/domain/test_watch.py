"""What the document says of time, volume and cost, and whom it calls."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.domain.document import Document, EventHub, parse
from shared.domain.errors import Misconfigured
from shared.domain.watch import Alerts


def document(**parts: object) -> Document:
    """A small document with some parts of its own."""
    return parse(json.dumps({"name": "small", **parts}))


def test_without_a_word_there_are_limits_and_nobody_is_told() -> None:
    """A document of yesterday gets alerts too; only a person can say who they are for."""
    found = document().alerts

    assert found == Alerts()
    assert found.emails == ()
    assert found.freshness == timedelta(days=1)
    assert found.run_late_after == timedelta(hours=1)
    assert found.silent_after == timedelta(minutes=15)


def test_limits_are_durations_as_people_write_them() -> None:
    """Both forms of a duration mean the same."""
    found = document(alerts={"freshness": "3hrs", "runLateAfter": "PT90M"}).alerts

    assert found.freshness == timedelta(hours=3)
    assert found.run_late_after == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("alerts", "problem"),
    [
        ({"emails": ["on-call"]}, "emails"),
        ({"freshness": "P1M"}, "no duration in whole days"),
        ({"freshness": "P2W"}, "no duration in whole days"),
        ({"freshness": "PT1.5H"}, "no duration in whole days"),
        ({"freshness": "01:30:00"}, "no duration in whole days"),
        ({"freshness": 3600}, "needs a unit"),
        ({"freshness": "PT0S"}, "longer than nothing"),
        ({"silentAfter": "P2D"}, "less than or equal"),
        ({"lagEvents": 0}, "greater than"),
        ({"monthlyBudget": 0}, "greater than"),
        ({"mail": []}, "unknown key; did you mean 'emails'"),
    ],
)
def test_what_the_infrastructure_would_not_understand_is_refused(
    alerts: dict[str, object], problem: str
) -> None:
    """Bicep reads the same text: better a line here than a deployment that fails half way."""
    with pytest.raises(Misconfigured, match=problem):
        document(alerts=alerts)


def test_dataset_may_be_stricter_than_the_rest() -> None:
    """Some tables matter by the minute, others by the day."""
    found = document(
        eventhubs=[{"material": "levels"}],
        datasets=[
            {
                "name": "levels",
                "consumes": "levels",
                "primaryKey": ["id"],
                "freshness": "10min",
                "columns": {"id": {"type": "string"}},
            }
        ],
    )

    assert found.dataset("levels").freshness == timedelta(minutes=10)


def test_volume_of_a_hub_is_no_free_attribute() -> None:
    """The plan's cost is reckoned with it; as a tag nobody would read it."""
    hub = EventHub.model_validate(
        {"material": "levels", "expectedRecordsPerDay": 5, "recordBytes": 7, "owner": "hydrology"}
    )

    assert (hub.expected_records_per_day, hub.record_bytes) == (5, 7)
    assert hub.tags == {"owner": "hydrology"}
