"""What is remembered of hosts changes no verdict."""

from __future__ import annotations

import pytest

from gunicorn.http.host import is_host

GOOD = [b"", b"a", b"a.example:8080", b"127.0.0.1", b"[::1]:80"]
BAD = [b"a b", b"a@b", b"a:b", b"[::1", b"a/b"]


@pytest.mark.parametrize("others", [0, 1000])
def test_verdict_does_not_depend_on_the_hosts_before(others):
    for number in range(others):
        assert is_host(b"host-%d.example" % number)
    assert all(map(is_host, GOOD))
    assert not any(map(is_host, BAD))
