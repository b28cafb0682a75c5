"""The walk: from page to page through a source's answer, to its end or to where a poll must stop.

What is known of a walk is one value, noted in the source's journal after every page, so that a
killed poll goes on at the page where it was.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus, urljoin, urlsplit, urlunsplit

from shared.domain.auth import ApiKey
from shared.domain.errors import BadRecord
from shared.domain.page import Request
from shared.domain.paging import (
    CursorToken,
    NextLink,
    NoPaging,
    Numbered,
    Offset,
    Paged,
    PageNumber,
    Totalled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.cursor_field import Value
    from shared.domain.page import Page
    from shared.domain.source import Source

_HEADER = "header:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Where a walk is. `request` is the next one; None when the last page is read.

    `whole` says that nothing has happened yet that leaves open whether all records were seen;
    `total` is what the tool says there are in all, `largest` the most records of any page.
    """

    request: Request | None = None
    since: Value = None
    until: Value = None
    newest: Value = None
    pages: int = 0
    records: int = 0
    repeated: int = 0
    largest: int = 0
    total: int | None = None
    whole: bool = True


def begin(source: Source, *, since: Value = None, until: Value = None) -> Walk:
    """A walk at its first page."""
    return Walk(request=_first(source), since=since, until=until)


def query_of(source: Source, walk: Walk, request: Request) -> dict[str, str]:
    """What a request adds to the source's address; a link says all that it needs itself."""
    if request.link:
        return {}
    query = dict(source.query)
    cursor = source.cursor
    if cursor and cursor.parameter and walk.since is not None:
        query[cursor.parameter] = cursor.text(walk.since)
    if cursor and cursor.until and walk.until is not None:
        query[cursor.until] = cursor.text(walk.until)
    return query | dict(request.parameters)


def paths_beside(source: Source) -> tuple[str, ...]:
    """Paths in the body that paging wants to know."""
    paging = source.paging
    found = ["" if paging.total.startswith(_HEADER) else paging.total]
    if isinstance(paging, Paged):
        found.append(paging.has_more.removeprefix("!"))
    if isinstance(paging, NextLink | CursorToken) and paging.where == "body":
        found.append(paging.path)
    return tuple(path for path in found if path)


def after_page(
    source: Source, walk: Walk, page: Page, *, records: int, beside: Mapping[str, Any]
) -> Walk:
    """The walk behind a page of so many records; `beside` are the values at `paths_beside`.

    Raises `BadRecord` when the walk has no end.
    """
    assert walk.request, "a page was asked for"
    paging = source.paging
    total = _total(paging, page, beside)
    whole = walk.whole and page.is_whole and walk.total in (None, total)
    moved = replace(
        walk,
        pages=walk.pages + 1,
        records=walk.records + records,
        total=walk.total if total is None else total,
        whole=whole,
    )
    following = None
    if not isinstance(paging, NoPaging) and not page.skipped:
        following = _following(paging, moved, page, records=records, beside=beside)
        if following and following.link and isinstance(source.auth, ApiKey):
            # Some tools repeat the key in their links; it is kept nowhere, and given anew.
            following = replace(following, link=_without(following.link, source.auth.name))
        if following and moved.pages >= paging.pages_max:
            raise BadRecord(
                "endless-paging",
                f"page {moved.pages} of {source.name} says that another follows; paging.pagesMax "
                f"is {paging.pages_max}: raise it if that is right",
            )
    return replace(moved, request=following, largest=max(walk.largest, records))


def is_complete(walk: Walk, source: Source) -> bool:
    """Whether a walk at its end has provably seen every record there is."""
    counted = walk.total is not None and walk.total == walk.records - walk.repeated
    alone = isinstance(source.paging, NoPaging) and not source.paging.total
    proven = counted or (alone and not _as_many_as_asked(walk, source))
    return bool(walk.request is None and walk.whole and walk.records and proven)


def _as_many_as_asked(walk: Walk, source: Source) -> bool:
    """Whether the query asks for exactly so many records: then there may be more."""
    in_url = (text for _, text in parse_qsl(urlsplit(source.url).query))
    return str(walk.records) in {*source.query.values(), *in_url}


def can_be_complete(source: Source) -> bool:
    """Whether a walk of this source could ever prove that it has seen all."""
    return isinstance(source.paging, NoPaging) or bool(source.paging.total)


def capped_at(source: Source, walk: Walk) -> int:
    """The size that the tool silently cuts pages to; 0 when it gives what it is asked for."""
    size = source.paging.size if isinstance(source.paging, Numbered) else None
    return walk.largest if size and walk.pages > 1 and 0 < walk.largest < size else 0


def guess_after(paging: Numbered, request: Request, *, size: int) -> Request:
    """The request that probably follows, to ask ahead of time."""
    return _numbered(paging, request.offset + size, page=request.page + 1)


def to_json(walk: Walk) -> dict[str, Any]:
    """A walk as a journal keeps it."""
    return asdict(walk)


def of_json(content: dict[str, Any]) -> Walk:
    """Read what `to_json` wrote."""
    request = content["request"]
    return Walk(**{**content, "request": Request(**request) if request else None})


def _first(source: Source) -> Request:
    paging = source.paging
    if isinstance(paging, Numbered):
        return _numbered(paging, paging.first if isinstance(paging, Offset) else 0, page=1)
    if isinstance(paging, CursorToken) and paging.first:
        return Request(parameters={paging.parameter: paging.first})
    return Request()


def _following(
    paging: Paged, walk: Walk, page: Page, *, records: int, beside: Mapping[str, Any]
) -> Request | None:
    assert walk.request, "a page was asked for"
    if _says_it_ends(paging, walk, records=records, beside=beside):
        return None
    number = walk.request.page + 1
    if isinstance(paging, Numbered):
        return _numbered(paging, walk.request.offset + records, page=number)
    if isinstance(paging, NextLink):
        named = page.headers.get(f"link;{paging.relation}") if paging.where == "header" else None
        link = named or beside.get(paging.path)
        return Request(link=urljoin(page.url, str(link)), page=number) if link else None
    assert isinstance(paging, CursorToken), "there is no other way of paging"
    headers = page.headers if paging.where == "header" else {}
    token = headers.get(paging.path.lower()) or beside.get(paging.path)
    found = token not in (None, "")
    return Request(parameters={paging.parameter: str(token)}, page=number) if found else None


def _says_it_ends(paging: Paged, walk: Walk, *, records: int, beside: Mapping[str, Any]) -> bool:
    if records == 0 and paging.empty_page_ends:
        return True
    if paging.has_more:
        flag = _is_true(beside.get(paging.has_more.removeprefix("!")))
        return flag == paging.has_more.startswith("!")
    return isinstance(paging, Numbered) and _is_last(paging, walk, records)


def _without(link: str, name: str) -> str:
    """A link without a parameter."""
    parts = urlsplit(link)
    kept = [each for each in parts.query.split("&") if unquote_plus(each.partition("=")[0]) != name]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _is_last(paging: Numbered, walk: Walk, records: int) -> bool:
    """Whether a page that can be asked for by number is the last.

    A first page that is short may only be cut by the tool: the next one tells, and is empty if not.
    """
    assert walk.request, "a page was asked for"
    if walk.total is not None:
        before = walk.request.offset - paging.first if isinstance(paging, Offset) else 0
        return max(before + records, walk.records) >= walk.total
    return paging.short_page_ends and walk.pages > 1 and records < walk.largest


def _total(paging: Totalled, page: Page, beside: Mapping[str, Any]) -> int | None:
    path = paging.total
    if path.startswith(_HEADER):
        found = page.headers.get(path.removeprefix(_HEADER).strip().lower())
    else:
        found = beside.get(path)
    text = str(found)
    return int(text) if text.isdecimal() else None


def _is_true(flag: Any) -> bool:  # noqa: ANN401 -- JSON is any value.
    return bool(flag) and str(flag).lower() not in ("false", "0", "no", "n")


def _numbered(paging: Numbered, offset: int, *, page: int) -> Request:
    if isinstance(paging, Offset):
        parameters = {paging.parameter: str(offset), paging.size_parameter: str(paging.size)}
        return Request(parameters=parameters, page=page, offset=offset)
    assert isinstance(paging, PageNumber), "there is no other way of numbering"
    parameters = {paging.parameter: str(paging.first + page - 1)}
    if paging.size_parameter:
        parameters[paging.size_parameter] = str(paging.size)
    return Request(parameters=parameters, page=page)
