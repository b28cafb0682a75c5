"""The source: a third-party tool that answers HTTP GET, as the document describes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.domain.auth import Auth, NoAuth
from shared.domain.cursor_field import CursorField  # noqa: TC001 -- Pydantic reads it.
from shared.domain.fields import SETTING, Duration, Name, Part, Schedule, Url
from shared.domain.http_outcome import Outcome  # noqa: TC001 -- The same.
from shared.domain.paging import NoPaging, Paging

_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization", "x-api-key")


class Rate(Part):
    """What we allow ourselves, whatever the tool would allow."""

    requests: int = Field(ge=1, description="So many requests at most")
    per: Duration = Field(default=timedelta(seconds=1), description="in so much time.")


class Retries(Part):
    """What is done about an answer that is not the one hoped for."""

    attempts: int = Field(default=4, ge=1, le=20, description="Requests for one page, in all.")
    pause_seconds: float = Field(
        default=1, ge=0, description="First pause; it doubles. A tool's own Retry-After wins."
    )
    outcomes: dict[Annotated[int, Field(ge=200, le=599)], Outcome] = Field(
        default_factory=dict, description="Replaces rows of the table from status to outcome."
    )


class Limits(Part):
    """What one poll may cost at most."""

    page_bytes: int = Field(
        default=64 * 1024 * 1024,
        gt=0,
        description="Bytes of one page, as sent and as decompressed.",
    )
    request_seconds: float = Field(
        default=30, gt=0, description="Time for an answer to begin, and between two parts of it."
    )
    seconds: float = Field(
        default=120,
        gt=0,
        le=540,
        description="Time of one whole poll; it goes on at the next. A function has 600.",
    )


class Source(Part):
    """A third-party tool that answers HTTP GET."""

    name: Name
    url: Url = Field(description="Address to GET; `%SETTING%` stands for an app setting.")
    query: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    schedule: Schedule = Field(description="When to poll: NCRONTAB, six fields, UTC.")
    format: Literal["json", "object", "geojson", "ndjson", "csv", "tsv", "text"] = Field(
        default="json",
        description="How a page is written; `object` is JSON with one record, `text` a table with "
        "blanks.",
    )
    charset: str = Field(
        default="", description="Replaces what the tool says, for one that says it wrong."
    )
    records: str = Field(
        default="",
        description="Dotted path to the array of records; empty: the whole body (`features` of "
        "GeoJSON).",
    )
    key: str | tuple[str, ...] = Field(
        default="id",
        description="Dotted path to what names a record, or several; keeps its versions in order.",
    )
    ignore_changes_in: tuple[str, ...] = Field(
        default=(),
        description="Dotted paths; a record that changed only there is not sent again.",
    )
    cursor: CursorField | None = Field(
        default=None, description="What says which records are new; without it all are read."
    )
    paging: Paging = NoPaging()
    auth: Auth = NoAuth()
    rate: Rate | None = None
    retries: Retries = Retries()
    limits: Limits = Limits()
    publishes: Name = Field(description="The material this source's records become.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The paths to what names a record."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def records_path(self) -> str:
        """Where the records are."""
        return self.records or ("features" if self.format == "geojson" else "")

    @field_validator("charset")
    @classmethod
    def _charset_is_known(cls, charset: str) -> str:
        try:
            "".encode(charset or "utf-8")
        except LookupError as error:
            raise ValueError(str(error)) from error
        return charset

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> Self:
        if not self.keys:
            raise ValueError("key: at least one path names a record")
        if self.format not in ("json", "object", "geojson") and self.records:
            raise ValueError(f"records is a path in JSON; in {self.format} every line is a record")
        return self

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Self:
        for name, value in self.headers.items():
            if name.lower() in _SECRET_HEADERS and not SETTING.search(value):
                raise ValueError(
                    f"headers.{name}: a secret does not belong in this file: use auth, or name a "
                    "setting, for example '%API_KEY%'"
                )
        return self
