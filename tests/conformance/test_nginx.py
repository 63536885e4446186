"""A real nginx in front: what it forwards is answered, once, and never by somebody else's answer."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus.case import Case, post, request
from corpus.catalogue import ALL
from frontend import NGINX, Nginx
from harness import Server, wait_until
from wire import Answer, exchange

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

HERE = Path(__file__).parent
WORKERS = {
    "sync-fast": ("-k", "sync", "--http-parser", "fast"),
    "gthread-python": ("-k", "gthread", "--threads", "3", "--http-parser", "python"),
}
STREAM_MODULE = Path(os.environ.get("NGINX_STREAM_MODULE", "/usr/lib/nginx/modules/ngx_stream_module.so"))
NUMBERS = itertools.count()

HTTP = """
upstream tcp {{ server {address}; keepalive 1; }}
upstream local {{ server unix:FOLDER/backend.sock; keepalive 1; }}
server {{
    server_name tcp;
    listen unix:FOLDER/tcp.sock;
    access_log FOLDER/tcp.log forwarded;
    location / {{ proxy_pass http://tcp; proxy_http_version 1.1; proxy_set_header Connection ""; }}
}}
server {{
    server_name unix;
    listen unix:FOLDER/unix.sock;
    access_log FOLDER/unix.log forwarded;
    location / {{
        proxy_pass http://local; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_request_buffering off;
        proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-For $remote_addr;
    }}
}}
server {{
    server_name old;
    listen unix:FOLDER/old.sock;
    access_log FOLDER/old.log forwarded;
    location / {{ proxy_pass http://{address}; proxy_set_header X-Forwarded-Proto $http_x_claimed; }}
}}
"""

STREAM = """
stream {{
    server {{ listen unix:FOLDER/stream.sock; proxy_pass {address}; proxy_protocol on; }}
}}
"""


@pytest.fixture(scope="module", params=list(WORKERS))
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nginx")
    server = Server(
        *WORKERS[request.param],
        app="witness:app",
        bind=["127.0.0.1:0", f"unix:{folder}/backend.sock"],
        env={"PYTHONPATH": str(HERE), "WITNESS": str(folder / "marks")},
        config="proxy_protocol = 'auto'",
        cwd=folder,
    )
    with server.start():
        server.wait_for(r"Booting worker")
        yield server


def _address(server: Server) -> str:
    return server.wait_for(r"Listening at: http://([\d.]+:\d+)").group(1)


@pytest.fixture(scope="module")
def nginx(backend: Server) -> Iterator[Nginx]:
    address = _address(backend)
    stream = STREAM_MODULE.exists()
    front = Nginx(
        backend.cwd,
        http=HTTP.format(address=address),
        other=STREAM.format(address=address) if stream else "",
        modules=f"load_module {STREAM_MODULE};" if stream else "",
    )
    with front:
        yield front


def _calls(nginx: Nginx) -> int:
    return (nginx.folder / "marks").stat().st_size


def _answered(nginx: Nginx, name: str) -> int:
    """How many of the app's answers nginx got."""
    log = (nginx.folder / f"{name}.log").read_text(errors="replace")
    return len(re.findall(rf'^{name} \d+ "(?:200|405)"', log, re.MULTILINE))


def _ask(nginx: Nginx, name: str, data: bytes, expected: int = 1) -> list[Answer]:
    with nginx.connect(name) as sock:
        return exchange(sock, data, expected=expected).answers


def _probe(nginx: Nginx, name: str) -> str | None:
    """Ask for something unique; a connection that is out of step would answer with something else."""
    target = f"/probe-{next(NUMBERS)}"
    (answer,) = _ask(nginx, name, request(b"Connection: close", target=target.encode()))
    if answer.status != 200 or answer.saw()["target"] != target:
        return f"the probe {target} was answered with {answer.status} {answer.body[:200]!r}"
    return None


@pytest.mark.parametrize("name", ["tcp", "unix", "old"])
def test_requests_pass(nginx: Nginx, name: str) -> None:
    answers = _ask(nginx, name, request(target=b"/a?b=c") + post(b"Content-Length: 5", body=b"hello"), 2)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].saw()["target"] == "/a?b=c"
    assert answers[0].saw()["version"] == ("1.0" if name == "old" else "1.1")
    assert answers[1].saw_body(b"hello")


def test_upstream_connections_are_kept(nginx: Nginx) -> None:
    for name in ("tcp", "unix"):
        before = _calls(nginx)
        for _ in range(5):
            assert _probe(nginx, name) is None
        assert _calls(nginx) == before + 5
    assert "upstream" not in nginx.log


@pytest.mark.parametrize("name", ["tcp", "unix", "old"])
def test_large_content(nginx: Nginx, name: str) -> None:
    body = bytes(range(256)) * 12_000
    sized = post(b"Content-Length: %d" % len(body), body=body)
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece)
        for piece in (body[at : at + 70_000] for at in range(0, len(body), 70_000))
    )
    chunked = post(b"Transfer-Encoding: chunked", body=pieces + b"0\r\n\r\n")
    answers = _ask(nginx, name, sized + chunked, 2)
    assert [answer.status for answer in answers] == [200, 200]
    assert all(answer.saw_body(body) for answer in answers)
    assert _probe(nginx, name) is None


def test_scheme_is_believed_from_a_trusted_proxy(nginx: Nginx) -> None:
    (over_unix,) = _ask(nginx, "unix", request(b"X-Forwarded-Proto: http"))
    assert over_unix.saw()["scheme"] == "https"
    (claimed,) = _ask(nginx, "old", request(b"X-Claimed: https"))
    assert claimed.saw()["scheme"] == "https"
    (plain,) = _ask(nginx, "old", request())
    assert plain.saw()["scheme"] == "http"


@pytest.mark.skipif(not STREAM_MODULE.exists(), reason="nginx has no stream module")
def test_proxy_protocol_from_nginx(nginx: Nginx) -> None:
    answers = _ask(nginx, "stream", request(target=b"/a") + request(target=b"/b"), 2)
    assert [answer.saw()["target"] for answer in answers] == ["/a", "/b"]


def _play(nginx: Nginx, name: str, case: Case) -> str | None:
    with nginx.connect(name) as sock:
        found = exchange(sock, case.data, expected=case.requests or None, heads=case.heads, finish=True)
    bad = [answer.status for answer in found.answers if answer.status in (500, 502, 504)]
    if bad:
        return f"nginx got no proper answer: {bad}"
    return _probe(nginx, name)


@pytest.mark.parametrize("name", ["tcp", "unix"])
def test_no_case_brings_the_connections_out_of_step(nginx: Nginx, backend: Server, name: str) -> None:
    # Without request buffering nginx finds a fault of the content only when the app reads already.
    cases = [case for case in ALL if not case.settings and len(case.data) < 10_000]
    calls, before = _calls(nginx), _answered(nginx, name)
    faults = []
    for case in cases:
        if name == "tcp" or not case.in_body:
            fault = _play(nginx, name, case)
            if fault:
                faults.append(f"{case.name}: {fault}")
    assert not faults, "\n".join(faults[:20])
    made = _calls(nginx) - calls

    # Every call of the app is one request that nginx forwarded and whose answer it got; but for chunks that
    # it found to be broken when it had begun to forward them.
    def is_accounted_for() -> bool:
        return made <= _answered(nginx, name) - before + nginx.log.count("client sent invalid chunked body")

    # nginx writes the line of a request when the client has its answer already.
    wait_until(is_accounted_for, what="a line for each call of the app")
    answered = _answered(nginx, name) - before
    assert len(cases) / 5 < answered <= made
    assert "Traceback" not in backend.log
