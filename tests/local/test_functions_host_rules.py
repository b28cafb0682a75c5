"""The rules of the functions host that need no socket: retries, schedules, routes, paths."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import hypothesis
import pytest
from croniter import croniter  # type: ignore[import-untyped]  # It ships no types.
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host import blob_path, routes, schedule, settings
from local.functions_host.connections import has_queues
from local.functions_host.errors import FunctionBroken, HostError, NotEmulated
from local.functions_host.retry import FOR_EVER, RetryPolicy
from local.functions_host.timer import Status, read_status, starting_status

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
HOURLY = schedule.parse("0 0 * * * *")


class TestRetries:
    """Delays and ends of retry policies."""

    def test_fixed_delay_stays_the_same(self) -> None:
        """The host waits what the policy says, however often it failed."""
        policy = RetryPolicy(
            strategy="fixed_delay", max_retry_count=FOR_EVER, minimum_s=3, maximum_s=3
        )

        delays = [policy.delay_s(retries, Random(1)) for retries in range(50)]

        assert set(delays) == {3}

    @hypothesis.settings(deadline=None)
    @given(seed=st.integers())
    def test_exponential_delays_double_with_jitter_up_to_the_maximum(self, seed: int) -> None:
        """The WebJobs SDK's formula: min, then min + U(0.8, 1.2) * 2^(k-1) * min, then max."""
        policy = RetryPolicy(
            strategy="exponential_backoff", max_retry_count=FOR_EVER, minimum_s=2, maximum_s=60
        )

        delays = [policy.delay_s(retries, Random(seed)) for retries in range(100)]

        assert delays[0] == 2
        for retries in range(1, 5):
            step = 2 * 2 ** (retries - 1)
            assert 2 + 0.8 * step <= delays[retries] <= 2 + 1.2 * step
        assert delays[7:] == [60] * 93

    def test_retries_end_at_the_count_and_minus_one_never_ends(self) -> None:
        """A batch is given up after count + 1 attempts; with -1 it waits for ever."""
        finite = RetryPolicy(strategy="fixed_delay", max_retry_count=2, minimum_s=0, maximum_s=0)
        endless = RetryPolicy(strategy="fixed_delay", max_retry_count=-1, minimum_s=0, maximum_s=0)

        ends = [finite.is_exhausted(retries) for retries in range(4)]

        assert ends == [False, False, True, True]
        assert not endless.is_exhausted(10**6)

    def test_minimum_above_maximum_is_refused(self) -> None:
        """The real host refuses it at startup as well."""
        with pytest.raises(ValueError, match="minimum_interval is longer"):
            RetryPolicy(strategy="exponential_backoff", max_retry_count=1, minimum_s=9, maximum_s=1)


def cron_fields() -> st.SearchStrategy[str]:
    """Schedules of stars, values, ranges, steps and lists."""

    def part(low: int, high: int) -> st.SearchStrategy[str]:
        value = st.integers(low, high)
        # Never a-a: croniter takes that for the whole range.
        span = st.sets(value, min_size=2, max_size=2).map(lambda pair: f"{min(pair)}-{max(pair)}")
        step = st.integers(1, 12)
        stepped = st.tuples(span, step).map(lambda pair: f"{pair[0]}/{pair[1]}")
        star = st.one_of(st.just("*"), step.map(lambda number: f"*/{number}"))
        simple = st.one_of(value.map(str), span, stepped)
        return st.one_of(star, st.lists(simple, min_size=1, max_size=3).map(",".join))

    bounds = ((0, 59), (0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
    return st.tuples(*(part(low, high) for low, high in bounds)).map(" ".join)


class TestSchedules:
    """NCRONTAB."""

    @hypothesis.settings(deadline=None)
    @given(
        expression=cron_fields(),
        moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 -- Made aware below.
    )
    def test_next_occurrence_is_the_one_croniter_finds(
        self, expression: str, moment: datetime
    ) -> None:
        """An independent reading of the same schedule, with day AND weekday, must agree."""
        moment = moment.replace(tzinfo=UTC)
        options = {"second_at_beginning": True, "day_or": False, "max_years_between_matches": 60}

        found = schedule.parse(expression).next_after(moment)

        assert found == croniter(expression, moment, **options).get_next(datetime)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("0 5 * * *", "2026-11-21T05:00:00"),  # five fields: at second 0
            ("30/10 * * * * *", "2026-11-20T12:00:40"),  # a/n is a..max
            ("0 0 0 * feb Mon", "2027-02-01T00:00:00"),  # names, by prefix
            ("0 0 0 13 * fri", "2027-08-13T00:00:00"),  # day AND weekday
            ("0 0 0 29 2 *", "2028-02-29T00:00:00"),  # leap days
            ("0 59-58 * * * *", "2026-11-20T12:58:00"),  # a reversed range is turned round
        ],
    )
    def test_what_ncrontab_reads_its_own_way(self, expression: str, expected: str) -> None:
        """Where other crons differ, a local run must show what Azure will do."""
        found = schedule.parse(expression).next_after(NOON)

        assert found.isoformat() == f"{expected}+00:00"

    @pytest.mark.parametrize(
        "expression",
        [
            "",
            "* * * *",
            "60 * * * * *",
            "0 0 0 * * 7",
            "0 0 0 0 * *",
            "*/0 * * * * *",
            "x * * * * *",
            "0 0 0 30 2 *",
            "0 0 0 L * *",
        ],
    )
    def test_schedule_that_is_none_is_refused(self, expression: str) -> None:
        """A typo must not become a timer that never or always fires."""
        with pytest.raises(ValueError, match=r"schedule|second|day|weekday"):
            schedule.parse(expression)

    def test_only_schedules_of_more_than_once_a_minute_are_dense(self) -> None:
        """Dense timers keep no status, so they are never past due."""
        dense = [schedule.parse(text).is_dense for text in ("* * * * * *", "*/30 * * * * *")]
        sparse = [schedule.parse(text).is_dense for text in ("0 * * * * *", "0 0 3 * * *")]

        assert dense == [True, True]
        assert sparse == [False, False]


class TestTimerStatus:
    """What a timer starts with: the past-due matrix."""

    def test_first_start_waits_for_the_next_occurrence(self) -> None:
        """A timer that never ran owes nothing."""
        status = starting_status(None, HOURLY, NOON)

        assert status == Status(next=datetime(2026, 11, 20, 13, tzinfo=UTC), updated=NOON)

    def test_occurrence_still_ahead_is_kept(self) -> None:
        """A restart between two occurrences changes nothing."""
        stored = Status(
            last=NOON - timedelta(seconds=30), next=datetime(2026, 11, 20, 13, tzinfo=UTC)
        )

        assert starting_status(stored, HOURLY, NOON) == stored

    def test_missed_occurrences_are_one_past_due(self) -> None:
        """However many were missed, the timer runs once, at once."""
        stored = Status(
            last=datetime(2026, 11, 20, 7, tzinfo=UTC), next=datetime(2026, 11, 20, 8, tzinfo=UTC)
        )

        status = starting_status(stored, HOURLY, NOON)

        assert status == stored
        assert status.next < NOON

    def test_schedule_that_changed_is_not_past_due(self) -> None:
        """The new schedule starts from now; the old one's debts are forgotten."""
        stored = Status(
            last=datetime(2026, 11, 19, 3, tzinfo=UTC), next=datetime(2026, 11, 20, 3, tzinfo=UTC)
        )

        status = starting_status(stored, HOURLY, NOON)

        assert status == Status(next=datetime(2026, 11, 20, 13, tzinfo=UTC), updated=NOON)

    def test_schedule_that_changed_to_an_occurrence_ahead_counts_from_the_last_run(self) -> None:
        """`LastUpdated` is what `Next` was computed from, so that the next start agrees."""
        last = NOON - timedelta(minutes=5)
        stored = Status(last=last, next=NOON + timedelta(days=1))
        yearly = schedule.parse("0 0 0 1 1 *")

        status = starting_status(stored, yearly, NOON)

        assert status == Status(next=datetime(2027, 1, 1, tzinfo=UTC), updated=last)

    def test_timer_that_never_ran_is_past_due_by_its_first_start(self) -> None:
        """The first start stored what to wait for; nobody was there when it came."""
        first = starting_status(None, HOURLY, NOON)

        status = starting_status(first, HOURLY, NOON + timedelta(hours=3))

        assert status == first
        assert status.next < NOON + timedelta(hours=3)

    def test_status_reads_back_as_it_was_written(self) -> None:
        """The .NET host writes seven digits and `0001-01-01`; both must be understood."""
        ours = Status(last=NOON, next=NOON + timedelta(hours=1), updated=NOON)
        theirs = (
            b'{"Last":"0001-01-01T00:00:00","Next":"2026-11-20T13:00:00.1234567+00:00",'
            b'"LastUpdated":"0001-01-01T00:00:00"}'
        )

        assert read_status(json.dumps(ours.as_document())) == ours
        assert read_status(theirs) == Status(
            next=datetime(2026, 11, 20, 13, 0, 0, 123456, tzinfo=UTC)
        )


class TestSettings:
    """The environment and host.json."""

    def loaded(self, folder: Path, host: object, **environment: str) -> settings.Settings:
        """The settings of an app with this host.json."""
        (folder / "host.json").write_text(json.dumps(host))
        return settings.load(app=folder, environment=environment, machine="box.example")

    def test_setting_in_a_binding_that_is_missing_is_named(self, tmp_path: Path) -> None:
        """The message has to say which setting a person must set."""
        found = self.loaded(tmp_path, {}, HUB="quakes")

        assert found.resolve("a-%HUB%-b") == "a-quakes-b"
        with pytest.raises(FunctionBroken, match="the setting TRACK_SCHEDULE is not set"):
            found.resolve("%TRACK_SCHEDULE%")

    def test_options_ignore_case_and_the_environment_overrides_them(self, tmp_path: Path) -> None:
        """Azure reads host.json that way; deployments set options by app settings."""
        host = {"extensions": {"eventHubs": {"maxEventBatchSize": 7, "maxWaitTime": "00:01:30"}}}
        name = "AzureFunctionsJobHost__extensions__eventHubs__prefetchCount"

        found = self.loaded(tmp_path, host, **{name: "900"})

        assert found.whole_number("extensions.eventhubs.maxEventBatchSize", 1) == 7
        assert found.whole_number("extensions.eventHubs.prefetchCount", 1) == 900
        assert found.duration_s("extensions.eventHubs.maxWaitTime", 1) == 90

    def test_option_of_the_wrong_type_is_named(self, tmp_path: Path) -> None:
        """A wrong host.json is a line at startup, not a traceback at the first event."""
        found = self.loaded(tmp_path, {"extensions": {"blobs": {"poisonBlobThreshold": "five"}}})

        with pytest.raises(HostError, match=r"poisonBlobThreshold is 'five', not a whole number"):
            found.whole_number("extensions.blobs.poisonBlobThreshold", 5)

    def test_host_id_is_the_one_func_derives(self, tmp_path: Path) -> None:
        """Core Tools find the state this host left, and the other way round."""
        found = self.loaded(tmp_path, {}, AzureFunctionsWebHost__hostid="Chosen")

        assert settings.default_host_id("my-box.local", tmp_path.__class__("/ab")) == "mybox-733465"
        assert found.host_id == "chosen"

    def test_connection_means_a_string_before_an_identity(self, tmp_path: Path) -> None:
        """`X` and `AzureWebJobsX` are connection strings, `X__part` is the identity form."""
        found = self.loaded(
            tmp_path,
            {},
            AzureWebJobsLAKE="text",
            AzureWebJobsStorage="UseDevelopmentStorage=true",
            HUBS__fullyQualifiedNamespace="host",
        )

        assert found.connection_text("LAKE") == "text"
        assert "127.0.0.1:10001/devstoreaccount1" in (found.connection_text("Storage") or "")
        assert found.connection_text("HUBS") is None
        assert found.connection_part("HUBS", "fullyQualifiedNamespace") == "host"

    def test_function_is_disabled_by_either_spelling(self, tmp_path: Path) -> None:
        """Linux allows no dots in names of variables, so Azure reads underscores as well."""
        found = self.loaded(
            tmp_path, {}, **{"AzureWebJobs.a.Disabled": "true", "AzureWebJobs_b_Disabled": "1"}
        )

        assert [found.is_disabled(name) for name in "abc"] == [True, True, False]

    def test_blob_only_account_has_no_queues(self) -> None:
        """Its poison messages then go to the host's own storage."""
        whole = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k"
        blob_only = "BlobEndpoint=https://a.blob.example;SharedAccessSignature=s"

        assert has_queues(whole)
        assert has_queues("UseDevelopmentStorage=true")
        assert has_queues(f"{blob_only};QueueEndpoint=https://a.queue.example")
        assert not has_queues(blob_only)


class TestRoutes:
    """Route templates."""

    @pytest.mark.parametrize(
        ("template", "path", "expected"),
        [
            ("hello", "hello", {}),
            ("Hello", "hELLO", {}),
            ("hello", "hello/you", None),
            ("items/{id}", "items/a%20b", {"id": "a b"}),
            ("items/{id}", "items", None),
            ("items/{id:int}", "items/12", {"id": "12"}),
            ("items/{id:int}", "items/x", None),
            ("items/{id:int?}", "items", {}),
            ("items/{id=5}", "items", {"id": "5"}),
            ("items/{id=5}", "items/6", {"id": "6"}),
            ("files/{*rest}", "files/a/b.txt", {"rest": "a/b.txt"}),
        ],
    )
    def test_template_matches_as_in_asp_net(
        self, template: str, path: str, expected: dict[str, str] | None
    ) -> None:
        """An app's routes must lead to the same functions here and in Azure."""
        assert routes.parse(template, []).match("GET", path) == expected

    def test_method_that_is_not_listed_does_not_match(self) -> None:
        """The host then answers 404, as Azure does."""
        route = routes.parse("hello", ["post"])

        assert route.match("POST", "hello") == {}
        assert route.match("GET", "hello") is None

    def test_literal_wins_over_constrained_over_free_over_rest(self) -> None:
        """The order of declaration must not decide who answers."""
        templates = ["a/{*rest}", "a/{id}", "a/{id:int}", "a/b"]

        ranked = sorted((routes.parse(text, []) for text in templates), key=lambda one: one.rank)

        assert [one.template for one in ranked] == templates[::-1]

    @pytest.mark.parametrize("template", ["{id:range(1,2)}", "a{id}b", "{id:datetime}"])
    def test_template_outside_the_emulated_part_is_refused(self, template: str) -> None:
        """Half understood routes would answer 404 without a reason."""
        with pytest.raises(NotEmulated, match="is not emulated"):
            routes.parse(template, [])


class TestBlobPaths:
    """Paths of blob triggers."""

    @pytest.mark.parametrize(
        ("path", "name", "expected"),
        [
            ("inbox", "any/thing", {}),
            ("inbox/{name}", "a/b.txt", {"name": "a/b.txt"}),
            ("inbox/{name}.{kind}", "a.b.txt", {"name": "a.b", "kind": "txt"}),
            ("inbox/raw/{name}", "raw/", {"name": ""}),
            ("inbox/raw/{name}", "Raw/x", None),
            ("inbox/{{{name}}}", "{x}", {"name": "x"}),
            ("inbox/a+b", "aab", None),
        ],
    )
    def test_tokens_bind_as_in_the_webjobs_sdk(
        self, path: str, name: str, expected: dict[str, str] | None
    ) -> None:
        """Tokens are greedy, may be empty and cross slashes; the case matters."""
        assert blob_path.parse(path).match(name) == expected

    def test_container_has_to_be_literal(self) -> None:
        """A scan needs to know where to look."""
        with pytest.raises(FunctionBroken, match="name of a container"):
            blob_path.parse("{container}/x")
