"""The source: a third-party tool that answers HTTP GET, as the document describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.domain.fields import Name, Part, Schedule, Url


class NoPaging(Part):
    """The whole answer is one page."""

    kind: Literal["none"] = "none"


class NoAuth(Part):
    """The tool asks for no credentials."""

    kind: Literal["none"] = "none"


Paging = Annotated[NoPaging, Field(description="How the tool splits its answer into pages.")]
Auth = Annotated[NoAuth, Field(description="How a request proves who is asking.")]


class Limits(Part):
    """What one poll may cost at most."""

    page_bytes: int = Field(default=64 * 1024 * 1024, gt=0, description="Bytes of one page.")
    seconds: float = Field(default=120, gt=0, description="Time of one whole poll.")


class Source(Part):
    """A third-party tool that answers HTTP GET."""

    name: Name
    url: Url = Field(description="Address to GET; `%SETTING%` stands for an app setting.")
    query: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    schedule: Schedule = Field(description="When to poll: NCRONTAB, six fields, UTC.")
    format: Literal["json", "geojson"] = "json"
    records: str = Field(
        default="", description="Dotted path to the array of records; empty: the whole body."
    )
    key: str = Field(
        default="id", description="Dotted path to what names a record; keeps its versions in order."
    )
    paging: Paging = NoPaging()
    auth: Auth = NoAuth()
    limits: Limits = Limits()
    publishes: Name = Field(description="The material this source's records become.")
