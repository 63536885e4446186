"""The compiled access_log_format: every atom, and no way for a client to write a line of its own."""

from __future__ import annotations

import base64
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.accesslog import SafeAtoms, all_atoms, compile_format, escape
from gunicorn.errors import ConfigError

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
NOW = "[21/Nov/2026:15:00:00 +0000]"
ENVIRON = {
    "REMOTE_ADDR": "192.0.2.7",
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/a%20b?x=1",
    "PATH_INFO": "/a b",
    "QUERY_STRING": "x=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_REFERER": "https://example.org/",
    "HTTP_USER_AGENT": "curl/8",
    "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"ada:secret").decode(),
    "wsgi.url_scheme": "http",
    "My.Key": 7,
}
REQUEST = SimpleNamespace(headers=[("ACCEPT", "text/html"), ("X-ID", "one"), ("X-ID", "two")])
RESPONSE = SimpleNamespace(status="200 OK", sent=1024, headers=[("Content-Type", "text/plain")])
DURATION = timedelta(seconds=3, microseconds=45_678)


def line(text, resp=RESPONSE, req=REQUEST, environ=ENVIRON, duration=DURATION):
    return compile_format(text, now=lambda: NOW, pid=lambda: 42)(resp, req, environ, duration)


def classic(text, resp=RESPONSE, req=REQUEST, environ=ENVIRON, duration=DURATION):
    return text % SafeAtoms(all_atoms(resp, req, environ, duration, NOW, 42))


@pytest.mark.parametrize(
    ("atom", "shown"),
    [
        ("h", "192.0.2.7"), ("l", "-"), ("u", "ada"), ("t", NOW), ("r", "GET /a%20b?x=1 HTTP/1.1"),
        ("m", "GET"),
        ("U", "/a b"), ("q", "x=1"), ("H", "HTTP/1.1"), ("s", "200"), ("B", "1024"), ("b", "1024"),
        ("f", "https://example.org/"), ("a", "curl/8"), ("T", "3"), ("M", "3045"), ("D", "3045678"),
        ("L", "3.045678"), ("p", "<42>"), ("{accept}i", "text/html"), ("{Accept}i", "text/html"),
        ("{x-id}i", "two"), ("{no}i", "-"), ("{CONTENT-type}o", "text/plain"), ("{no}o", "-"),
        ("{REMOTE_ADDR}e", "192.0.2.7"), ("{remote_addr}e", "192.0.2.7"), ("{wsgi.url_scheme}e", "http"),
        ("{WSGI.URL_SCHEME}e", "http"), ("{my.key}e", "7"), ("{no}e", "-"), ("nonsense", "-"),
    ],
)  # fmt: skip
def test_each_atom_is_shown_and_the_classic_atoms_agree(atom, shown):
    text = f"<%({atom})s>"
    assert line(text) == f"<{shown}>"
    assert classic(text) == f"<{shown}>"


def test_the_default_format():
    assert line(DEFAULT) == (
        f'192.0.2.7 - ada {NOW} "GET /a%20b?x=1 HTTP/1.1" 200 1024 "https://example.org/" "curl/8"'
    )


def test_what_is_unknown_is_a_dash():
    nothing = SimpleNamespace(status=204, sent=None, headers=[])
    assert line(DEFAULT, nothing, SimpleNamespace(headers=[]), None) == f'- - - {NOW} "-" 204 - "-" "-"'
    assert line("%(h)s %(U)s", environ={"REMOTE_ADDR": "", "PATH_INFO": None}) == "- -"


def test_nothing_sent_is_zero_and_not_unknown():
    empty = SimpleNamespace(status="204 No Content", sent=0, headers=[])
    assert line("%(b)s %(B)s", empty) == "0 0"
    assert classic("%(b)s %(B)s", empty) == "0 0"


def test_numbers_take_number_formats_and_percent_signs_stay():
    assert line("100%% %(D)012d %(T)5s|%(s)-5s|") == "100% 000003045678     3|200  |"


def test_a_duration_of_days_is_not_cut():
    assert line("%(T)s %(L)s", duration=timedelta(days=1, microseconds=5)) == "86400 86400.000005"


@pytest.mark.parametrize("text", ["%(h)d", "%", "%(h", "%s", "%(h)", "50% of %(h)s", "%(h)*d"])
def test_a_wrong_format_is_one_line_that_names_the_setting(text):
    with pytest.raises(ConfigError, match=r"^access_log_format: .*") as caught:
        line(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic ", "Basic !!!", "Basic YQ", "Bearer YTpi", "Basic OnB3", "basic\t", "Basic é"],
)
def test_credentials_that_name_nobody(authorization):
    assert line("%(u)s", environ={"HTTP_AUTHORIZATION": authorization}) == "-"


def test_the_password_is_nowhere_in_the_atoms_that_name_the_user():
    assert "secret" not in line("%(u)s %(r)s") + classic("%(u)s %(r)s")


EVIL = '\n127.0.0.1 - admin "\\\r\x1b[2J\x7f\x85\u2028é\x00'
INJECTIONS = {
    "u": {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b'\nadmin"\\\xff:x').decode()},
    "U": {"PATH_INFO": EVIL}, "r": {"REQUEST_METHOD": "GET", "RAW_URI": EVIL}, "f": {"HTTP_REFERER": EVIL},
    "a": {"HTTP_USER_AGENT": EVIL}, "q": {"QUERY_STRING": EVIL}, "m": {"REQUEST_METHOD": EVIL},
    "h": {"REMOTE_ADDR": EVIL},
    "H": {"SERVER_PROTOCOL": EVIL}, "{x}e": {"X": EVIL}, "{x}i": {}, "{x}o": {}, "s": {},
}  # fmt: skip


@pytest.mark.parametrize("render", [line, classic])
@pytest.mark.parametrize("atom", INJECTIONS)
def test_no_atom_lets_a_client_end_the_line_or_the_quotes(atom, render):
    headers = SimpleNamespace(headers=[("X", EVIL)])
    resp = SimpleNamespace(status=f"200{EVIL}".replace(" ", ""), sent=1, headers=[("X", EVIL)])
    shown = render(f'"%({atom})s"', resp, headers, INJECTIONS[atom])
    assert shown.isascii()
    assert shown.isprintable()
    assert '"' not in shown[1:-1].replace('\\"', "")
    assert "\\x0a" in shown


def test_how_it_is_escaped():
    assert escape('a\n"\\\x7fé\u2028\U0001f600') == 'a\\x0a\\"\\\\\\x7f\\xe9\\u2028\\U0001f600'
    assert escape("plain text, as it is!") == "plain text, as it is!"
    assert escape(None) == "-"
    assert escape(12) == "12"


@given(st.text())
def test_escaping_is_printable_and_loses_nothing(text):
    shown = escape(text)
    assert shown.isascii()
    assert shown.isprintable() or not shown
    assert shown.encode().decode("unicode_escape") == text


@given(st.text(), st.text())
def test_two_values_never_look_alike(one, other):
    assert (escape(one) == escape(other)) == (one == other)


def test_only_the_atoms_of_the_format_are_computed():
    class Forbidden(dict):
        def get(self, key, default=None):
            raise AssertionError(key)

    assert line("%(s)s %(t)s", environ=Forbidden(x=1)) == f"200 {NOW}"


def test_headers_may_be_a_mapping():
    assert line("%({x}i)s", req=SimpleNamespace(headers={"X": "1"})) == "1"
