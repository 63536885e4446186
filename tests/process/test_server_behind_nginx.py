"""The nginx configuration of the documentation, in front of a real server."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT, wait_until

MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Path]:
    """The folder with the sockets ``front`` (nginx) and ``gunicorn.sock`` (where it looks for the server)."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    site = (ROOT / "examples" / "nginx.conf").read_text()
    site = site.replace("/run/gunicorn.sock", f"{tmp_path}/gunicorn.sock")
    site = site.replace("listen 80", f"listen unix:{tmp_path}/front")
    user = "user root root;" if os.getuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(MAIN.format(user=user, folder=tmp_path, site=site))
    command = [program, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until((tmp_path / "front").exists, what="nginx's socket")
            yield tmp_path
        finally:
            process.terminate()
            process.wait(10)


def client(folder: Path) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("example.com", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(str(folder / "front"))
    return connection


def test_requests_through_nginx(serve, workers, nginx):
    serve(*workers, bind=f"unix:{nginx}/gunicorn.sock", app="probe:app")
    connection = client(nginx)
    try:
        for number in range(3):
            connection.request("GET", f"/environ?{number}", headers={"X-Forwarded-For": "192.0.2.1"})
            environ = json.loads(connection.getresponse().read())
            assert environ["QUERY_STRING"] == str(number)
            assert environ["HTTP_HOST"] == "example.com"
            assert environ["wsgi.url_scheme"] == "http"
            assert environ["HTTP_X_FORWARDED_FOR"].startswith("192.0.2.1, ")
        connection.request("POST", "/echo", b"x" * 100_000)
        assert connection.getresponse().read() == b"x" * 100_000
        connection.request("POST", "/echo", iter([b"in ", b"pieces"]), encode_chunked=True)
        assert connection.getresponse().read() == b"in pieces"
    finally:
        connection.close()


def test_a_reload_is_not_seen_through_nginx(serve, workers, nginx):
    server = serve(*workers, bind=f"unix:{nginx}/gunicorn.sock", app="probe:app")
    connection = client(nginx)
    try:
        connection.request("GET", "/pid")
        before = connection.getresponse().read()
        server.signal(signal.SIGHUP)

        def replaced() -> bool:
            connection.request("GET", "/pid")
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read() != before

        wait_until(replaced, what="an answer of the new worker")
    finally:
        connection.close()
