"""From layers to values: precedence, sources, files, and one clear line for everything that is wrong."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn.config import Config
from gunicorn.config.loader import load
from gunicorn.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE"):
        monkeypatch.delenv(variable, raising=False)


def write(text, name="gunicorn.conf.py"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def loaded(*argv, variable="", init=None):
    cfg = Config(prog="gunicorn")
    load(cfg, argv, init=init, environ={"GUNICORN_CMD_ARGS": variable})
    return cfg


def refused(*argv, **options):
    with pytest.raises(ConfigError) as caught:
        loaded(*argv, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- precedence


@given(st.sets(st.sampled_from(["environ", "framework", "file", "variable", "flag"])))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_later_layers_win(monkeypatch, layers):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    if "environ" in layers:
        monkeypatch.setenv("WEB_CONCURRENCY", "11")
    write("workers = 13" if "file" in layers else "")
    cfg = loaded(
        *(["-w", "15"] if "flag" in layers else []),
        variable="--workers=14" if "variable" in layers else "",
        init=lambda parser, options, arguments: {"WORKERS": 12} if "framework" in layers else None,
    )
    expected = [
        ("flag", 15, "command line --workers"),
        ("variable", 14, "GUNICORN_CMD_ARGS --workers"),
        ("file", 13, "file gunicorn.conf.py:1"),
        ("framework", 12, "framework"),
        ("environ", 11, "environment variable WEB_CONCURRENCY"),
    ]
    value, source = next(
        ((value, source) for layer, value, source in expected if layer in layers), (1, "default")
    )
    assert cfg.workers == value
    assert str(cfg.sources["workers"]) == source


def test_lists_replace_the_lists_of_earlier_layers():
    write("bind = ['a:1', 'b:2']")
    assert loaded("-b", "c:3", "-b", "d:4").bind == ["c:3", "d:4"]
    assert loaded(variable="-b e:5").bind == ["e:5"]


def test_the_positional_arguments_come_back():
    cfg = Config()
    assert load(cfg, ["-w", "2", "app:app", "more"], environ={}) == ["app:app", "more"]


def test_the_application_sees_parser_options_and_arguments():
    seen = []
    loaded("app:app", "-w", "3", init=lambda *given: seen.append(given))
    ((parser, options, arguments),) = seen
    assert parser.prog == "gunicorn"
    assert options.workers == 3
    assert arguments == ["app:app"]


def test_unknown_setting_of_the_application():
    assert refused(init=lambda *given: {"wrokers": 1}) == "framework: no setting is called 'wrokers'"


# -- environment


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("PORT", "5000", "bind", ["0.0.0.0:5000"]),
        ("WEB_CONCURRENCY", "7", "workers", 7),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8,*", "forwarded_allow_ips", ["10.0.0.0/8", "*"]),
        ("FORWARDED_ALLOW_IPS", "", "forwarded_allow_ips", []),
    ],
)
def test_environment_variables_give_defaults(monkeypatch, variable, text, name, value):
    monkeypatch.setenv(variable, text)
    cfg = Config()
    assert getattr(cfg, name) == value
    assert cfg.settings[name].default == value
    assert str(cfg.sources[name]) == f"environment variable {variable}"


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("WEB_CONCURRENCY", "many", "workers = 'many': expected an integer >= 0"),
        ("PORT", "http", "bind = 'http': expected a port from 0 to 65535"),
    ],
)
def test_wrong_environment_variable(monkeypatch, variable, text, line):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as caught:
        Config()
    assert str(caught.value) == f"environment variable {variable}: {line}"


@pytest.mark.parametrize(
    ("text", "argv", "environ", "on"),
    [
        ("", [], None, True),
        ("sendfile = True", [], None, True),
        ("sendfile = False", [], None, False),
        ("sendfile = True", ["--no-sendfile"], None, False),
        ("", [], "yes", True),
        ("", [], "0", False),
        ("sendfile = True", [], "0", True),
    ],
)
def test_sendfile(monkeypatch, text, argv, environ, on):
    if environ is not None:
        monkeypatch.setenv("SENDFILE", environ)
    write(text)
    assert loaded(*argv).sendfile is on


def test_control_socket_default_is_in_the_runtime_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert Config().control_socket == str(tmp_path / "gunicorn.ctl")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert Config().control_socket == os.path.expanduser("~/.gunicorn/gunicorn.ctl")


def test_control_socket_none_in_the_file_means_off():
    write("control_socket = None")
    assert loaded().control_socket is None


# -- which file


def test_the_default_file_is_read_when_it_is_there():
    assert loaded().workers == 1
    write("workers = 3")
    assert loaded().workers == 3


@pytest.mark.parametrize("form", ["other.py", "file:other.py", "python:other_module", "./other.py"])
def test_forms_of_the_file(form):
    write("workers = 3")
    write("workers = 4", "other.py")
    write("workers = 4", "other_module.py")
    assert loaded("-c", form).workers == 4


def test_the_command_line_chooses_before_the_variable():
    write("workers = 4", "a.py")
    write("workers = 5", "b.py")
    assert loaded(variable="-c a.py").workers == 4
    assert loaded("--config", "b.py", variable="-c a.py").workers == 5


def test_a_module_is_run_again_when_the_configuration_is_read_again():
    write("import os\nproc_name = os.environ['CONFIG_NAME']\n", "again_module.py")
    for name in ("one", "two"):
        os.environ["CONFIG_NAME"] = name
        try:
            assert loaded("-c", "python:again_module").proc_name == name
        finally:
            del os.environ["CONFIG_NAME"]


def test_a_file_with_another_extension_is_read_with_a_warning():
    write("workers = 6", "gunicorn.conf")
    cfg = loaded("-c", "gunicorn.conf")
    assert cfg.workers == 6
    assert cfg.warnings == ["gunicorn.conf: a configuration file should be called .py; it was read as Python"]


def test_compiled_file():
    import py_compile

    write("workers = 8", "source.py")
    py_compile.compile("source.py", cfile="compiled.pyc")
    assert loaded("-c", "compiled.pyc").workers == 8


def test_missing_file():
    assert refused("-c", "no.py") == "command line --config: config = 'no.py': there is no file 'no.py'"
    line = "GUNICORN_CMD_ARGS --config: config = 'python:no_such': there is no module 'no_such'"
    assert refused(variable="-c python:no_such") == line


def test_a_module_that_imports_something_missing_is_not_called_missing_itself():
    write("import surely_not_there", "importing_module.py")
    line = refused("-c", "python:importing_module")
    assert line.endswith("ModuleNotFoundError: No module named 'surely_not_there'")


# -- the file's own faults


def test_syntax_error():
    write("workers = 1\nthreads = = 2\n")
    assert refused() == "gunicorn.conf.py line 2: syntax error: invalid syntax"


def test_null_bytes():
    write("workers = 1\0\n")
    assert refused().startswith("gunicorn.conf.py")


def test_an_error_of_the_files_own_code_keeps_its_traceback():
    write("def half():\n    return 1 // 0\n\nworkers = half()\n")
    with pytest.raises(ConfigError) as caught:
        loaded()
    assert (
        str(caught.value) == "gunicorn.conf.py line 2: ZeroDivisionError: integer division or modulo by zero"
    )
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    assert cause.__traceback__.tb_frame.f_code.co_filename.endswith("gunicorn.conf.py")
    assert cause.__traceback__.tb_lineno == 4


@pytest.mark.parametrize("text", ["open('missing')", "raise ValueError('no')", "compile('(', 'x', 'exec')"])
def test_errors_of_the_files_own_code_are_not_taken_for_faults_of_the_file(text):
    write(f"\n{text}\n")
    line = refused()
    assert line.startswith("gunicorn.conf.py line 2: ")
    assert "Error: " in line


def test_the_file_knows_its_path_and_can_hold_dataclasses():
    write(
        "from __future__ import annotations\nimport dataclasses\n\n"
        "@dataclasses.dataclass\nclass Site:\n    name: str\n\nproc_name = Site(__file__).name\n"
    )
    assert loaded().proc_name == os.path.abspath("gunicorn.conf.py")


def test_modules_beside_the_file_can_be_imported():
    write("answer = 42", "beside_config.py")
    write("import beside_config\nworkers = beside_config.answer")
    assert loaded().workers == 42


def test_faults_of_a_module():
    write("workers = (", "syntax_module.py")
    path = os.path.abspath("syntax_module.py")
    assert refused("-c", "python:syntax_module") == f"{path} line 1: syntax error: '(' was never closed"
    write("\nworkers = 1 // 0", "dividing_module.py")
    with pytest.raises(ConfigError, match=r"^module dividing_module: ZeroDivisionError: integer") as caught:
        loaded("-c", "python:dividing_module")
    assert caught.value.__cause__.__traceback__.tb_frame.f_code.co_filename.endswith("dividing_module.py")


def test_wrong_value_in_a_module_names_its_file():
    write("\nworkers = 'x'", "wrong_module.py")
    path = os.path.abspath("wrong_module.py")
    assert refused("-c", "python:wrong_module").startswith(f"{path} line 2: workers = 'x'")


def test_wrong_value_in_a_compiled_file():
    import py_compile

    write("workers = 'x'", "source.py")
    py_compile.compile("source.py", cfile="compiled.pyc")
    assert refused("-c", "compiled.pyc") == "compiled.pyc: workers = 'x': expected an integer >= 0"


def test_bad_encoding():
    with open("gunicorn.conf.py", "wb") as file:
        file.write(b"name = '\xff'\n")
    assert refused().startswith("gunicorn.conf.py")


# -- wrong values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\nworkers = 'many'", "gunicorn.conf.py line 3: workers = 'many': expected an integer >= 0"),
        ("if True:\n    workers = -1", "gunicorn.conf.py line 2: workers = -1: expected an integer >= 0"),
        ("def on_exit():\n    pass", None),
        (
            "try:\n  pass\nfinally:\n  keepalive = 'x'",
            "gunicorn.conf.py line 4: keepalive = 'x': expected an integer >= 0",
        ),
        (
            "from os import name as loglevel, sep as reload",
            "gunicorn.conf.py line 1: reload = '/': expected True or False",
        ),
        ("reload, spew = True, 'x'", "gunicorn.conf.py line 1: spew = 'x': expected True or False"),
        ("globals()['spew'] = 3", "gunicorn.conf.py: spew = 3: expected True or False"),
        (
            "bind = 'h:port'",
            "gunicorn.conf.py line 1: bind = ['h:port']: expected a port from 0 to 65535, not 'port'",
        ),
        ("raw_env = ['A']", "gunicorn.conf.py line 1: raw_env = ['A']: expected KEY=VALUE, not 'A'"),
        (
            "worker_class = 'eventlet'",
            "gunicorn.conf.py line 1: worker_class = 'eventlet': "
            "the eventlet worker was removed; use gevent or gthread",
        ),
    ],
)
def test_wrong_value_in_the_file(text, line):
    write(text)
    found = refused()
    if line is not None:
        assert found == line
    else:
        assert found.startswith("gunicorn.conf.py line 1: on_exit = <function on_exit")
        assert found.endswith(": expected a callable that takes 1 argument")


@pytest.mark.parametrize("name", ["certfile", "keyfile", "ca_certs", "logconfig", "logconfig_json"])
def test_files_must_exist(name):
    write(f"{name} = '/no/such'")
    assert refused() == f"gunicorn.conf.py line 1: {name} = '/no/such': expected a file that exists"


def test_wrong_value_of_a_flag():
    assert refused("--reload-engine", "magic") == (
        "command line --reload-engine: reload_engine = 'magic': expected one of 'auto', 'poll', 'inotify'"
    )
    assert refused(variable="--user nobody-there").startswith(
        "GUNICORN_CMD_ARGS --user: user = 'nobody-there': expected"
    )


def test_hook_import_that_fails_keeps_the_cause():
    write("raise RuntimeError('mine')", "broken_hooks.py")
    write("on_exit = 'broken_hooks.on_exit'")
    with pytest.raises(ConfigError) as caught:
        loaded()
    assert str(caught.value) == (
        "gunicorn.conf.py line 1: on_exit = 'broken_hooks.on_exit': cannot import module 'broken_hooks': mine"
    )
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_key_without_certificate():
    write("keyfile = __file__")
    assert refused().endswith("expected a certfile as well")


def test_http2_needs_its_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused("--http-protocols", "h2,h1") == (
        "command line --http-protocols: http_protocols = ['h2', 'h1']: HTTP/2 needs the h2 package"
    )


def test_http2_without_tls_is_served_as_http1(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "http_protocols: h2 without TLS needs http2_cleartext; HTTP/1.1 is served" in (
        loaded("--http-protocols", "h2").warnings
    )


# -- usage


@pytest.mark.parametrize(
    ("argv", "variable", "text"),
    [
        (["--no-such-flag"], "", "gunicorn: error: unrecognized arguments: --no-such-flag"),
        (["-w", "many"], "", "gunicorn: error: argument -w/--workers: invalid int value: 'many'"),
        (
            [],
            "-w many",
            "gunicorn: error: in GUNICORN_CMD_ARGS: argument -w/--workers: invalid int value: 'many'",
        ),
        ([], "--name 'open", "gunicorn: error: in GUNICORN_CMD_ARGS: No closing quotation"),
    ],
)
def test_wrong_usage(argv, variable, text, capsys):
    with pytest.raises(SystemExit) as exit_:
        loaded(*argv, variable=variable)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err


def test_an_application_in_the_variable_is_not_taken_silently():
    cfg = loaded(variable="app:app")
    assert cfg.warnings == ["GUNICORN_CMD_ARGS: 'app:app' is ignored: only flags belong there"]


@pytest.mark.parametrize(
    ("argv", "mode", "rest"),
    [
        (["--proxy-protocol", "app:app"], "auto", ["app:app"]),
        (["--proxy-protocol", "v1", "app:app"], "v1", ["app:app"]),
        (["--proxy-protocol", "V2", "app:app"], "v2", ["app:app"]),
        (["--proxy-protocol=v1", "app:app"], "v1", ["app:app"]),
        (["app:app", "--proxy-protocol"], "auto", ["app:app"]),
        (["--proxy-p", "app:app"], "auto", ["app:app"]),
        (["--proxy-protocol", "-w", "2", "app:app"], "auto", ["app:app"]),
        (["--", "app:app"], "off", ["app:app"]),
    ],
)
def test_proxy_protocol_leaves_the_application_alone(argv, mode, rest):
    cfg = Config()
    assert load(cfg, argv, environ={}) == rest
    assert cfg.proxy_protocol == mode


# -- slips


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("worker = 4", "workers"),
        ("log_level = 'debug'", "loglevel"),
        ("preload = True", "preload_app"),
        ("keep_alive = 5", "keepalive"),
        ("def when_raedy(server): pass", "when_ready"),
    ],
)
def test_a_misspelt_setting_gets_one_line(text, meant):
    write(f"\n{text}\n")
    (line,) = loaded().warnings
    assert line.startswith("gunicorn.conf.py line 2: ")
    assert line.endswith(f"is not a setting; did you mean {meant!r}?")


@pytest.mark.parametrize(
    "text",
    [
        "worker = 4\nworkers = worker * 2",
        "host = 'h'\nport = 80\nbind = f'{host}:{port}'",
        "_worker = 4",
        "WORKER = 4",
        "import multiprocessing\nfrom os import environ",
        "workers_by_memory = 3",
        "class worker: pass",
        "workers = 3\nworker = 2",
        "def helper(): pass",
        "from os import path as binds",
    ],
)
def test_ordinary_names_get_none(text):
    write(text)
    assert loaded().warnings == []


# -- warnings


def test_what_is_not_effective_is_said_once():
    write("http2_max_concurrent_streams = 2\nworker_class = 'gevent'\n")
    assert loaded().warnings == ["accepted, not yet effective: worker_class, http2_max_concurrent_streams"]
    write("protocol = 'http'\nasgi_loop = 'auto'\ncontrol_socket = None")
    assert loaded().warnings == []


def test_glob_without_a_match():
    assert loaded("--reload-extra-file", "none/*.html").warnings == [
        "reload_extra_files: 'none/*.html' matches no file yet"
    ]


def test_ssl_version_is_ignored_aloud():
    assert loaded("--ssl-version", "TLSv1").warnings == [
        "ssl_version is ignored; set the TLS version in the ssl_context hook"
    ]


# -- directory


def test_chdir_moves_and_is_importable(tmp_path):
    (tmp_path / "site").mkdir()
    assert loaded("--chdir", "site").chdir == str(tmp_path / "site")
    assert os.getcwd() == str(tmp_path / "site")
    assert sys.path[0] == str(tmp_path / "site")


def test_a_directory_that_cannot_be_entered(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    write("chdir = '/'")
    monkeypatch.setattr(os, "chdir", refuse)
    assert refused().endswith(": Permission denied")


def test_files_are_looked_for_after_chdir(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "log.json").write_text("{}")
    write("chdir = 'site'\nlogconfig_json = 'log.json'")
    assert loaded().logconfig_json == "log.json"


def test_reading_again_starts_from_the_first_directory(tmp_path):
    (tmp_path / "site").mkdir()
    write("workers = 5\nchdir = 'site'", "conf.py")
    for _ in range(3):
        cfg = loaded("-c", "conf.py")
        assert cfg.workers == 5
        assert cfg.chdir == str(tmp_path / "site") == os.getcwd()


def test_default_directory_keeps_the_links_of_the_shell(tmp_path, monkeypatch):
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert Config().chdir == str(tmp_path / "current")
    for elsewhere in (tmp_path, tmp_path / "gone"):
        monkeypatch.setenv("PWD", str(elsewhere))
        assert Config().chdir == str(tmp_path / "release")
