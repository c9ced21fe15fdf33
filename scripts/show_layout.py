"""Prints the sizes of the package's files, classes and folders, and fails where one is over its limit.

    python scripts/show_layout.py [PACKAGE]

Imports nothing of the package. `make check` runs it.
"""

from __future__ import annotations

import argparse
import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

FILE_LINES = 300
CLASS_LINES = 200
FOLDER_FILES = 12  # beside `__init__.py`
ROOT_FILES = {"__init__.py", "__main__.py", "version.py"}
SHOWN_CLASSES = 3  # the longest ones, shown even where all are within the limit


@dataclass(frozen=True)
class Layout:
    """The sizes of a package, each with its path relative to the package."""

    files: dict[str, int]  # lines of each Python file
    classes: dict[str, int]  # lines of each class, by `path:name`
    folders: dict[str, int]  # Python files of each folder, `__init__.py` left out
    root: list[str]  # names of the Python files directly in the package


def measure_layout(package: Path) -> Layout:
    """Counts lines of files and classes, and files of folders.

    Args:
        package: The package's folder.
    """
    paths = sorted(package.rglob("*.py"))
    files: dict[str, int] = {}
    classes: dict[str, int] = {}
    folders: dict[str, int] = {}
    for path in paths:
        name, text = str(path.relative_to(package)), path.read_text(encoding="utf-8")
        files[name] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.end_lineno:
                classes[f"{name}:{node.name}"] = node.end_lineno - node.lineno + 1
        folder = str(path.parent.relative_to(package))
        folders[folder] = folders.get(folder, 0) + (path.name != "__init__.py")
    return Layout(files, classes, folders, [path.name for path in paths if path.parent == package])


def sort_by_size(sizes: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))


def list_rows(layout: Layout) -> list[tuple[str, str, bool]]:
    """The table: what was measured, its figure, and whether it is within its limit."""
    long_files = [(name, size) for name, size in sort_by_size(layout.files) if size > FILE_LINES]
    full_folders = [(name, size) for name, size in sort_by_size(layout.folders) if size > FOLDER_FILES]
    loose_files = sorted(set(layout.root) - ROOT_FILES)
    long_classes = [(name, size) for name, size in sort_by_size(layout.classes) if size > CLASS_LINES]
    shown_classes = sort_by_size(layout.classes)[: max(SHOWN_CLASSES, len(long_classes))]
    middle = median(size for name, size in layout.files.items() if not name.endswith("__init__.py"))
    return [
        ("Python files", str(len(layout.files)), True),
        ("median lines of a file, __init__ aside", f"{middle:g}", True),
        (f"files over {FILE_LINES} lines", str(len(long_files)), not long_files),
        *((f"  {name}", f"{size} lines", False) for name, size in long_files),
        (f"classes over {CLASS_LINES} lines", str(len(long_classes)), not long_classes),
        *((f"  {name}", f"{size} lines", size <= CLASS_LINES) for name, size in shown_classes),
        (f"folders with over {FOLDER_FILES} files", str(len(full_folders)), not full_folders),
        *((f"  {name}", f"{size} files", False) for name, size in full_folders),
        ("files at the root", str(len(layout.root)), not loose_files),
        *((f"  {name}", "belongs in a folder", False) for name in loose_files),
    ]


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where a limit is broken, else 0."""
    parser = argparse.ArgumentParser("show_layout", description="Sizes of the package's files, classes and folders.")
    default = Path(__file__).parents[1] / "lightning_med"
    parser.add_argument("package", nargs="?", type=Path, default=default, help="default: lightning_med")
    package: Path = parser.parse_args(argv).package
    if not (package / "__init__.py").is_file():
        parser.error(f"{package} is no Python package: it has no __init__.py.")
    rows = list_rows(measure_layout(package))
    width = max(len(name) for name, _, _ in rows)
    for name, figure, within in rows:
        print(f"{name:<{width}}  {figure}{'' if within else '  <- over the limit'}")
    return 0 if all(within for _, _, within in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
