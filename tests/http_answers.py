"""What an answer over HTTP says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import azure.functions as func


def content(response: func.HttpResponse) -> dict[str, Any]:
    """What a response says."""
    found: dict[str, Any] = json.loads(response.get_body())
    return found


def problem(response: func.HttpResponse) -> tuple[int, str]:
    """Status and detail of a problem."""
    found = content(response)
    assert response.mimetype == "application/problem+json"
    assert found["status"] == response.status_code
    assert found.keys() >= {"type", "title"}
    return response.status_code, found["detail"]
