"""The API reference is complete: every module is on a page, and every public name in the index, with its docstring."""

import ast
import inspect
import pkgutil
import re
from importlib import import_module
from itertools import pairwise

import pytest
from documents import ROOT

import spiral_envs
import spiral_envs.arena
import spiral_trl

API = ROOT / "docs" / "api"

INDEX = (API / "index.md").read_text(encoding="utf-8")

ENTRY = re.compile(r"^::: ([\w.]+)$(\n    options:\n      show_submodules: true)?", re.MULTILINE)

ENTRIES = {
    entry[1]: (page.name, entry[2] is not None)
    for page in sorted(API.glob("*.md"))
    for entry in ENTRY.finditer(page.read_text(encoding="utf-8"))
}
"""The page of every module that is named on one, and whether its submodules are there as well."""

PACKAGES = (spiral_envs, spiral_trl)


def page_of(module):
    """Returns the page on which a module is; None when it is on none."""
    if module in ENTRIES:
        return ENTRIES[module][0]
    parent = module.rpartition(".")[0]
    while parent:
        if parent in ENTRIES and ENTRIES[parent][1]:
            return ENTRIES[parent][0]
        parent = parent.rpartition(".")[0]
    return None


def module_names():
    """Returns the names of all modules of both packages; nothing is imported but packages."""
    found = [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
    ]
    return [name for name in found if "._" not in name]


def source_of(module):
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(package):
    return [name for name in package.__all__ if not name.startswith("__")]


def summary_of(module, name):
    """Returns the first paragraph that documents what a module calls `name`, be it only below an assignment."""
    body = ast.parse(inspect.getsource(import_module(module))).body
    for node, following in pairwise(body):
        is_it = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name
        if is_it and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            return first_paragraph(str(following.value.value))
    return first_paragraph(inspect.getdoc(getattr(import_module(module), name)))


def first_paragraph(text):
    return " ".join((text or "").split("\n\n")[0].split())


def imported_from(package, name):
    """Returns the module that a package takes a name from: where it says so, or itself."""
    value = getattr(package, name)
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__module__
    imports = [node for node in ast.parse(inspect.getsource(package)).body if isinstance(node, ast.ImportFrom)]
    return str(next(node.module for node in imports if name in [alias.name for alias in node.names]))


def row_of(package, name):
    """Returns the row of the index that a name must have."""
    module = imported_from(package, name)
    if inspect.ismodule(getattr(package, name)):
        return f"| [`{name}`]({page_of(module)}#{module}) | {first_paragraph(inspect.getdoc(import_module(module)))} |"
    page = "" if module == package.__name__ else page_of(module)
    return f"| [`{name}`]({page}#{module}.{name}) | {summary_of(module, name)} |"


def test_every_module_is_on_a_page():
    assert [name for name in module_names() if page_of(name) is None] == []


def test_every_page_names_modules_that_exist():
    known = {*module_names(), *(package.__name__ for package in PACKAGES)}

    assert [name for name in ENTRIES if name not in known and not name.startswith("benchmarks.")] == []
    assert [name for name in ENTRIES if name.startswith("benchmarks.") and not source_of(name).is_file()] == []


def test_every_module_has_a_docstring():
    assert [
        name for name in module_names() if not ast.get_docstring(ast.parse(source_of(name).read_text(encoding="utf-8")))
    ] == []


@pytest.mark.parametrize("name", public_names(spiral_envs))
def test_a_name_of_spiral_envs_is_in_the_index_with_its_docstring(name):
    row = row_of(spiral_envs, name)

    assert re.search(r"\| [^|]{10,} \|$", row)
    assert row in INDEX.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", public_names(spiral_trl))
def test_a_name_of_spiral_trl_is_in_the_index_with_its_docstring(name):
    row = row_of(spiral_trl, name)

    assert re.search(r"\| [^|]{10,} \|$", row)
    assert row in INDEX.splitlines()


def test_every_page_is_in_the_navigation():
    settings = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]

    assert [page for page in pages if f'"{page}"' not in settings] == []
