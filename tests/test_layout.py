"""The floors of the house: imports only go down, extras stay optional."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import msref

ROOT = Path(__file__).parents[1]
PACKAGE = Path(msref.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NUMERICAL = [
    PACKAGE / "functional.py",
    PACKAGE / "arrays.py",
    *sorted((PACKAGE / "architectures").glob("*.py")),
    *sorted((PACKAGE / "training").glob("*.py")),
]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACT = SETTINGS["tool"]["importlinter"]["contracts"][0]
LINT = (
    "import sys; from importlinter.cli import lint_imports;"
    " sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True))"
)


def name_of(path):
    return str(path.relative_to(PACKAGE.parent))


def python(*args, cwd=ROOT):
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def run_at_import(node):
    """Walk what an import executes: all but functions and type checking."""
    yield node
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        for_types = isinstance(child, ast.If) and (
            getattr(child.test, "id", "") == "TYPE_CHECKING"
        )
        if not (is_function or for_types):
            yield from run_at_import(child)


def imported(path, top_level=False):
    """Return the modules that a file imports."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in run_at_import(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(names):
    return {name.partition(".")[0] for name in names}


# --- the contract -----------------------------------------------------------


def test_imports_only_go_down():
    done = python("-c", LINT, "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_would_notice_an_import_that_goes_up(tmp_path):
    upside_down = "\n    ".join(reversed(CONTRACT["layers"]))
    config = tmp_path / "contracts.ini"
    config.write_text(
        "[importlinter]\nroot_package = msref\n"
        "[importlinter:contract:1]\nname = upside down\ntype = layers\n"
        f"layers =\n    {upside_down}\n"
    )
    done = python("-c", LINT, str(config))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "msref.architectures" in done.stdout


def test_each_floor_exists_and_nothing_stands_outside():
    floors = {
        name.strip()
        for floor in CONTRACT["layers"]
        for name in re.split(r"[:|]", floor)
    }
    assert CONTRACT["layers"][0] == "msref.cli"
    there = {
        f"msref.{path.stem}"
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__")
        or (path / "__init__.py").is_file()
    }
    assert there == floors


# --- what may be imported where ---------------------------------------------


def test_imports_are_found_at_any_depth(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "try:\n    import a.b\nexcept ImportError:\n    pass\n"
        "def f():\n    from c import d\n"
        "if TYPE_CHECKING:\n    import e\n"
    )
    assert imported(path) == {"a.b", "c", "c.d", "e"}
    assert imported(path, top_level=True) == {"a.b"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_extras_are_not_imported_at_the_top(path):
    optional = {"cupy", "torch", "jax", "tensorflow", "keras", "onnx"}
    assert not roots(imported(path, top_level=True)) & optional


@pytest.mark.parametrize("path", NUMERICAL, ids=name_of)
def test_passes_by_hand_know_no_automatic_differentiation(path):
    assert not roots(imported(path)) & {"autograd", "torch", "jax"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_unpickled(path):
    assert not roots(imported(path)) & {"pickle", "dill", "joblib", "shelve"}
    assert "allow_pickle=True" not in path.read_text()


ALONE = sorted((PACKAGE / "architectures").glob("*.py"))
ALONE = [
    p
    for p in ALONE
    if p.stem
    not in (
        "__init__",
        "base",
        "checkpointed",
        "clock",
        "combine",
        "holds",
        "indrnn_layers",
    )
]


@pytest.mark.parametrize("path", ALONE, ids=name_of)
def test_an_architecture_can_be_lifted_out_and_read_alone(path):
    ours = {name for name in imported(path) if name.startswith("msref")}
    modules = {".".join(name.split(".")[:3]) for name in ours}
    allowed = {
        "msref.architectures.base",
        "msref.architectures.clock",
        "msref.architectures.holds",
        "msref.arrays",
        "msref.functional",
    }
    for module in modules:
        assert any(module.startswith(name) for name in allowed), module


def test_importing_everything_needs_no_extra():
    code = (
        "import pkgutil, sys, msref\n"
        "for m in pkgutil.walk_packages(msref.__path__, 'msref.'):\n"
        "    __import__(m.name)\n"
        "print(sum(name.startswith('msref.') for name in sys.modules))\n"
        "print({'cupy', 'torch', 'jax', 'tensorflow'} & set(sys.modules))\n"
    )
    done = python("-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    count, extras = done.stdout.splitlines()
    assert int(count) >= len(MODULES) - 1
    assert extras == "set()"
