"""A web server on this machine that can be told to fail in the ways that real ones do."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Files and redirections by path, and what goes wrong with the next answers.

    files      path to bytes
    moved      path to another address (302)
    failures   per path a list, taken one per request: an HTTP status; ("cut", n): only n bytes of what is due;
               "hang up": no answer; "broken chunks"; "no length": ends without having said how much there is;
               "elsewhere": a 206 of another range
    ranges, versions   whether it answers Range, and sends ETag
    asked      (path, Range or None) of each request
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.moved, self.failures, self.asked = {}, {}, {}, []
        self.ranges = self.versions = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        self.close_connection = True
        failures = server.failures.get(self.path)
        failure = failures.pop(0) if failures else None
        if failure == "hang up":
            return
        if isinstance(failure, int):
            self.answer(failure, b"")
        elif self.path in server.moved:
            self.answer(302, b"", Location=server.moved[self.path])
        elif self.path not in server.files:
            self.answer(404, b"not here")
        else:
            self.send_file(server.files[self.path], wanted, failure)

    def send_file(self, content, wanted, failure):
        version = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
        headers = {"ETag": version} if self.server.versions else {}
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if self.headers.get("If-Range", version) != version:
            start = 0
        if start >= len(content) > 0:
            return self.answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})
        if failure == "elsewhere":
            headers["Content-Range"] = f"bytes 0-{len(content) - 1}/{len(content)}"
            return self.answer(206, content, **headers)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], failure, **headers)

    def answer(self, status, body, failure=None, **headers):
        self.send_response(status)
        if failure == "broken chunks":
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n" % len(body) + body[: len(body) // 2]
        elif failure == "no length":
            body = body[: len(body) // 2]
        else:
            headers["Content-Length"] = str(len(body))
            if failure:
                body = body[: failure[1]]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving():
    """A Server that answers until the end of the block."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
