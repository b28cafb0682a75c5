"""The services every listener is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.functions_host.connections import Connections
    from local.functions_host.invocations import Invocations
    from local.functions_host.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The settings of the app, its connections, and what runs its functions."""

    settings: Settings
    connections: Connections
    invocations: Invocations
