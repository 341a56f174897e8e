"""Which module imports which, read from the code, and the cycles among them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]


def modules_below(folder: Path, root: Path) -> dict[str, Path]:
    """The modules in a folder by their dotted names, as seen from the source root."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(folder: Path, root: Path) -> dict[str, set[str]]:
    """What each module of a folder imports of the others, anywhere in it.

    Imports inside functions count, and those for type checkers alone: a reader follows them all.
    """
    modules = modules_below(folder, root)
    return {
        name: {found for found in imports_of(path, modules) if found != name}
        for name, path in modules.items()
    }


def imports_of(path: Path, modules: Iterable[str]) -> set[str]:
    """Those of `modules` that a file imports."""
    known = set(modules)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            named = {f"{module}.{alias.name}" for alias in node.names}
            # `from package import module` imports the module; any other name, what defines it.
            found |= named & known
            if named - known and module in known:
                found.add(module)
    return found


def grouped(graph: Graph, group_of: Callable[[str], str]) -> dict[str, set[str]]:
    """The graph of groups of modules: of apps, for instance, by each module's second name."""
    groups: dict[str, set[str]] = {}
    for name, imported in graph.items():
        own = group_of(name)
        groups.setdefault(own, set()).update(group_of(other) for other in imported)
    return {name: others - {name} for name, others in groups.items()}


def cycles(graph: Graph) -> list[list[str]]:
    """The sets of nodes from each of which one comes to all others: Tarjan's components, sorted."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            place = stack.index(node)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted(found)
