"""A real HTTP server that takes what is posted to it, as a webhook does."""

import contextlib
import http.server
import json
import ssl
import threading
import time

LIMIT_S = 20.0


class WebhookServer:
    """A context manager; `posts` is what came, decoded. statuses: of the first answers; then 200.

    slow: it answers nothing before `answers` is set, or the end. dripping: so many of its first
    answers come byte by byte, and never end. tls: a certificate.
    """

    def __init__(self, statuses=(), port=0, slow=False, dripping=0, tls=None):
        self.posts = []
        self.tries = 0
        self.answers = threading.Event()
        self._statuses = list(statuses)
        self._over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                outer.tries += 1
                if slow:
                    outer.answers.wait(LIMIT_S)
                if outer.tries <= dripping:
                    with contextlib.suppress(OSError):
                        self.wfile.write(b"HTTP/1.1 2")
                        while not outer._over.wait(0.01):
                            self.wfile.write(b"0")
                    return
                status = outer._statuses.pop(0) if outer._statuses else 200
                if status == 200:
                    assert self.headers["Content-Type"] == "application/json"
                    outer.posts.append(json.loads(data))
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    if status // 100 == 3:
                        self.send_header("Location", outer.url)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.file, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{self.port}/hook/a-secret"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def notices(self):
        """All notices that came, in order."""
        return [notice for post in self.posts for notice in post["notices"]]

    def until(self, holds):
        """Wait until something holds of it."""
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, (self.tries, self.posts)
            time.sleep(0.01)
