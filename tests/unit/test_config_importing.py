"""From text to the application, and to classes."""

from __future__ import annotations

import sys
import types

import pytest

from gunicorn.config import import_app, load_class
from gunicorn.errors import AppImportError, ConfigError


class Application:
    def __call__(self, environ, start_response):
        return []


@pytest.fixture
def site(monkeypatch):
    """A module called ``site_module`` with applications, factories and things that are neither."""
    module = types.ModuleType("site_module")
    source = """
def app(environ, start_response): return []
application = app
def create_app(*arguments, **keywords):
    def made(environ, start_response): return arguments, keywords
    return made
def one(argument): return argument
def broken(): return None + 1
def empty(): return None
class Thing: pass
nothing = None
number = 3
"""
    exec(source, module.__dict__)
    module.instance = Application()
    monkeypatch.setitem(sys.modules, "site_module", module)
    return module


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("site_module", "application"),
        ("site_module:", "application"),
        ("site_module:app", "app"),
        ("site_module:instance", "instance"),
    ],
)
def test_names(site, uri, name):
    assert import_app(uri) is getattr(site, name)


def test_dotted_module(monkeypatch):
    assert import_app("os.path:join") is sys.modules["os.path"].join


@pytest.mark.parametrize(
    ("uri", "arguments", "keywords"),
    [
        ("site_module:create_app()", (), {}),
        ("site_module:create_app(1, 'x', key=[1, {'a': None}])", (1, "x"), {"key": [1, {"a": None}]}),
        ("site_module:create_app('a:b', -1)", ("a:b", -1), {}),
    ],
)
def test_factories(site, uri, arguments, keywords):
    assert import_app(uri)({}, None) == (arguments, keywords)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (":app", "expected MODULE or MODULE:NAME"),
        (
            "site_module:a.b",
            "'a.b' is not allowed; expected NAME or a call of a plain name with literal arguments",
        ),
        ("site_module:1 + 1", "'1 + 1' is not allowed"),
        ("site_module:'app'", "is not allowed"),
        ("site_module:app[0]", "is not allowed"),
        ("site_module:a.b()", "is not allowed"),
        ("site_module:app(", "'app(' is not an expression"),
        ("site_module:create_app(name)", "the arguments of the call must be literals"),
        ("site_module:create_app(1 + 1)", "the arguments of the call must be literals"),
        ("site_module:create_app(*[1])", "the arguments of the call must be literals"),
        ("site_module:create_app(**{'a': 1})", "the arguments of the call must be literals"),
        ("site_module:nothing", "'nothing' in module 'site_module' is None, expected a callable"),
        ("site_module:number", "'number' is of type int, expected a callable"),
        ("site_module:number()", "'number' is of type int, expected a callable"),
        ("site_module:empty()", "the factory returned None, expected a callable"),
        ("site_module:one(3)", "the factory returned of type int, expected a callable"),
        ("site_module:one()", "one() missing 1 required positional argument: 'argument'"),
        ("site_module:aplication", "has no attribute 'aplication'; did you mean 'application'?"),
        ("site_module:flask", "has no attribute 'flask'; did you mean 'app' or 'create_app'?"),
        ("site_module.py", "expected a module name, not a file; try 'site_module'"),
        ("project/site_module.py:app", "expected a module name, not a file; try 'project.site_module'"),
    ],
)
def test_refused_with_one_line(site, uri, problem):
    with pytest.raises(AppImportError) as caught:
        import_app(uri)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"cannot load {uri!r}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_missing_default_name_suggests_what_is_there(site):
    del site.application
    with pytest.raises(AppImportError, match=r"no attribute 'application'; did you mean .*'app'"):
        import_app("site_module")


def test_errors_of_the_factory_are_its_own(site):
    with pytest.raises(TypeError, match="unsupported operand"):
        import_app("site_module:broken()")


def test_a_missing_module_is_an_import_error():
    # Exit status 3, not 4: the fault is in what is installed, as with any import of the application.
    with pytest.raises(ModuleNotFoundError, match="no_such_site"):
        import_app("no_such_site:app")


# -- classes


def test_a_class_is_itself():
    assert load_class(Application) is Application


@pytest.mark.parametrize("uri", ["collections.OrderedDict", None])
def test_dotted_class(uri):
    from collections import OrderedDict

    assert load_class(uri, default="collections.OrderedDict") is OrderedDict


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("no_such_module.Worker", "cannot load 'no_such_module.Worker': No module named 'no_such_module'"),
        (
            "collections.NoSuch",
            "cannot load 'collections.NoSuch': module 'collections' has no attribute 'NoSuch'",
        ),
        ("nosuch", "'nosuch' is unknown: expected one of asgi, gevent"),
        ("egg:no-such-distribution#x", "no distribution 'no-such-distribution' is installed"),
        ("egg:pytest#x", "'pytest' has no entry point 'x' in group 'gunicorn.workers'"),
        ("eventlet", "the eventlet worker was removed"),
    ],
)
def test_class_that_is_not_there(uri, problem):
    with pytest.raises(ConfigError) as caught:
        load_class(uri)
    assert problem in str(caught.value)


def test_object_behind_an_entry_point():
    found = load_class("egg:hypothesis#hypothesispytest", section="pytest11")
    assert found is sys.modules["_hypothesis_pytestplugin"]
    assert load_class("hypothesispytest", section="pytest11") is found


def test_aliases_that_are_still_to_come_say_so(monkeypatch):
    monkeypatch.setitem(load_class.__globals__["WORKER_ALIASES"], "soon", "gunicorn.workers.soon.SoonWorker")
    with pytest.raises(ConfigError, match=r"^'soon' is not available in this release yet$"):
        load_class("soon")


def test_errors_of_the_module_are_the_cause(tmp_path, monkeypatch):
    (tmp_path / "broken_worker.py").write_text("raise OSError('mine')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot load 'broken_worker\.Worker': mine") as caught:
        load_class("broken_worker.Worker")
    assert isinstance(caught.value.__cause__, OSError)


def test_errors_behind_an_entry_point_are_the_cause(tmp_path, monkeypatch):
    information = tmp_path / "broken_dist-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-dist\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[gunicorn.workers]\nsync = broken_entry:Worker\n")
    (tmp_path / "broken_entry.py").write_text("raise OSError('mine')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^cannot load entry point 'sync' \(broken_entry:Worker\): mine"
    ) as caught:
        load_class("egg:broken-dist")
    assert isinstance(caught.value.__cause__, OSError)


def test_names_that_others_import():
    from gunicorn import util

    assert util.import_app is import_app
    assert util.load_class is load_class
