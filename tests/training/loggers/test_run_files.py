"""The files of a run's loggers when it is resumed."""

from __future__ import annotations

from pathlib import Path

from lightning_med.training.loggers.run_files import remove_later_rows


def test_rows_of_later_steps_and_a_half_written_line_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,step,val/perplexity\r\n0,3,9.5\r\n0,7,8.5\r\n0,5,1")  # it was to be 12.5
    remove_later_rows(path, 6)
    assert path.read_text().splitlines() == ["epoch,step,val/perplexity", "0,3,9.5"]
    remove_later_rows(path, 2)
    assert not path.exists()
