"""A folder: raw blobs that were copied out of storage, for an audit without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.adapters import raw_avro
from shared.domain.raw_blob import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from shared.domain.raw_blob import RawHead


class RawFolder:
    """RawFiles: a copy of the container `raw`; metadata does not survive copying."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds what the container holds: `<material>/<yyyy>/…`."""
        self._folder = folder

    async def names(self, material: str) -> list[str]:
        """List."""
        found = (self._folder / material).rglob(f"*{SUFFIX}")
        return [str(path.relative_to(self._folder)) for path in found]

    async def look(self, name: str) -> tuple[RawHead | None, RawHead | None]:
        """Read."""
        content = await asyncio.to_thread((self._folder / name).read_bytes)
        return raw_avro.read_head(name, content), None
