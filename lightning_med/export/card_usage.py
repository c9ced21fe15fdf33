"""The part of a model card that says how to run the export."""

from __future__ import annotations

from lightning_med.export.export_kind import ExportKind

_HF = """```python
from lightning_med import Responder
print(Responder.from_pretrained("THIS_FOLDER").respond("My tongue is sore, what can I do?").answer)
```

With transformers alone, 4.57 or 5: `pipeline("text-generation", "THIS_FOLDER")([{"role": "user", "content": "…"}])`;
the chat template renders exactly what training saw. """

_ADAPTER = """```python
from peft import AutoPeftModelForCausalLM
network = AutoPeftModelForCausalLM.from_pretrained("THIS_FOLDER")   # needs the base {base}
```

The folder has the tokenizer with the prompt of the training, as its chat template. Where the base lies elsewhere,
change `base_model_name_or_path` in `adapter_config.json`. `Responder` takes the run exported without `--adapter`. """

_GGUF = """```sh
ollama create lightning-med -f Modelfile && ollama run lightning-med "My tongue is sore, what can I do?"
llama-server -m model.gguf --jinja   # llama.cpp: a chat at http://localhost:8080
```

The `Modelfile` has the prompt, the system prompt and the decoding settings of the training; `model.gguf` has the chat
template. """

_UNCHECKED = """A bare {program} checks neither question nor answer, and does not protect against text
that spells a special token (such as `{end}`) or a role: `Responder` does."""


def describe_use(kind: ExportKind, end: str, base: str) -> str:
    """Returns how to run an export, in Markdown.

    Args:
        kind: Of the export.
        end: The token that ends an answer.
        base: Name or folder of the base.
    """
    weights = f"\n\nFormat `{kind.format}`, weights in {kind.weight_type}."
    if kind.format == "gguf":
        return _GGUF + _UNCHECKED.format(program="model in Ollama or llama.cpp", end=end) + weights
    if kind.adapter:
        return _ADAPTER.format(base=base) + _UNCHECKED.format(program="model", end=end) + weights
    return _HF + _UNCHECKED.format(program="pipeline", end=end) + weights
