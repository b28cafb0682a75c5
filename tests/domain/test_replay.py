"""The replay: which event an entry becomes, and what is not sent because it would come back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.claim import reference_of
from shared.domain.cloud_event import rfc3339
from shared.domain.errors import BadRecord
from shared.domain.json_page import records_of
from shared.domain.quarantine import Quarantined, Refused, Repair, refusal
from shared.domain.replay import replayed_event
from tests.builders import LIFE, NOON, document, event

LATER = NOON + timedelta(days=3)
UNCHANGED = Repair()
EXPIRED = Quarantined(
    kind="events",
    material="quakes",
    origin=f"p3-{LIFE}-{42:020d}",
    reason="expired",
    detail="expired at noon",
    seen_at=NOON,
    attributes={**event(42).attributes, "expirytime": rfc3339(NOON)},
    body=b'{"id":"a"}',
)
NAMELESS = replace(EXPIRED, attributes={"specversion": "1.0", "datacontenttype": "text/plain"})
LOSS = replace(EXPIRED, kind="losses", body=b"")
POLLED = Quarantined(
    kind="records",
    material="quakes",
    origin="tool-0011223344556677",
    reason="not-json",
    detail="a whole page of tool, of which nothing was used: it is cut off",
    seen_at=NOON,
    attributes={"source": "/sources/tool"},
    body=b'[{"id": "k7", "note": "sho',
)
BLOB = f"quakes/2026/11/20/12/p2-{LIFE}-{40:020d}.avro"


def refused(body: bytes, *, line: int = 7) -> Quarantined:
    """A record that a dataset refused."""
    return refusal(
        dataset="quakes", run="r", reason="id:missing", blob=BLOB, sequence=42, line=line,
        seen_at=NOON, body=body,
    )  # fmt: skip


def test_event_is_sent_as_it_was_but_for_its_expiry() -> None:
    """The id is what a consumer knows the event by; the expiry is why it did not come through."""
    partition, sent = replayed_event(EXPIRED, UNCHANGED, document(), now=LATER)

    fresh = rfc3339(LATER + timedelta(days=1))
    assert sent.attributes == {**EXPIRED.attributes, "expirytime": fresh}
    assert (partition, sent.body) == (3, EXPIRED.body)


def test_partition_key_of_ours_names_the_partition() -> None:
    """What shares a key meets in one partition; any other key says nothing about ours."""
    named = {
        key: replayed_event(
            replace(EXPIRED, attributes={**EXPIRED.attributes, "partitionkey": key}),
            UNCHANGED, document(), now=LATER,
        )[0]
        for key in ("1", "4", "Tokyo", "٢")
    }  # fmt: skip

    assert named == {"1": 1, "4": 3, "Tokyo": 3, "٢": 3}


def test_partition_that_is_gone_is_asked_for() -> None:
    """A hub made anew may have fewer partitions."""
    smaller = document(eventhubs=[{"material": "quakes", "partitions": 2}])
    given = Repair(attributes={"partitionkey": "1"})

    with pytest.raises(Refused, match="--set partitionkey=0"):
        replayed_event(EXPIRED, UNCHANGED, smaller, now=LATER)
    assert replayed_event(EXPIRED, given, smaller, now=LATER)[0] == 1


def test_missing_attributes_are_named_and_can_be_given() -> None:
    """What would come straight back is not sent; a person is told what to give."""
    missing = {"id": "a", "source": "/mended", "type": "t"}

    with pytest.raises(BadRecord, match="has no id, source, type; replay it with --set"):
        replayed_event(NAMELESS, UNCHANGED, document(), now=LATER)
    _, sent = replayed_event(NAMELESS, Repair(attributes=missing), document(), now=LATER)

    assert sent.attributes.items() >= {**NAMELESS.attributes, **missing}.items()


def test_attribute_given_empty_is_taken_away() -> None:
    """Some attributes are what is wrong with an event."""
    repair = Repair(attributes={"recordcount": ""})

    _, sent = replayed_event(EXPIRED, repair, document(), now=LATER)

    assert "recordcount" not in sent.attributes


def test_id_of_an_event_cannot_be_changed() -> None:
    """Sent under another id, the event would be another event."""
    for given in ("other", ""):
        with pytest.raises(Refused, match="keeps its id event-42"):
            replayed_event(EXPIRED, Repair(attributes={"id": given}), document(), now=LATER)
    same = Repair(attributes={"id": "event-42"})

    assert replayed_event(EXPIRED, same, document(), now=LATER)[1].id == "event-42"


@pytest.mark.parametrize("attributes", [{"Id": "a"}, {"my-key": "a"}, {"": "a"}])
def test_name_that_no_attribute_may_have_is_refused(attributes: dict[str, str]) -> None:
    """It would be dropped or refused on the way, far from whoever mistyped it."""
    with pytest.raises(BadRecord, match="can be no attribute"):
        replayed_event(EXPIRED, Repair(attributes=attributes), document(), now=LATER)


def test_expiry_given_in_the_past_is_refused() -> None:
    """It would be quarantined again for the reason it is there."""
    given = Repair(attributes={"expirytime": rfc3339(NOON)})

    with pytest.raises(BadRecord, match="expired at"):
        replayed_event(EXPIRED, given, document(), now=LATER)


def test_what_is_lost_cannot_be_replayed() -> None:
    """A loss is a note; there are no bytes."""
    with pytest.raises(Refused, match="the hub dropped it"):
        replayed_event(LOSS, UNCHANGED, document(), now=LATER)


def test_material_or_source_that_is_gone_is_named() -> None:
    """A replay of many goes on with the next; the person learns what the document misses."""
    elsewhere = replace(EXPIRED, material="tides")
    forgotten = replace(POLLED, attributes={"source": "/sources/old"}, body=b"{}")

    with pytest.raises(Refused, match="no hub carries the material 'tides'"):
        replayed_event(elsewhere, UNCHANGED, document(), now=LATER)
    with pytest.raises(Refused, match="no source is called 'old'"):
        replayed_event(forgotten, UNCHANGED, document(), now=LATER)


def test_polled_record_that_is_mended_goes_where_the_poll_would_have_sent_it() -> None:
    """Versions of one key keep their order only within a partition."""
    body = b'{"id": "k7",\n "note": "short"}\n'
    (record,) = records_of(b"[" + body + b"]", path="", key="id")

    with pytest.raises(BadRecord, match=r"not one JSON object.*--body FILE"):
        replayed_event(POLLED, UNCHANGED, document(), now=LATER)
    partition, sent = replayed_event(POLLED, Repair(body=body), document(), now=LATER)

    assert partition == record.group(4)
    assert sent.body == b'{"id": "k7",  "note": "short"}'
    assert sent.attributes["source"] == "/sources/tool"
    assert sent.attributes["recordcount"] == "1"


def test_event_whose_claim_is_lost_is_replayed_with_the_body_given() -> None:
    """A person found the data elsewhere; the reference to nothing would only mislead."""
    reference = reference_of("quakes", b"lost")
    attributes = {**EXPIRED.attributes, "dataref": reference}
    entry = replace(EXPIRED, reason="claim-missing", attributes=attributes, body=b"")

    _, unchanged = replayed_event(entry, UNCHANGED, document(), now=LATER)
    _, mended = replayed_event(entry, Repair(body=b'{"id":"a"}'), document(), now=LATER)

    assert (unchanged.attributes["dataref"], unchanged.body) == (reference, b"")
    assert ("dataref" in mended.attributes, mended.body) == (False, b'{"id":"a"}')
    assert unchanged.id == mended.id


def test_refused_record_becomes_an_event_of_its_own() -> None:
    """Its id is of its content and its origin, so that a second replay is the same event."""
    partition, sent = replayed_event(refused(b'{"id":1}'), UNCHANGED, document(), now=LATER)
    _, again = replayed_event(refused(b'{"id":1}'), UNCHANGED, document(), now=LATER)
    _, elsewhere = replayed_event(refused(b'{"id":1}', line=8), UNCHANGED, document(), now=LATER)
    _, mended = replayed_event(
        refused(b'{"id":1}'), Repair(body=b'{"id":2}'), document(), now=LATER
    )

    assert (partition, sent.body) == (2, b'{"id":1}')
    assert sent.attributes["source"] == "/datasets/quakes"
    assert again == sent
    assert len({sent.id, elsewhere.id, mended.id}) == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "not-json"),
        (b"\xff", "not-utf8"),
        (b"", "not-json"),
        (b"[1]", "not-json"),
        (b'{"id":1}\n{"id":2}', "not-json"),
        (b'{"id":1},{"id":2}', "not-json"),
        (b"]", "not-json"),
    ],
)
def test_body_that_is_not_one_record_is_refused(body: bytes, reason: str) -> None:
    """The dataset would refuse it again, or one line would become another."""
    with pytest.raises(BadRecord, match="not one JSON object") as raised:
        replayed_event(refused(body), UNCHANGED, document(), now=LATER)

    assert raised.value.reason == reason
