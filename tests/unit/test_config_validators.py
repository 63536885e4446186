"""Every validator, with what it takes and what it refuses, and what it says then."""

from __future__ import annotations

import functools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn.config import (
    SETTINGS,
    Config,
    auto_int,
    validate_bool,
    validate_callable,
    validate_chdir,
    validate_class,
    validate_dict,
    validate_file_exists,
    validate_group,
    validate_hostport,
    validate_ip_list,
    validate_list_of_existing_files,
    validate_list_string,
    validate_pos_int,
    validate_post_request,
    validate_statsd_address,
    validate_string,
    validate_string_to_list,
    validate_user,
)
from gunicorn.config.callables import accepts
from gunicorn.config.validators import validate_choice, validate_int_range, validate_mode, validate_seconds


class Sample:
    def method(self, one, two): ...

    def __call__(self, one): ...


def two(one, two): ...


GOOD = [
    (validate_bool, True, True),
    (validate_bool, False, False),
    (validate_bool, None, None),
    (validate_bool, " TRUE ", True),
    (validate_bool, "false", False),
    (validate_string, None, None),
    (validate_string, "  a b ", "a b"),
    (validate_pos_int, 0, 0),
    (validate_pos_int, "17", 17),
    (validate_pos_int, "0x10", 16),
    (validate_pos_int, True, 1),
    (validate_int_range(1, 9), "9", 9),
    (validate_mode, "022", 0o22),
    (validate_mode, "0o22", 0o22),
    (validate_mode, 18, 18),
    (validate_seconds, "1.5", 1.5),
    (validate_seconds, "2", 2),
    (validate_seconds, 0.25, 0.25),
    (validate_dict, {"a": 1}, {"a": 1}),
    (validate_list_string, "a", ["a"]),
    (validate_list_string, None, []),
    (validate_list_string, ("a ", "b"), ["a", "b"]),
    (validate_string_to_list, "a, b,", ["a", "b"]),
    (validate_string_to_list, ["a"], ["a"]),
    (validate_choice("on", "off", also={True: "on"}), "ON", "on"),
    (validate_choice("on", "off", also={True: "on"}), True, "on"),
    (validate_file_exists, None, None),
    (validate_file_exists, __file__, __file__),
    (validate_list_of_existing_files, __file__, [__file__]),
    (validate_list_of_existing_files, ["no/such/*.html"], ["no/such/*.html"]),
    (validate_user, None, os.geteuid()),
    (validate_user, "12", 12),
    (validate_user, 12, 12),
    (validate_user, "root", 0),
    (validate_group, None, os.getegid()),
    (validate_group, "34", 34),
    (validate_class, None, None),
    (validate_class, Sample, Sample),
    (validate_class, lambda: Sample, Sample),
    (validate_class, " a.B ", "a.B"),
    (validate_ip_list, "", []),
    (validate_ip_list, "*", ["*"]),
    (validate_ip_list, "127.0.0.1, 10.0.0.0/8,::1", ["127.0.0.1", "10.0.0.0/8", "::1"]),
    (validate_hostport, None, None),
    (validate_hostport, "h:1", ("h", 1)),
    (validate_hostport, "[::1]:1", ("::1", 1)),
    (validate_statsd_address, None, None),
    (validate_statsd_address, "stats", ("stats", 8125)),
    (validate_statsd_address, "stats:9", ("stats", 9)),
    (validate_statsd_address, "unix://run/s", "run/s"),
    (validate_statsd_address, "unix:8125", ("unix", 8125)),
    (validate_callable(2), two, two),
    (validate_callable(-1), two, two),
]

BAD = [
    (validate_bool, "yes", "True or False"),
    (validate_bool, 1, "True or False"),
    (validate_string, 3, "text"),
    (validate_pos_int, -1, "an integer >= 0"),
    (validate_pos_int, "many", "an integer >= 0"),
    (validate_pos_int, 2.0, "an integer >= 0"),
    (validate_pos_int, None, "an integer >= 0"),
    (validate_int_range(1, 9), 10, "an integer from 1 to 9"),
    (validate_mode, "0999", "mode bits"),
    (validate_mode, -1, "mode bits"),
    (validate_seconds, -0.1, "seconds >= 0"),
    (validate_seconds, "inf", "seconds >= 0"),
    (validate_seconds, float("nan"), "seconds >= 0"),
    (validate_seconds, "soon", "seconds >= 0"),
    (validate_seconds, None, "seconds >= 0"),
    (validate_dict, [], "a dict"),
    (validate_list_string, 3, "a list of texts"),
    (validate_list_string, ["a", 3], "a list of texts"),
    (validate_choice("on", "off"), "maybe", "'on', 'off'"),
    (validate_choice("on", "off"), 3, "'on', 'off'"),
    (validate_choice("on", "off"), None, "'on', 'off'"),
    (validate_file_exists, "/no/such", "a file that exists"),
    (validate_list_of_existing_files, "/no/such", "/no/such"),
    (validate_chdir, "/no/such", "a directory that exists"),
    (validate_chdir, None, "a directory"),
    (validate_user, "no-such-user", "a user that exists"),
    (validate_user, -1, "a user that exists"),
    (validate_user, True, "a user that exists"),
    (validate_group, "no-such-group", "a group that exists"),
    (validate_class, 3, "a class"),
    (validate_class, "", "a class"),
    (validate_ip_list, "10.0.0.1/8", "host bits"),
    (validate_ip_list, "localhost", "IP addresses"),
    (validate_hostport, "h", "HOST:PORT"),
    (validate_hostport, "h:99999", "HOST:PORT"),
    (validate_statsd_address, "h:x", "HOST:PORT"),
    (validate_statsd_address, "fd://3", "HOST:PORT"),
    (validate_callable(1), two, "1 argument"),
    (validate_callable(3), two, "3 arguments"),
    (validate_callable(1), 3, "a callable"),
    (validate_callable(1), "nodots", "package.module.name"),
    (validate_callable(1), "no_such_module.hook", "cannot import module 'no_such_module'"),
    (validate_callable(1), "os.no_such_hook", "no attribute 'no_such_hook'"),
    (validate_post_request, lambda worker: None, "2, 3 or 4 arguments"),
]


@pytest.mark.parametrize(("validator", "value", "stored"), GOOD)
def test_good_value(validator, value, stored):
    assert validator(value) == stored
    assert type(validator(value)) is type(stored) or isinstance(stored, int)


@pytest.mark.parametrize(("validator", "value", "allowed"), BAD)
def test_bad_value_says_what_is_allowed(validator, value, allowed):
    with pytest.raises((TypeError, ValueError)) as caught:
        validator(value)
    assert allowed in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(min_value=0, max_value=0o7777))
def test_modes_read_as_they_are_written(mode):
    assert auto_int(f"{mode:#o}") == auto_int(f"0{mode:o}") == auto_int(f"{mode:#x}") == mode


@given(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.just({})
    )
)
def test_validators_refuse_only_with_value_or_type_errors(value):
    for setting in SETTINGS.values():
        try:
            setting.validator(value)
        except (TypeError, ValueError) as error:
            assert str(error)  # noqa: PT017  (any setting may accept or refuse; only the kind of refusal matters)


def test_chdir_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert validate_chdir("./sub") == str(tmp_path / "sub")


@pytest.mark.parametrize(
    ("function", "counts"),
    [
        (lambda: None, {0}),
        (lambda a, b: None, {2}),
        (lambda a, b=1: None, {1, 2}),
        (lambda *a: None, {0, 1, 2, 3, 4}),
        (lambda a, *b: None, {1, 2, 3, 4}),
        (lambda a, *, b: None, set()),
        (lambda a, *, b=1, **c: None, {1}),
        (Sample().method, {2}),
        (Sample(), {1}),
        (functools.partial(two, 1), {1}),
        (functools.wraps(two)(lambda *a: None), {2}),
        (Sample, {0}),
    ],
)
def test_arguments_that_fit(function, counts):
    assert {count for count in range(5) if accepts(function, count)} == counts


def test_a_function_without_a_signature_is_taken_at_its_word():
    assert accepts(min, 1)


def test_hook_by_import_string():
    assert validate_callable(1)("os.path.basename") is os.path.basename


@pytest.mark.parametrize("count", [2, 3, 4])
def test_post_request_is_called_with_as_much_as_it_takes(count):
    calls = []
    function = {
        2: lambda worker, req: calls.append((worker, req)),
        3: lambda worker, req, environ: calls.append((worker, req, environ)),
        4: lambda worker, req, environ, resp: calls.append((worker, req, environ, resp)),
    }[count]
    stored = validate_post_request(validate_post_request(function))
    stored(1, 2, 3, 4)
    assert calls == [(1, 2, 3, 4)[:count]]


def test_post_request_with_open_arguments_gets_all():
    calls = []
    validate_post_request(lambda *arguments: calls.append(arguments))(1, 2, 3, 4)
    assert calls == [(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("value", "stored"), [("h2,h1", ["h2", "h1"]), ("H1", ["h1"]), (["h2"], ["h2"]), ("h1,", ["h1"])]
)
def test_http_protocols(value, stored):
    assert SETTINGS["http_protocols"].validator(value) == stored


@pytest.mark.parametrize("value", ["", "h3", "h1,h1", None, [1]])
def test_http_protocols_refused(value):
    with pytest.raises(ValueError, match="expected 'h1', 'h2'"):
        SETTINGS["http_protocols"].validator(value)


@pytest.mark.parametrize(("value", "stored"), [(0, 0), ("2", 2), ("cert_required", 2)])
def test_cert_reqs(value, stored):
    assert SETTINGS["cert_reqs"].validator(value) == stored


def test_cert_reqs_takes_the_enumeration():
    import ssl

    assert SETTINGS["cert_reqs"].validator(ssl.CERT_OPTIONAL) == 1


@pytest.mark.parametrize("value", [3, "all", None, -1])
def test_cert_reqs_refused(value):
    with pytest.raises(ValueError, match="expected 0 "):
        SETTINGS["cert_reqs"].validator(value)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_control_socket_off(value):
    assert SETTINGS["control_socket"].validator(value) is None


def test_eventlet_says_that_it_was_removed():
    with pytest.raises(ValueError, match=r"^the eventlet worker was removed"):
        SETTINGS["worker_class"].validator("eventlet")


@pytest.mark.parametrize(
    ("platform", "address"),
    [
        ("linux", "udp://localhost:514"),
        ("darwin", "unix:///var/run/syslog"),
        ("freebsd14", "unix:///var/run/log"),
        ("openbsd7", "unix:///dev/log"),
    ],
)
def test_syslog_address_of_the_platform(platform, address):
    from gunicorn.config.sections.logs import _syslog_address

    assert _syslog_address(platform) == address


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (0, 0),
        ("0", 0),
        (1000, 1000),
        ("512M", 512 << 20),
        ("2g", 2 << 30),
        (" 8 KiB", 8 << 10),
        ("1GB", 1 << 30),
    ],
)
def test_sizes_have_units(given, stored):
    cfg = Config()
    cfg.set("max_worker_memory", given)
    assert cfg.max_worker_memory == stored


@pytest.mark.parametrize("given", [-1, "-1", "12X", "M", "1.5G", "", None, True, "1MM"])
def test_a_wrong_size_is_refused(given):
    with pytest.raises(ValueError, match="512M"):
        Config().set("max_worker_memory", given)
