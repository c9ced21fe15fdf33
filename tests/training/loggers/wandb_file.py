"""Reads the files that Weights & Biases keeps of an offline run."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7  # of LevelDB's log: checksum, length, type
_MAGIC = 7  # bytes before the first record


def read_records(path: Path) -> Iterator[Any]:
    """Yields the records of a `.wandb` file, as the library's own protocol has them."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), _MAGIC, b""
    while place + _HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _HEADER])
        place += _HEADER
        parts += content[place : place + length]
        place += length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_run(folder: Path) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Returns the id, the settings and the lines of the history of an offline run."""
    (path,) = folder.glob("*.wandb")
    identity, config, history = "", dict[str, Any](), list[dict[str, Any]]()
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            identity = record.run.run_id
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            names = [(item.key or ".".join(item.nested_key), item.value_json) for item in record.history.item]
            history.append({name: json.loads(value) for name, value in names})
    return identity, config, history
