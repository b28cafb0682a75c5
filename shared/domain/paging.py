"""The paging: how a tool splits its answer, and how a poll knows that it has seen the end."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.domain.fields import Part

PAGES_MAX = 10_000


class Totalled(Part):
    """What even a single page may tell."""

    total: str = Field(
        default="",
        description="Where the tool says how many records there are in all: a dotted path in the "
        "body, or `header:` and a header's name. A walk that saw another number proves nothing.",
    )


class NoPaging(Totalled):
    """The whole answer is one page."""

    kind: Literal["none"] = "none"


class Paged(Totalled):
    """What all ways of paging have in common: the signs of the end."""

    has_more: str = Field(
        default="", description="Dotted path to what says whether another page follows."
    )
    empty_page_ends: bool = Field(
        default=True, description="A page without records is the last one."
    )
    pages_max: int = Field(
        default=PAGES_MAX, ge=1, description="A walk longer than this is refused as endless."
    )


class NextLink(Paged):
    """Each page tells the address of the next one."""

    kind: Literal["nextLink"] = "nextLink"
    where: Literal["header", "body"] = Field(
        default="header", alias="in", description="In the header `Link`, or in the body."
    )
    path: str = Field(default="", description="Dotted path to the link, when it is in the body.")
    relation: str = Field(default="next", description="Which link of the header `Link`.")

    @model_validator(mode="after")
    def _link_has_a_place(self) -> Self:
        if (self.where == "body") != bool(self.path):
            raise ValueError("path is for a link in the body, and such a link needs one")
        return self


class Numbered(Paged):
    """Pages that can be asked for in any order."""

    size: int | None = Field(default=None, ge=1, description="Records asked for in one page.")
    short_page_ends: bool = Field(
        default=True, description="A page with fewer records than the ones before is the last one."
    )
    concurrency: int = Field(
        default=1, ge=1, le=16, description="Pages asked for at once; their order is kept."
    )


class PageNumber(Numbered):
    """Pages have numbers."""

    kind: Literal["pageNumber"] = "pageNumber"
    parameter: str = "page"
    first: int = Field(default=1, ge=0, description="Number of the first page.")
    size_parameter: str = Field(default="", description="Parameter for `size`, if there is one.")

    @model_validator(mode="after")
    def _size_has_a_parameter(self) -> Self:
        if self.size_parameter and self.size is None:
            raise ValueError("sizeParameter is given, but no size to put into it")
        return self


class Offset(Numbered):
    """A page is asked for by how many records lie before it."""

    kind: Literal["offset"] = "offset"
    parameter: str = "offset"
    first: int = Field(default=0, ge=0, description="Offset of the first record.")
    size_parameter: str = "limit"
    size: int = Field(default=100, ge=1, description="Records asked for in one page.")


class CursorToken(Paged):
    """Each page gives a token that asks for the next one."""

    kind: Literal["cursorToken"] = "cursorToken"
    parameter: str = Field(description="Query parameter that takes the token.")
    where: Literal["header", "body"] = Field(default="body", alias="in")
    path: str = Field(description="Dotted path to the token, or the header's name.")
    first: str = Field(default="", description="Token of the first page, where one is needed.")


Paging = Annotated[
    NoPaging | NextLink | PageNumber | Offset | CursorToken,
    Field(discriminator="kind", description="How the tool splits its answer into pages."),
]
