"""Export of a checkpoint's model to a folder, complete or not at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.checkpoints.digests import compute_checkpoint_digest
from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.export.export_kind import ExportKind
from lightning_med.export.gguf.modelfile import GGUF_FILE, MARK, MODELFILE
from lightning_med.utils.console import Progress, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import check_space, make_temporary_folder

if TYPE_CHECKING:
    from lightning_med.export.trained_model import TrainedModel

_OWN_FILES = (  # that an export writes; what else lies in a folder that is replaced is kept
    *("model.safetensors", "model-[0-9]*-of-[0-9]*.safetensors", "model.safetensors.index.json"),
    *("adapter_model.safetensors", "adapter_config.json"),
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    *("special_tokens_map.json", GGUF_FILE, MODELFILE, SETTINGS, "README.md"),
)


def export_checkpoint(
    checkpoint: str | Path,
    output: str | Path,
    overwrite: bool = False,
    kind: ExportKind | None = None,
    base: str | None = None,
) -> Path:
    """Writes a checkpoint's model as a folder, atomically.

    Args:
        checkpoint: The file; it carries tokenizer, prompt and settings.
        output: The folder to make.
        overwrite: Replace an earlier export; otherwise that is an error.
        kind: Format and type of the weights; default: a Hugging Face folder in float32.
        base: Where the base of an adapter is now; default: where it was when the adapter was trained.

    Returns:
        `output`.

    Raises:
        InputError: The checkpoint is none of ours, `output` exists, or the model does not fit the format.
        RunError: The disk has too little room.
    """
    from lightning_med.checkpoints.reading import read_checkpoint
    from lightning_med.export.trained_model import restore_model

    kind = kind or ExportKind()
    output = Path(output)
    output = output.resolve() if output.is_symlink() else output  # of a link the target is replaced
    _check_output(output, overwrite)
    content = read_checkpoint(checkpoint)
    with show_progress("Exporting") as progress:
        progress("model", 0, 0)
        name, digest = Path(checkpoint).resolve().name, compute_checkpoint_digest(Path(checkpoint))
        model = replace(restore_model(content, base, merge=not kind.adapter), checkpoint=name, checkpoint_digest=digest)
        kind.check(model)
        check_space(output, kind.count_bytes(model.network.num_parameters(only_trainable=kind.adapter)))
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            temporary = make_temporary_folder(output)
        except OSError as error:
            raise InputError(
                f"{output.parent} cannot be written: {error.strerror}.", "Name another --output."
            ) from error
        try:
            _write_folder(model, temporary, Path(checkpoint).name, kind, progress)
            for file in temporary.iterdir():  # safetensors makes its own private
                file.chmod(0o666 & temporary.stat().st_mode)
            _move_into_place(temporary, output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return output


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists.", "Name another --output, or add --overwrite to replace it.")
    if output.is_file():
        raise InputError(f"{output} is a file, so it is not replaced.", "Name another --output.")
    if output.exists() and any(output.iterdir()) and not _is_export(output):
        raise InputError(f"{output} is not an export of ours, so it is not replaced.", "Name another --output.")


def _is_export(folder: Path) -> bool:
    modelfile = folder / MODELFILE
    if (folder / SETTINGS).is_file():
        return True
    return modelfile.is_file() and modelfile.read_bytes().startswith(MARK.encode())


def _write_folder(model: TrainedModel, folder: Path, name: str, kind: ExportKind, progress: Progress) -> None:
    from lightning_med.export.model_card import make_model_card

    if kind.format == "gguf":
        from lightning_med.export.gguf.folder import write_gguf_folder as write
    elif kind.adapter:
        from lightning_med.export.adapter_folder import write_adapter_folder as write
    else:
        from lightning_med.export.hf_folder import write_hf_folder as write
    write(model, folder, kind.weight_type, progress)
    card = make_model_card(model.card, model.steps, name, kind)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _move_into_place(temporary: Path, output: Path) -> None:
    """Renames the new folder; an older one is set aside first, and what is not ours in it moves to the new one.

    Every step is a rename, and an error or a signal undoes them: at no time is a file in neither folder.
    """
    if not output.exists():
        os.replace(temporary, output)
        return
    kept = [path.name for path in output.iterdir() if not any(path.match(name) for name in _OWN_FILES)]
    kept = [name for name in kept if not (temporary / name).exists()]
    aside = make_temporary_folder(output)
    aside.rmdir()  # its name is free: Windows renames to no folder that exists
    try:
        os.replace(output, aside)
        os.replace(temporary, output)
        for name in kept:
            os.replace(aside / name, output / name)
    except BaseException:
        if aside.exists() and output.exists():
            for name in filter(lambda name: os.path.lexists(output / name), kept):
                os.replace(output / name, aside / name)
            os.replace(output, temporary)
        if aside.exists():
            os.replace(aside, output)
        raise
    shutil.rmtree(aside, ignore_errors=True)
