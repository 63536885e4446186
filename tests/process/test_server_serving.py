"""What clients get: both worker classes, every kind of socket, TLS, real frameworks, the access log."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys

import pytest
from harness import ROOT, wait_gone, wait_until
from load import Load


def test_environ(serve, workers):
    server = serve(*workers, "-w", "2", app="probe:app")
    answer = server.request("/environ?q=1&r=%20", headers={"X-Twice": "a", "Accept": "text/plain"})
    environ = json.loads(answer.body)
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/environ"
    assert environ["RAW_URI"] == "/environ?q=1&r=%20"
    assert environ["QUERY_STRING"] == "q=1&r=%20"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["SERVER_PORT"] == str(server.port)
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_X_TWICE"] == "a"
    assert environ["wsgi.url_scheme"] == "http"
    assert answer.headers["Server"] == "gunicorn"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["Date"])


def test_keep_alive_and_pipelining(serve, workers):
    server = serve(*workers, app="probe:app")
    with server.connect() as client, client.makefile("rb") as answers:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none" * 2)
        client.sendall(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3\r\ntwo\r\n0\r\n\r\n"
        )
        received = answers.read()
    assert re.findall(rb"\r\n\r\n(\w{3})", received) == [b"one", b"one", b"two"]
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_real_client(serve, workers):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    server = serve(*workers, app="probe:app")
    body = "x" * 200_000
    upload = ["--max-time", "10", "-H", "Expect: 100-continue", "--data-binary", "@-"]
    command = [curl, "-sS", *upload, f"{server.url}/echo"]
    done = subprocess.run(command, input=body, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == body


def test_an_error_of_the_app_is_a_500_and_the_worker_goes_on(serve, workers):
    server = serve(*workers, app="probe:app")
    before = server.get("/pid")
    answer = server.request("/error")
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert "own error" not in answer.text
    server.wait_for("RuntimeError: the application's own error")
    assert server.get("/pid") == before


def test_bad_request_is_one_log_line_without_traceback(serve, workers):
    server = serve(*workers)
    with server.connect() as client, client.makefile("rb") as answer:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n")
        assert answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        assert b"connection: close" in answer.read().lower()
    server.wait_for(r"127\.0\.0\.1")
    assert "Traceback" not in server.log


def test_workers_import_no_event_loop(serve, workers):
    modules = json.loads(serve(*workers, app="probe:app").get("/modules"))
    assert {"trio", "asyncio", "sniffio", "outcome"} & set(modules) == set()


def test_max_requests_replaces_workers_without_an_error(serve, workers):
    server = serve(*workers, "--max-requests", "3", app="probe:app")
    pids: set[str] = set()

    def third_worker_answers() -> bool:
        pids.add(server.get("/pid"))
        return len(pids) == 3

    wait_until(third_worker_answers, what="two replacements")
    server.wait_workers(1)


def test_access_log_line(serve, workers):
    server = serve(*workers, "--access-logfile", "-")
    server.request("/a?b=1", headers={"User-Agent": 'some "agent"', "Referer": "http://r/"})
    line = server.wait_for(r'^127\.0\.0\.1 - - \[(.+)\] "GET /a\?b=1 HTTP/1\.1" 200 14 "http://r/" "(.*)"$')
    assert re.fullmatch(r"\d\d/\w{3}/\d{4}:[\d:]{8} [+-]\d{4}", line[1])
    assert line[2] == r"some \"agent\""
    wait_until(lambda: line[0] in server.stdout, what="the line on stdout")


def test_sendfile_of_an_empty_file_leaves_the_connection_in_step(serve, workers, tmp_path):
    (tmp_path / "files.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return environ['wsgi.file_wrapper'](open(environ['QUERY_STRING'], 'rb'))\n"
    )
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("full")
    server = serve(*workers, app="files:app", env={"PYTHONPATH": str(tmp_path)})
    with server.connect() as client, client.makefile("rb") as answers:
        for name in ("empty", "full"):
            client.sendall(f"GET /?{tmp_path / name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.sendall(f"GET /?{tmp_path / 'full'} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        received = answers.read()
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert received.count(b"\r\n0\r\n\r\n") + received.lower().count(b"content-length") == 3


def test_several_addresses(serve):
    server = serve(bind=["127.0.0.1:0", "127.0.0.1:0"])
    assert len(server.addresses) == 2
    for address in server.addresses:
        assert server.request("/", address=address).status == 200


def test_ipv6(serve):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    server = serve(bind="[::1]:0", app="probe:app")
    assert json.loads(server.get("/environ"))["REMOTE_ADDR"] == "::1"


@pytest.mark.parametrize(("umask", "mode"), [(None, 0o660), ("077", 0o700), ("0", 0o777)])
def test_unix_socket_and_its_mode(serve, tmp_path, umask, mode):
    args = ["--umask", umask] if umask else []
    path = tmp_path / "socket"
    server = serve(*args, bind=f"unix:{path}", app="probe:app")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    environ = json.loads(server.get("/environ"))
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ
    assert server.stop() == 0
    assert not path.exists()


def test_unix_socket_left_by_a_dead_server_is_replaced(serve, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    assert serve(bind=f"unix:{path}").get() == "Hello, World!\n"


def test_inherited_descriptor(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = serve(bind=f"fd://{listener.fileno()}", pass_fds=[listener.fileno()])
        assert server.port == listener.getsockname()[1]
        assert server.get() == "Hello, World!\n"


def test_reuse_port_lets_two_servers_share_a_port_and_reloads_lose_no_request(serve):
    first = serve("--reuse-port", "-w", "2")
    second = serve("--reuse-port", "-w", "2", bind=f"127.0.0.1:{first.port}")
    with Load(first) as load:
        for server in (first, second):
            workers = server.wait_workers(2)
            server.signal(signal.SIGHUP)
            wait_gone(*workers)
    assert load.lost == []
    assert load.answered
    # Both before the look at what they have left: the port is free when neither is there.
    assert [first.stop(), second.stop()] == [0, 0]


def test_third_party_worker_class(serve):
    server = serve("-k", "examples.custom_worker.OneShotWorker", env={"PYTHONPATH": str(ROOT)})
    server.wait_for("Using worker: .*OneShotWorker")
    answer = server.request("/")
    assert (answer.status, answer.text) == (200, "Hello, World!\n")
    assert server.stop() == 0


def test_custom_application(serve):
    command = [sys.executable, str(ROOT / "examples" / "custom_app.py")]
    server = serve(command=command, bind=None, app="127.0.0.1:0")
    assert "custom" in server.get()


def test_flask_project(serve, workers, tmp_path):
    pytest.importorskip("flask")
    env = {"PYTHONPATH": str(ROOT / "examples"), "TMPDIR": str(tmp_path)}
    server = serve(*workers, app="flask_app:create_app()", env=env)
    assert "Guest book" in server.get("/")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.request("/sign", "POST", "name=Ada&words=h%C3%A9llo", form)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert "Ada" in server.get("/")
    assert "héllo" in server.get("/")
    assert json.loads(server.get("/api/entries"))[0]["name"] == "Ada"
    assert "font-family" in server.get("/static/style.css")
    assert server.request("/nosuch").status == 404


def test_django_project(serve, workers):
    pytest.importorskip("django")
    server = serve(*workers, app="mysite.wsgi", env={"PYTHONPATH": str(ROOT / "examples" / "django_project")})
    page = server.request("/")
    assert page.status == 200
    assert "Unit converter" in page.text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    cookie = re.match(r"(csrftoken=\w+)", page.headers["Set-Cookie"])
    assert token is not None
    assert cookie is not None
    form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie[1]}
    answer = server.request("/", "POST", f"celsius=100&csrfmiddlewaretoken={token[1]}", form)
    assert (answer.status, "212" in answer.text) == (200, True)
    assert server.request("/", "POST", "celsius=100").status == 403
    assert "font-family" in server.get("/static/style.css")
    upload = "x" * 300_000
    assert server.request("/size", "POST", upload).text == str(len(upload))


def test_tls_with_client_certificates(serve, workers, certificates):
    server = serve(
        *workers, "--certfile", f"{certificates}/server.pem", "--keyfile", f"{certificates}/server.key",
        "--ca-certs", f"{certificates}/ca.pem", "--cert-reqs", "2", app="probe:app",
    )  # fmt: skip
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with pytest.raises((ssl.SSLError, OSError)):
        server.request("/environ", tls=context)
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    environ = json.loads(server.request("/environ", tls=context).body)
    assert environ["wsgi.url_scheme"] == "https"
    assert server.request("/echo", "POST", "y" * 100_000, tls=context).text == "y" * 100_000


def test_tls_offers_only_what_the_worker_speaks(serve, certificates):
    server = serve("--certfile", f"{certificates}/server.pem", "--keyfile", f"{certificates}/server.key")
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with server.connect(tls=context) as client:
        assert client.selected_alpn_protocol() in ("http/1.1", None)
    assert server.request("/", tls=context).status == 200


def test_ssl_context_hook(serve, certificates):
    server = serve(
        "--certfile", f"{certificates}/server.pem", "--keyfile", f"{certificates}/server.key",
        config="import ssl\n"
        "def ssl_context(config, default):\n"
        "    context = default()\n"
        "    context.minimum_version = ssl.TLSVersion.TLSv1_3\n"
        "    return context\n",
    )  # fmt: skip
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    assert server.request("/", tls=context).status == 200
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, OSError)):
        server.request("/", tls=context)
