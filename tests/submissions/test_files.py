"""Files that are written beside their place: whole or not at all, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from submissions.files import placed_atomically, written_atomically


@pytest.mark.parametrize("one_writer", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_until_the_end_the_old_content_stands(
    tmp_path: Path, one_writer: bool, durable: bool
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_atomically(path, one_writer=one_writer, durable=durable) as file:
        file.write("ä new one")
        file.flush()
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == "ä new one".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_nothing_has_changed(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), written_atomically(path, "wb") as file:  # noqa: PT012
        file.write(b"half")
        raise error
    with pytest.raises(FileNotFoundError), placed_atomically(path):
        pass  # whoever forgets to write is told
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_several_writers_do_not_meet_and_one_takes_its_leftovers_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with placed_atomically(path) as one, placed_atomically(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer is the last to be put in its place
    with placed_atomically(path, one_writer=True) as again:
        again.write_text("first")
    again.write_text("left by a kill")
    with written_atomically(path, one_writer=True) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().read_text())
        assert not path.exists()

    monkeypatch.setattr(os, "fsync", fsync)
    with written_atomically(path) as file:
        file.write("all of it")
    assert synced == ["all of it"]
    with written_atomically(path, durable=False) as file:
        file.write("later")
    assert synced == ["all of it"]
