import json

import pytest

from medinr.errors import OutputExistsError
from medinr.io.atomic import atomic_path, write_json, write_text


def _fail_halfway(path):
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        _fail_halfway(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_leaves_the_old_output(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError):
        _fail_halfway(path)
    assert path.read_text() == "old"


def test_folders_are_replaced_whole(tmp_path):
    for text in ("first", "second"):
        with atomic_path(tmp_path / "out", overwrite=True) as temporary:
            temporary.mkdir()
            (temporary / text).write_text(text)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["second"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_finished_output_is_kept_unless_told(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"psnr": 31.5})
    with pytest.raises(OutputExistsError, match=r"a\.json"):
        write_json(tmp_path / "new" / "a.json", {})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"psnr": 31.5}
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "nan.json", float("nan"))
