"""A tool in a thread of its own: for commands and stacks, which have a loop of their own."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Answering(BaseHTTPRequestHandler):
    """Answers GET; whoever inherits says with what."""

    def do_GET(self) -> None:
        """Answer."""
        body = self.answer()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> bytes:
        """Give the body for `path`."""
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(tool: type[Answering]) -> Iterator[str]:
    """Serve a tool; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), tool) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
