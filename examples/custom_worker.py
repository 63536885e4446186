"""A worker class of your own: ``gunicorn -k examples.custom_worker.OneShotWorker examples.hello:app``.

It speaks just enough HTTP to show the contract: what the base class prepares, and what is left to do. That is
to accept from ``self.sockets``, to call ``self.wsgi``, to call ``self.notify()`` at least every
``self.timeout`` seconds, and to return from ``run`` when ``self.alive`` is false.
"""

import io
import select
import sys

from gunicorn.workers.base import Worker


class OneShotWorker(Worker):
    """One request per connection, one connection at a time."""

    def run(self):
        for listener in self.sockets:
            listener.setblocking(False)
        while self.alive:
            self.notify()
            readable, _, _ = select.select(self.sockets, [], [], 1.0)
            for listener in readable:
                self.accept(listener)

    def accept(self, listener):
        try:
            client, address = listener.accept()
        except BlockingIOError:
            return  # another worker was faster
        with client:
            client.settimeout(5)
            try:
                self.answer(client, listener, address)
            except OSError as error:
                self.log.debug("connection of %s lost: %s", address, error)
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False

    def answer(self, client, listener, address):
        with client.makefile("rb") as stream:
            method, target, version = stream.readline().decode("latin-1").split()
            while stream.readline() not in (b"\r\n", b""):
                pass  # this toy looks at no header
        path, _, query = target.partition("?")
        host, port = listener.getsockname()[:2]
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": version,
            "REMOTE_ADDR": address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        head = []

        def start_response(status, headers, exc_info=None):
            lines = [
                f"HTTP/1.1 {status}",
                *(f"{name}: {value}" for name, value in headers),
                "Connection: close",
            ]
            head[:] = ["\r\n".join([*lines, "", ""])]

        body = b"".join(self.wsgi(environ, start_response))
        client.sendall(head[0].encode("latin-1") + body)
