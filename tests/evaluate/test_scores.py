import json
from dataclasses import replace
from pathlib import Path

import pytest

from medinr.errors import FileError, OutputExistsError
from medinr.evaluate.scores import Score, ScoreLog

SCORE = Score(
    task="denoise_mr",
    method="medinr",
    subject="patient01",
    scan="patient01_T1",
    slice=12,
    psnr=31.25,
    ssim=0.1 + 0.2,
    nrmse=0.05,
    hfen=0.2,
    psnr_body=29.0,
    ssim_body=0.9,
    seconds=4.2,
    peak_mb=None,
    stopped_at=120,
    reason='held-out residual rose, "twice"',
    settings_json=json.dumps({"steps": 400, "head": "closed, form"}),
)


def test_scores_come_back_exactly(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "new" / "scores.csv")
    assert not log.scores
    others = [
        SCORE,
        replace(SCORE, slice=13, psnr=float("inf")),
        replace(SCORE, method="TV", stopped_at=None),
    ]
    for score in others:
        log.add(score)
    again = ScoreLog(log.path)
    assert again.scores == log.scores == tuple(others)
    assert again.has("denoise_mr", "medinr", "patient01_T1", 13)
    assert not again.has("denoise_mr", "TV", "patient01_T1", 13)


def test_a_killed_run_loses_at_most_its_last_row(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.csv")
    log.add(SCORE)
    complete = log.path.stat().st_size
    log.add(replace(SCORE, slice=13))
    content = log.path.read_bytes()
    for length in range(complete, len(content)):
        log.path.write_bytes(content[:length])
        resumed = ScoreLog(log.path)
        assert resumed.scores == (SCORE,)
        resumed.add(replace(SCORE, slice=13))
        assert log.path.read_bytes() == content


def test_a_run_killed_in_the_header_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("task,meth")
    log = ScoreLog(path)
    log.add(SCORE)
    assert ScoreLog(path).scores == (SCORE,)


def test_line_breaks_in_a_reason_do_not_break_the_file(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.csv")
    log.add(replace(SCORE, reason="stopped\nby hand"))
    assert ScoreLog(log.path).scores[0].reason == "stopped by hand"


def test_a_slice_is_scored_once(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.csv")
    log.add(SCORE)
    with pytest.raises(OutputExistsError, match="slice 12"):
        log.add(SCORE)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("file,psnr\n")
    with pytest.raises(FileError, match="columns file, psnr"):
        ScoreLog(path)
    log = ScoreLog(tmp_path / "good.csv")
    log.add(SCORE)
    text = log.path.read_text()
    for broken in (text + "a,b\n", text + text.splitlines()[1].replace("31.25", "high") + "\n"):
        path.write_text(broken)
        with pytest.raises(FileError, match="line 3"):
            ScoreLog(path)
