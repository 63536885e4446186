"""The doors: what custom applications build on, and how wrong configurations are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gunicorn.app.base import Application, BaseApplication, extend_path
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import AppImportError, ConfigError


class Custom(BaseApplication):
    """As in the documentation of custom applications."""

    def __init__(self, options):
        self.options = options
        self.loads = 0
        super().__init__()

    def load_config(self):
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self):
        self.loads += 1
        return lambda environ, start_response: []


class CommandLine(WSGIApplication):
    """The command, with its arguments given here."""

    def __init__(self, *arguments):
        self._arguments = arguments
        super().__init__(prog="gunicorn")

    def arguments(self):
        return self._arguments


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, so that no configuration file of the checkout is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    return tmp_path


def test_custom_application_sets_and_loads_once():
    app = Custom({"workers": 3, "bind": ["127.0.0.1:9000"]})
    assert app.cfg.workers == 3
    assert app.cfg.address == [("127.0.0.1", 9000)]
    assert app.wsgi() is app.wsgi()
    assert app.loads == 1


def test_wrong_setting_of_a_custom_application_ends_with_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        Custom({"workers": -1})
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gunicorn: error: ")
    assert "workers" in line


def test_reload_reads_again_and_loads_again():
    app = Custom({"workers": 3})
    app.wsgi()
    app.options["workers"] = 4
    app.reload()
    assert app.cfg.workers == 4
    app.wsgi()
    assert app.loads == 2


def test_reload_that_fails_keeps_the_configuration():
    app = Custom({"workers": 3})
    before = app.cfg
    app.options["workers"] = "many"
    with pytest.raises(ConfigError):
        app.reload()
    assert app.cfg is before


def test_command_line_names_the_application():
    app = CommandLine("-w", "2", "shop:app")
    assert app.app_uri == "shop:app"
    assert app.cfg.proc_name == "shop:app"


def test_application_from_the_file_and_the_command_line_wins(folder):
    (folder / "gunicorn.conf.py").write_text("wsgi_app = 'shop:from_file'\n")
    assert CommandLine().app_uri == "shop:from_file"
    assert CommandLine("shop:app").app_uri == "shop:app"


def test_reload_forgets_an_application_that_the_file_no_longer_names(folder):
    config = folder / "gunicorn.conf.py"
    config.write_text("wsgi_app = 'shop:one'\n")
    app = CommandLine()
    config.write_text("wsgi_app = 'shop:two'\n")
    app.reload()
    assert app.app_uri == app.cfg.proc_name == "shop:two"


def test_no_application_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        CommandLine()
    assert ended.value.code == 1
    assert "no application" in capsys.readouterr().err


def test_settings_of_a_framework_are_below_the_command_line():
    class Framework(Application):
        def init(self, parser, opts, args):
            return {"workers": 7, "threads": 2}

        def arguments(self):
            return ["--workers", "3"]

    app = Framework()
    assert (app.cfg.workers, app.cfg.threads) == (3, 2)


def test_application_that_is_not_there_is_an_import_error(folder):
    (folder / "empty_module.py").touch()
    with pytest.raises(AppImportError, match="empty_module"):
        CommandLine("empty_module:app").wsgi()


def test_error_of_the_users_file_shows_where(folder, capsys):
    (folder / "gunicorn.conf.py").write_text("workers = 1\nraise RuntimeError('mine')\n")
    with pytest.raises(SystemExit):
        CommandLine("shop:app")
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "RuntimeError: mine" in error


def test_one_more_configuration_file(folder):
    (folder / "more.py").write_text("workers = 5\n")
    app = CommandLine("shop:app")
    app.load_config_from_file("more.py")
    assert app.cfg.workers == 5


def test_pythonpath_goes_first(folder):
    extend_path(Custom({"pythonpath": "one, two"}).cfg)
    assert sys.path[:2] == [str(folder / "two"), str(folder / "one")]


def test_the_doors_import_no_event_loop():
    code = "import gunicorn.__main__, gunicorn.arbiter, gunicorn.arbiter.startup, sys\n"
    code += "print(sorted({'trio', 'asyncio'} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert found.stdout == "[]\n"
