"""PasteDeploy without PasteDeploy: what we read of an ini file, and how its absence is said."""

from __future__ import annotations

import sys
import types

import pytest

from gunicorn.app.pasterapp import PasterServerApplication, get_wsgi_app, get_wsgi_app_name, paste_settings
from gunicorn.errors import ConfigError


@pytest.fixture
def ini(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shop.ini"
    path.write_text("[app:main]\nuse = egg:shop\n")
    return path


def test_name_of_the_application(ini):
    assert get_wsgi_app_name("shop.ini#admin") == f"config:{ini}#admin"
    with pytest.raises(ConfigError, match=r"absent\.ini"):
        get_wsgi_app_name("absent.ini")


def test_loggers_of_the_file_become_the_logging_configuration(ini):
    assert paste_settings("shop.ini") == {"default_proc_name": "shop.ini"}
    ini.write_text(ini.read_text() + "[loggers]\nkeys = root\n")
    assert paste_settings("shop.ini#admin")["logconfig"] == str(ini)


def test_without_the_package_one_line_says_so(ini, monkeypatch):
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    with pytest.raises(ConfigError, match="PasteDeploy"):
        get_wsgi_app(get_wsgi_app_name("shop.ini"))


def test_application_is_loaded_by_the_package(ini, monkeypatch):
    seen = {}

    def loadapp(uri, **options):
        seen.update(options, uri=uri)
        return "the application"

    deploy = types.ModuleType("paste.deploy")
    deploy.loadapp = loadapp
    monkeypatch.setitem(sys.modules, "paste", types.ModuleType("paste"))
    monkeypatch.setitem(sys.modules, "paste.deploy", deploy)
    assert get_wsgi_app(get_wsgi_app_name("shop.ini"), {"debug": "1"}) == "the application"
    assert seen["uri"] == f"config:{ini}"
    assert seen["relative_to"] == str(ini.parent)
    assert seen["global_conf"] == {"debug": "1"}


def test_server_section(ini):
    (ini.parent / "more.py").write_text("workers = 2\nthreads = 9\n")
    made = PasterServerApplication(
        "app", {"__file__": str(ini)}, host="::1", port=9000, threads="3", config="more.py"
    )
    assert made.cfg.address == [("::1", 9000)]
    assert (made.cfg.workers, made.cfg.threads) == (2, 3)
    assert made.cfg.proc_name == str(ini)
    assert made.wsgi() == "app"
