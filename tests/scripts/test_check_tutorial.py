"""The tutorial's commands are found, run and compared as its marks say; the notebook is fit to be opened elsewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from tests.conftest import ROOT

Script = Callable[[str], ModuleType]
PAGE, NOTEBOOK = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
SMALL = """# Small

<!-- check: skip -->
```sh
never run
```

```text
of a block that is not run
```

## One

```sh
cat > a.txt <<'EOF'
<!-- check: text -->
EOF
```

```yaml
no: command
```

<!-- later:
```sh
commented out
```
-->

<!-- check: status 3 -->
<!-- check: type yes | no -->
```sh
cat; exit 3
```

```text
yes
```

Again:

<!-- check: varies -->
```text
anything
```

## Two

<!-- check: until http://127.0.0.1:1 -->
```sh
serve
```
"""


def list_steps(script: Script, text: str) -> list[Any]:
    steps: list[Any] = script("tutorial.blocks").read_steps(text)
    return steps


def run(script: Script, text: str, folder: Path) -> list[Any]:
    environment = script("tutorial.steps").make_environment(folder)
    return [step for step, _ in script("tutorial.steps").run_steps(list_steps(script, text), folder, environment)]


def block(commands: str, shown: str = "", mark: str = "") -> str:
    output = f"\n```text\n{shown}\n```\n" if shown else ""
    return f"{mark and f'<!-- check: {mark} -->'}\n```sh\n{commands}\n```\n{output}\n"


# ------------------------------------------------------------------ blocks


def test_blocks_are_found_with_their_marks(script: Script) -> None:
    write, typed, served = list_steps(script, SMALL)
    assert (write.line, write.status, write.shown) == (14, 0, [])
    assert write.commands == "cat > a.txt <<'EOF'\n<!-- check: text -->\nEOF"
    assert (typed.commands, typed.status, typed.typed, typed.shown) == ("cat; exit 3", 3, "yes\nno\n", ["yes"])
    assert (served.address, served.section, typed.section) == ("http://127.0.0.1:1", 2, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<!-- check: skp -->\n```sh\na\n```\n", "line 2: skp is no mark"),
        ("<!-- check: skip -->\n```text\na\n```\n", "line 2: skip is no mark"),
        ("\n<!-- check: skip -->\n\nText.\n", "line 2: a mark stands before no block"),
        ("<!-- check: skip -->\n", "line 1: a mark stands before no block"),
        ("a\n```sh\nb\n", "line 2: the block is not closed"),
    ],
)
def test_a_mark_that_means_nothing_is_refused(script: Script, text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        list_steps(script, text)


# ------------------------------------------------------------------ shown output


@pytest.mark.parametrize(
    ("shown", "written", "missing"),
    [
        (["kept 802"], "read 3\nkept 1,204\n", []),
        (["│ kept │   802 │"], "┃ kept ┃ 7 ┃\n", []),
        (["rate 1.0e-03, 5.5 s"], "rate 4e-05, 17 s", []),
        (["a … d", "…"], "a b c d\n", []),
        (["done"], "half\rdone\n", []),
        (["red"], "\x1b[31mred\x1b[0m\n", []),
        (["kept 802"], "dropped 802\n", ["kept 802"]),
        (["b", "a"], "a\nb\n", ["a"]),
        (["a"], "ab\n", ["a"]),
        (["a", "a"], "a\n", ["a"]),
        (["a."], "ab\n", ["a."]),
    ],
)
def test_text_is_compared_and_figures_are_not(
    script: Script, shown: list[str], written: str, missing: list[str]
) -> None:
    assert script("tutorial.shown_output").find_missing(shown, written) == missing


# ------------------------------------------------------------------ running


def test_commands_run_in_order_in_one_folder(script: Script, tmp_path: Path) -> None:
    write, read = block("echo 41 > a.txt"), block("read word; cat a.txt; echo $word", "1\nyes", "type yes")
    assert len(run(script, write + read + block("cd nowhere\nexit 0", mark="status 1"), tmp_path)) == 3


def test_the_environment_is_new_and_has_this_interpreter(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODEL", "API_KEY", "CACHE"):
        monkeypatch.setenv(f"LIGHTNING_MED_{name}", "of this machine")
    environment = script("tutorial.steps").make_environment(tmp_path)
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["LIGHTNING_MED_CACHE"].startswith(str(tmp_path))
    assert [name for name in environment if name.startswith("LIGHTNING_MED_")] == ["LIGHTNING_MED_CACHE"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (block("echo why >&2; false"), "line 2: it ended with status 1, not 0(?s:.*)why"),
        (block("false | cat"), "status 1"),
        (block("true", mark="status 2"), "status 0, not 2"),
        (block("echo apples", "pears"), "is not in its output: pears(?s:.*)apples"),
        (block("exit 4", mark="until http://127.0.0.1:1"), "never answered"),
    ],
)
def test_what_a_page_says_and_a_command_does_not_is_an_error(
    script: Script, tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(script("tutorial.steps").StepError, match=named):
        run(script, text, tmp_path)


def test_a_program_that_a_command_left_in_the_background_ends_with_it(script: Script, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        assert run(script, block("exec 3> pipe; echo up >&3; sleep 600 > log 2>&1 &"), tmp_path)
        os.set_blocking(pipe.fileno(), True)
        assert pipe.read() == b"up\n"  # it ends when the last program that holds the pipe has ended


@pytest.mark.slow
def test_a_server_answers_within_its_section_and_ends_with_it(script: Script, tmp_path: Path) -> None:
    address = "http://127.0.0.1:80"  # taken or not allowed: the commands of the section get another port
    server = block("echo up; python -m http.server --bind 127.0.0.1 80 >&2", "up", f"until {address}/")
    ask = block(f"python -c \"import urllib.request as r; print(r.urlopen('{address}').status)\" | tee -a log", "200")
    later = "## B\n" + block("! kill -0 $(cat pid) && test $(wc -l < log) = 1")
    steps = run(script, "## A\n" + server.replace("echo up", "echo $$ > pid; echo up") + ask + later, tmp_path)
    assert len(steps) == 3
    assert "127.0.0.1:80/" not in steps[0].address


def test_the_report_names_each_block_and_what_failed(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("check_tutorial")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    module.PAGE.write_text(block("touch here; ls", "here"), encoding="utf-8")
    assert module.main(["tutorial"]) == 0
    assert re.search(r"^ +\d\.\d s  line 2: touch here", capsys.readouterr().out, re.M)
    module.PAGE.write_text(block("exit 1"), encoding="utf-8")
    assert module.main(["tutorial"]) == 1
    assert "check_tutorial: tutorial: line 2: it ended with status 1" in capsys.readouterr().err


def test_a_notebook_keeps_no_path_of_the_machine_that_ran_it(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    folder = tmp_path / "first-model"
    text = f"{folder}/runs in {folder}, {tmp_path}/cache, /home/me/x of /home/me, /home/men, {folder}s"
    cell = nbformat.v4.new_code_cell("run()", metadata={"a": 1})
    data = {"text/plain": text, "image/png": "abc/home/me"}
    cell.outputs = [nbformat.v4.new_output("stream", text=text), nbformat.v4.new_output("display_data", data)]
    script("tutorial.notebook").drop_private_details(nbformat.v4.new_notebook(cells=[cell]), folder)
    hidden = "./runs in ., ../cache, ~/x of ~, /home/men, ../first-models"
    assert cell.metadata == {}
    assert cell.outputs[0].text == hidden
    assert cell.outputs[1].data == {"text/plain": hidden, "image/png": "abc/home/me"}


def test_a_notebook_is_written_whole_or_not_at_all(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path = script("check_tutorial"), tmp_path / "a.ipynb"
    monkeypatch.setattr(module, "run_notebook", lambda *_: [("title", 1.0)])
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", metadata={"a": 1})]), path)
    os.link(path, tmp_path / "before")
    before = path.read_text(encoding="utf-8")
    module.check_notebook(path, tmp_path, {}, write_outputs=True)
    assert nbformat.read(path, 4).cells[0].metadata == {}
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert (tmp_path / "before").read_text(encoding="utf-8") == before  # another file has taken its place


# ------------------------------------------------------------------ what is shipped


def test_the_tutorial_shows_what_its_commands_print(script: Script) -> None:
    steps = list_steps(script, PAGE.read_text(encoding="utf-8"))
    verbs = re.findall(r"^lightning-med (\w+)", "\n".join(step.commands for step in steps), re.M)
    assert {"prepare", "fit", "test", "predict", "export", "respond", "evaluate", "chat", "serve"} <= set(verbs)
    assert all(step.shown for step in steps if re.match("lightning-med|tensorboard|curl", step.commands))


def test_the_notebook_opens_anywhere(script: Script) -> None:
    notebook = script("tutorial.notebook").read_notebook(NOTEBOOK)  # checks it against its schema
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in codes:
        ast.parse(cell.source)
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    outputs = json.dumps([cell.outputs for cell in codes])
    assert not re.search(r"/(?:home|root|tmp|work|Users|usr)/|[A-Z]:\\\\|Traceback|Warning", outputs)
    assert len(outputs) < 20_000
    assert not re.search(r"github\.com|colab\.research", nbformat.writes(notebook))  # no address of ours exists
