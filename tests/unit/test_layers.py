"""Imports point down only: the table of docs/design.md, read from the sources and enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import gunicorn

PACKAGE = Path(gunicorn.__file__).resolve().parent

# First name below ``gunicorn`` -> layer. A new module or package gets its place here and in docs/design.md.
LAYERS = {
    "errors": 0,
    "config": 0,
    "http": 0,
    "accesslog": 0,
    "process": 1,
    "glogging": 1,
    "instrument": 1,
    "wsgi": 2,
    "asgi": 2,
    "arbiter": 3,
    "workers": 3,
    "dirty": 3,
    "control": 3,
    "app": 4,
    "util": 4,
    "ctl": 4,
    "__main__": 4,
}

MAY_IMPORT = {0: {0}, 1: {0, 1}, 2: {0, 2}, 3: {0, 1, 2, 3}, 4: {0, 1, 2, 3, 4}}

# Protocols are values in, values out: whoever needs a socket or a clock is a driver and belongs in layer 3.
NOT_IN_PROTOCOLS = {"asyncio", "select", "selectors", "signal", "socket", "subprocess", "threading", "time"}
# Two that are none: arithmetic on a given time, and the default of a clock that is passed in (for Date).
NEITHER = {("gunicorn.http.date", "time.gmtime"), ("gunicorn.http.policy", "time")}

# Drivers that run inside a loop of their own; everything else is imported without one.
WITH_A_LOOP = (
    "gunicorn.workers.asgi",
    "gunicorn.workers.gasgi",
    "gunicorn.dirty",
    "gunicorn.control",
    "gunicorn.ctl",
)

# Shells with a nursery of their own: tasks of an arbiter, and the worker that asks for trio as its loop.
WITH_TRIO = ("gunicorn.arbiter.", "gunicorn.control.server", "gunicorn.dirty.", "gunicorn.workers.asgi.trio_")

# Connections, cycles and services hold each other: a type checker sees circles where a run sees none.
TIED_BY_TYPES = "gunicorn.workers.asgi"

THIRD_PARTY_OF_LAYER_0 = {"attrs", "attr", "h11", "httptools", "h2", "wsproto"}


class Import(NamedTuple):
    """One imported module, where it stands, and when it happens."""

    importer: str
    line: int
    target: str
    when: str  # "import", "call" (inside a function) or "typing"

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target} (at {self.when})"


class Reader(ast.NodeVisitor):
    """Collects the imports of one module, relative ones resolved."""

    def __init__(self, module: str, *, is_package: bool) -> None:
        self.module = module
        self.package = module if is_package else module.rpartition(".")[0]
        self.when = "import"
        self.imports: list[Import] = []

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += [Import(self.module, node.lineno, alias.name, self.when) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        # The name may be a module (``from gunicorn import glogging``): it counts like the place it is from.
        targets = [f"{base}.{alias.name}" for alias in node.names]
        if base.startswith("gunicorn."):
            targets.append(base)
        self.imports += [Import(self.module, node.lineno, target, self.when) for target in targets]

    def visit_If(self, node: ast.If) -> None:
        guarded = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        before, self.when = self.when, "typing" if guarded else self.when
        for child in node.body:
            self.visit(child)
        self.when = before
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self.when = self.when, "call"
        self.generic_visit(node)
        self.when = before

    visit_AsyncFunctionDef = visit_FunctionDef


def read_imports(package: Path) -> list[Import]:
    """All imports of all modules below ``package``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = ["gunicorn", *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        reader = Reader(".".join(parts[:-1] if is_package else parts), is_package=is_package)
        reader.visit(ast.parse(path.read_text(), str(path)))
        found += reader.imports
    return found


def layer_of(module: str) -> int | None:
    """The layer of a module of ours; None for the root package, which holds the version only."""
    names = module.split(".")
    if len(names) == 1:
        return None
    return LAYERS.get(names[1])  # ``from gunicorn import __version__`` names a value of the root


def upward(imports: list[Import]) -> list[Import]:
    """Those imports that the table forbids."""
    wrong = []
    for item in imports:
        if not item.target.startswith("gunicorn."):
            continue
        own, theirs = layer_of(item.importer), layer_of(item.target)
        if theirs is None:
            continue
        # What only a type checker reads costs nothing at run time: it may skip a layer. Up is up even then.
        allowed = set(range((own or 0) + 1)) if item.when == "typing" else MAY_IMPORT[own or 0]
        if own is None or theirs not in allowed:
            wrong.append(item)
    return wrong


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return read_imports(PACKAGE)


def root(item: Import) -> str:
    return item.target.partition(".")[0]


def run_time(imports: list[Import], package: str = "gunicorn") -> list[Import]:
    """Imports that happen outside a type checker, of ``package`` and below it."""
    return [
        item for item in imports if item.when != "typing" and f"{item.importer}.".startswith(f"{package}.")
    ]


def circle(imports: list[Import]) -> list[str]:
    """Modules that import each other in a circle, the first one that is found."""
    modules = {item.importer for item in imports}
    graph: dict[str, set[str]] = {}
    for item in imports:
        target = item.target if item.target in modules else item.target.rpartition(".")[0]
        excepted = item.when == "typing" and item.importer.startswith(TIED_BY_TYPES)
        # ``from package import module`` is read as both: the package, too, if it is not the importer's own.
        if target in modules and not excepted and not f"{item.importer}.".startswith(f"{target}."):
            graph.setdefault(item.importer, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def brings_trio(imports: list[Import]) -> set[str]:
    """Modules whose own import imports trio, directly or through another module."""
    at_import = [item for item in imports if item.when == "import"]
    found: set[str] = set()
    while more := {i.importer for i in at_import if root(i) == "trio" or i.target in found} - found:
        found |= more
    return found


def test_every_module_has_a_layer() -> None:
    found = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = {path.stem for path in found}
    assert names - set(LAYERS) <= {"__init__"}, "give the new name a layer, here and in docs/design.md"


def test_imports_point_down(imports: list[Import]) -> None:
    assert [str(item) for item in upward(imports)] == []


def test_no_modules_import_each_other(imports: list[Import]) -> None:
    assert circle(imports) == []


def test_only_the_named_shells_import_trio(imports: list[Import]) -> None:
    with_trio = [item for item in run_time(imports) if root(item) == "trio"]
    assert [str(item) for item in with_trio if not item.importer.startswith(WITH_TRIO)] == []


def test_the_trio_worker_is_imported_by_name_only(imports: list[Import]) -> None:
    # In the worker's process, after the fork: the fork server must stay as it is, for gevent and other loops.
    own = "gunicorn.workers.asgi.trio_"
    inward = [item for item in imports if item.target.startswith(own) and not item.importer.startswith(own)]
    assert [str(item) for item in inward] == []


def test_the_arbiter_package_itself_is_trio_free(imports: list[Import]) -> None:
    assert "gunicorn.arbiter" not in brings_trio(imports)


def test_protocols_have_neither_sockets_nor_clocks(imports: list[Import]) -> None:
    found = [item for item in run_time(imports, "gunicorn.http") if root(item) in NOT_IN_PROTOCOLS]
    assert [str(item) for item in found if (item.importer, item.target) not in NEITHER] == []


def test_the_pure_layer_uses_few_packages(imports: list[Import]) -> None:
    known = sys.stdlib_module_names | THIRD_PARTY_OF_LAYER_0 | {"gunicorn"}
    found = [item for item in run_time(imports) if layer_of(item.importer) == 0]
    assert [str(item) for item in found if root(item) not in known] == []


def test_what_a_worker_may_import_brings_no_event_loop(imports: list[Import]) -> None:
    """Import every module that does not itself need trio in one fresh interpreter, as a worker might."""
    own_loop = (*WITH_A_LOOP, "gunicorn.__main__")
    candidates = {item.importer for item in imports if not item.importer.startswith(own_loop)}
    modules = sorted(candidates - brings_trio(imports))
    code = (
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "print(sorted({'trio', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_reader_sees_circles(tmp_path: Path) -> None:
    for name, source in (("a", "from .b import x"), ("b", "def f():\n    from . import c"), ("c", "")):
        (tmp_path / f"{name}.py").write_text(source)
    assert circle(read_imports(tmp_path)) == []
    (tmp_path / "c.py").write_text("if TYPE_CHECKING:\n    from gunicorn.a import y")
    assert set(circle(read_imports(tmp_path))) == {"gunicorn.a", "gunicorn.b", "gunicorn.c"}


@pytest.mark.parametrize(
    ("module", "source", "forbidden"),
    [
        ("http/server.py", "from ..errors import ProtocolError", False),
        ("http/server.py", "from ..process import channel", True),
        ("http/server.py", "from gunicorn import glogging", True),
        ("http/server.py", "def f():\n    import gunicorn.workers.sync", True),
        ("process/channel.py", "from .messages import decode", False),
        ("wsgi/environ.py", "from ..process.slots import Slot", True),
        ("wsgi/environ.py", "if TYPE_CHECKING:\n    from ..process.slots import Slot", False),
        ("wsgi/environ.py", "if TYPE_CHECKING:\n    from ..workers.base import Worker", True),
        ("workers/sync.py", "from ..app.base import Application", True),
        ("workers/sync.py", "from ..wsgi.environ import make", False),
        ("app/wsgiapp.py", "from ..arbiter import Arbiter", False),
    ],
)
def test_the_reader_sees_what_is_forbidden(tmp_path: Path, module: str, source: str, forbidden: bool) -> None:
    path = tmp_path / module
    path.parent.mkdir()
    path.write_text(source)
    assert bool(upward(read_imports(tmp_path))) is forbidden
