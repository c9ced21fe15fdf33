"""Takes the pictures of the documentation from a real run: TensorBoard, the reports, the page of `serve`.

    python scripts/make_pictures.py --run lightning_logs/quickstart/version_0 --output docs/pictures
    python scripts/make_pictures.py --data_report data_report --evaluation results --output docs/pictures

Needs Chromium and the extra `dev`. Each picture is a PNG of at most 300 kB. Nothing of the run is changed.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_servers import ServerError, run_server
from PIL import Image

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_atomically
from lightning_med.utils.signals import raise_on_signals

LARGEST = 300_000  # bytes of a picture
WAIT = 120_000  # milliseconds for what a page shows; an answer of a model takes long on a busy processor
QUESTION = "My ears ring at night since a loud concert, what can I do?"
DANGER = "I have crushing chest pain and my left arm is numb"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        raise InputError("No Chromium was found.", "Install it, for instance: apt install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def save(picture: bytes, path: Path) -> None:
    """Writes a PNG with a palette, which takes a third of the space and looks the same.

    Raises:
        InputError: It is too large even so.
    """
    content = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128).save(content, "PNG", optimize=True)
    if len(content.getvalue()) > LARGEST:
        raise InputError(f"{path} would have {len(content.getvalue()):,} bytes.", f"At most {LARGEST:,}.")
    with write_atomically(path) as part:
        part.write_bytes(content.getvalue())
    print(f"picture: {path}, {len(content.getvalue()):,} bytes")


def picture_tensorboard(browser: Any, run: Path, output: Path) -> None:
    """The curves of a run."""
    with tempfile.TemporaryDirectory() as name:
        shown = Path(name) / "lightning_logs" / run.parent.name  # alone: the picture has no other run
        shown.mkdir(parents=True)
        (shown / run.name).symlink_to(run.resolve())
        options = ("--logdir", "lightning_logs", "--port", "PORT", "--load_fast=false")
        with run_server([sys.executable, "-m", "tensorboard.main", *options], ["/"], Path(name)) as address:
            page = browser.new_page(viewport={"width": 1280, "height": 740})
            page.goto(f"{address}/#custom_scalars&_smoothingWeight=0")
            page.locator("tf-custom-scalar-multi-line-chart-card").first.wait_for(timeout=WAIT)
            page.wait_for_timeout(8000)  # the curves are drawn over time and say nothing when they are ready
            save(page.screenshot(), output / "tensorboard.png")


def picture_report(browser: Any, report: Path, path: Path) -> None:
    """The beginning of a report.

    Raises:
        InputError: There is none.
    """
    if not report.is_file():
        raise InputError(f"{report}: there is no report.", "`prepare` and `evaluate` write one.")
    page = browser.new_page(viewport={"width": 1100, "height": 1000}, color_scheme="light")
    page.goto(report.resolve().as_uri())
    save(page.screenshot(), path)


def picture_page(browser: Any, export: Path, output: Path) -> None:
    """The page of `serve` with an ordinary question and a dangerous one."""
    command = [sys.executable, "-m", "lightning_med", "serve", "--model", str(export), "--port", "PORT"]
    with run_server(command, ["/health"]) as address:
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        page.goto(address, wait_until="load")
        for question, name in ((QUESTION, "page"), (DANGER, "page_danger")):
            answers = page.locator("#chat [data-testid=bot]")
            before = answers.count()
            page.locator("#question textarea").fill(question)
            page.keyboard.press("Enter")
            answers.nth(before).wait_for(timeout=WAIT)
            page.locator("#send").wait_for(timeout=WAIT)  # it is back when the answer is complete
            save(page.screenshot(full_page=True), output / f"{name}.png")


def main(argv: list[str] | None = None) -> int:
    """Takes the pictures that the arguments ask for; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, help="a run with an export, for TensorBoard and page")
    parser.add_argument("--data_report", type=Path, metavar="FOLDER", help="of prepare")
    parser.add_argument("--evaluation", type=Path, metavar="FOLDER", help="of evaluate")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    given = parser.parse_args(argv)
    if not (given.run or given.data_report or given.evaluation):
        parser.error("name --run, --data_report or --evaluation")
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        with raise_on_signals(), open_browser() as browser:
            if given.data_report:
                picture_report(browser, given.data_report / "report.html", given.output / "data_report.png")
            if given.evaluation:
                picture_report(browser, given.evaluation / "report.html", given.output / "evaluation.png")
            if given.run:
                picture_tensorboard(browser, given.run, given.output)
                picture_page(browser, given.run / "export", given.output)
    except InputError as error:
        print(f"make_pictures: {error}", file=sys.stderr)
        return 2
    except ServerError as error:
        print(f"make_pictures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
