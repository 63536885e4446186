"""Clients that keep asking while something happens to the server, and note every request that fails; and who
counts its workers meanwhile.
"""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

from harness import Server


class Census(threading.Thread):
    """Counts the server's workers, by their titles, all the time; ``most`` is the highest count."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._finished = threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self._finished.wait(0.005):
            workers = {pid for pid, title in self._server.processes().items() if "worker [" in title}
            # What a worker starts has its title until it executes something else: import trio runs ldconfig.
            others = {0, *workers}
            self.most = max(self.most, sum(parent_of(pid) not in others for pid in workers))

    def __enter__(self) -> Census:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._finished.set()
        self.join()


def parent_of(pid: int) -> int:
    """0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


class Load:
    """Threads that send one request after the other until the end of the ``with`` block.

    Args:
        keep_alive: Each client keeps its connection as long as the server does. An idle connection that is
            closed without an announcement is a lost request: the client could not know.
        path: What is asked for.

    Attributes:
        bodies: The bodies of all answers, in order.
        lost: What went wrong, one text for each request.
    """

    def __init__(
        self, server: Server, clients: int = 2, *, keep_alive: bool = False, path: str = "/"
    ) -> None:
        self.bodies: list[str] = []
        self.lost: list[str] = []
        self._server = server
        self._keep_alive = keep_alive
        self._path = path
        self._finished = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    @property
    def answered(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._finished.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self) -> None:
        client = http.client.HTTPConnection("localhost", timeout=10)
        while not self._finished.is_set():
            try:
                self._ask(client)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                client.close()
        client.close()

    def _ask(self, client: http.client.HTTPConnection) -> None:
        if client.sock is None:
            client.sock = self._server.connect()
        client.request("GET", self._path, headers={} if self._keep_alive else {"Connection": "close"})
        response = client.getresponse()
        body = response.read().decode()
        if response.status == 200:
            self.bodies.append(body)
        else:
            self.lost.append(f"{response.status} {body}")
