"""A real nginx in front of a server under test, in one folder and one process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from attrs import define, field
from harness import wait_until

__all__ = ["NGINX", "Nginx"]

NGINX = shutil.which(
    "nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
)

MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
{modules}
events {{ worker_connections 256; }}
http {{
    access_log off;
    log_format forwarded '$server_name $status "$upstream_status" $request';
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    client_body_timeout 20s;
    client_header_timeout 20s;
    large_client_header_buffers 8 64k;
    proxy_read_timeout 20s;
    proxy_set_header Host $http_host;
    proxy_next_upstream off;
    proxy_ignore_client_abort on;
    {http}
}}
{other}
"""


@define
class Nginx:
    """Clients talk to it over unix sockets in ``folder``, so that no port has to be guessed.

    Attributes:
        http: What stands inside ``http { … }``.
        other: What stands beside it, ``stream { … }`` for example.
        modules: ``load_module`` lines.
    """

    folder: Path
    http: str = ""
    other: str = ""
    modules: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Nginx:
        assert NGINX is not None
        path = self.folder / "nginx.conf"
        parts = {name: text.replace("FOLDER", str(self.folder)) for name, text in self._parts().items()}
        path.write_text(MAIN.format(folder=self.folder, **parts))
        command = [NGINX, "-p", str(self.folder), "-c", str(path), "-e", str(self.folder / "nginx.log")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(lambda: (self.folder / "nginx.pid").exists() or self._ended(), what="nginx")
        assert not self._ended(), self.log
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()

    def _parts(self) -> dict[str, str]:
        return {"http": self.http, "other": self.other, "modules": self.modules}

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def log(self) -> str:
        path = self.folder / "nginx.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def connect(self, name: str) -> socket.socket:
        """A connection to the front socket of this name."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(self.folder / f"{name}.sock"))
        return sock
