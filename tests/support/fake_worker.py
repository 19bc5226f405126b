"""Reads: nothing. Writes: the answers it was given. The HTTP side of a worker."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def command_path(command_id: str) -> str:
    """The path under which the command line asks for a command."""
    return f"/api/v1/commands/{base64.urlsafe_b64encode(command_id.encode()).decode()}?base64=1"


@contextmanager
def worker(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """Serve these statuses and contents, by path; the address. A text is served as it is, anything else as JSON."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers.get(self.path, (404, {"error": "not found"}))
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
