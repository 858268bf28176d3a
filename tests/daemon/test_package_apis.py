"""The public APIs for packages: complete, documented, and all that the examples of the pages import."""

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest

from parley_daemon import provider_api, tool_api

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    (path.name, source)
    for path in sorted((ROOT / "docs").glob("*.md"))
    for source in re.findall(r"^```python\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
]
APIS = (provider_api, tool_api)
PUBLIC_MODULES = {*[api.__name__ for api in APIS], "parley_clients", "parley_daemon.ports.context"}
"""The port to contexts is documented as such: who writes another index changes the daemon."""


def imported_names(source: str) -> set[tuple[str, str]]:
    """Return what a module imports from parleyd's packages, as (module, name)."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)):
                found |= {(module, name.name) for name in node.names}
            case ast.Import():
                found |= {(name.name, "") for name in node.names}
            case _:
                pass
    return {(module, name) for module, name in found if module.startswith("parley_")}


@pytest.mark.parametrize(("page", "source"), EXAMPLES)
def test_an_example_imports_public_modules_only(page: str, source: str) -> None:
    imported = imported_names(source)
    assert {module for module, _ in imported} <= PUBLIC_MODULES, page
    for api in APIS:
        names = {name for module, name in imported if module == api.__name__}
        assert names <= set(api.__all__), page


@pytest.mark.parametrize("api", APIS)
def test_a_page_has_an_example_that_uses_the_api(api: ModuleType) -> None:
    modules = [module for _, source in EXAMPLES for module, _ in imported_names(source)]
    assert api.__name__ in modules


@pytest.mark.parametrize("api", APIS)
def test_every_export_exists_and_is_named_in_the_docstring(api: ModuleType) -> None:
    documented = set(re.findall(r"`(\w+)`", api.__doc__ or "")) - {"parley_daemon"}
    assert documented == set(api.__all__)
    assert [name for name in api.__all__ if not hasattr(api, name)] == []


@pytest.mark.parametrize("api", APIS)
def test_every_class_and_function_of_the_api_has_a_docstring(api: ModuleType) -> None:
    exports = [getattr(api, name) for name in api.__all__]
    bare = [each.__name__ for each in exports if isinstance(each, type) and not each.__doc__]
    assert bare == []
