"""Builds the documentation as a site that needs no server and loads nothing from elsewhere.

    python scripts/make_site.py [--output FOLDER]

Copies docs/ and the pages beside it, adds the reference that make_reference.py writes, and has zensical build them with
docs/zensical.toml. Fails where a link is dead. `make docs` runs it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check_site import list_faults
from docs_site.pages import copy_pages
from make_reference import write_reference

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import make_temporary_folder
from lightning_med.utils.signals import raise_on_signals

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "docs" / "zensical.toml"
MARK = ".lightning_med_site"  # in a folder that may be replaced


def build_site(output: Path) -> None:
    """Builds the site into a folder; one that is there is replaced.

    Raises:
        InputError: A page, its links or its diagrams are wrong.
        RunError: Zensical is missing or fails, or the folder cannot be written.
    """
    if output.exists() and not (output / MARK).is_file():
        raise InputError(f"{output} is there and holds no site.", "Name another folder, or remove it.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docs = folder / "docs"
        write_reference(folder / "reference")
        copy_pages(ROOT, docs, folder / "reference")
        shutil.copy(docs / CONFIG.name, folder)
        _run_zensical(folder)
        site = folder / "site"
        if faults := list_faults(site):
            print(*faults, sep="\n", file=sys.stderr)
            raise InputError(f"The site has {len(faults)} faults, see above.", "Mend the pages that it was made from.")
        (site / MARK).touch()
        replace_folder(site, output)


def replace_folder(source: Path, output: Path) -> None:
    """Puts a copy of a folder in the place of another by renames, so that the old one is there until the new one is.

    Args:
        source: The folder to copy.
        output: Where the copy goes; a link stays, and the folder that it leads to is replaced.

    Raises:
        RunError: It cannot be written.
    """
    target = output.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = make_temporary_folder(target)
        old = new.with_name(f"{new.name}-old")
        try:
            shutil.copytree(source, new, dirs_exist_ok=True)
            if target.exists():
                target.rename(old)
            new.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        what = f"{output} cannot be written: {error.strerror or error}."
        raise RunError(what, "Free space there, or name another folder: --output") from error


def _run_zensical(folder: Path) -> None:
    # Docstrings are read from this repository, wherever a package of this name may be installed.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if "No module named" in done.stderr:
        raise RunError("Zensical is missing.", "Install it: pip install -e '.[docs]'")
    if done.returncode:
        print(done.stdout, file=sys.stderr)  # each issue, with its page and line
        raise RunError(
            f"Zensical: {(done.stderr.strip() or 'it failed').splitlines()[-1]}", "Mend what is named above."
        )


def main(argv: list[str] | None = None) -> int:
    """Builds the site; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("site"), metavar="FOLDER", help="default: site")
    output = parser.parse_args(argv).output
    try:
        with raise_on_signals():
            build_site(output)
    except (InputError, RunError) as error:
        print(f"make_site: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(f"site: {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
