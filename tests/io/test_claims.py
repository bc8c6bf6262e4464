"""Claims among processes: one owner at a time, and none for ever."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from medinr.io import claims
from medinr.io.claims import claim, wait_for_claim

#: As a claim names this computer.
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]


def test_one_owner_at_a_time(tmp_path) -> None:
    path = tmp_path / "deep" / "work.claim"
    with claim(path) as first:
        assert first
        with claim(path) as second:
            assert not second
        assert path.exists()
    assert not path.exists()
    with claim(path) as again:
        assert again


def test_an_error_releases_it(tmp_path) -> None:
    with pytest.raises(KeyError), claim(tmp_path / "c"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_claim_does_not_name_the_computer(tmp_path) -> None:
    with claim(tmp_path / "c"):
        assert json.loads((tmp_path / "c").read_text())["host"] == HOST


def _left_behind(path, pid: int, host: str | None = None) -> None:
    path.write_text(json.dumps({"token": "x", "pid": pid, "host": host or HOST}))


def test_who_has_ended_owns_nothing(tmp_path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _left_behind(tmp_path / "c", ended.pid)
    with claim(tmp_path / "c") as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_sweeping_leaves_what_is_still_owned(tmp_path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _left_behind(tmp_path / "a.claim", ended.pid)
    with claim(tmp_path / "b.claim"):
        claims.sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["b.claim"]


def test_who_runs_or_is_elsewhere_keeps_it_while_it_is_touched(tmp_path) -> None:
    for pid, host in ((os.getpid(), None), (2**22 + 1, "another-machine")):
        _left_behind(tmp_path / "c", pid, host)
        with claim(tmp_path / "c") as ours:
            assert not ours
        long_ago = time.time() - claims.STALE - 1
        os.utime(tmp_path / "c", (long_ago, long_ago))
        with claim(tmp_path / "c") as ours:
            assert ours


def test_one_cut_short_while_being_written_is_given_time(tmp_path) -> None:
    (tmp_path / "c").write_text("")
    with claim(tmp_path / "c") as ours:
        assert not ours


def test_a_claim_is_kept_fresh(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    with claim(tmp_path / "c"):
        os.utime(tmp_path / "c", (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / "c").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "c").stat().st_mtime > 0


def test_waiting_ends_when_the_owner_does(tmp_path) -> None:
    code = (
        "import sys, time, pathlib; from medinr.io.claims import claim\n"
        "with claim(pathlib.Path(sys.argv[1])): print('mine', flush=True); time.sleep(0.3)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        before = time.monotonic()
        with wait_for_claim(tmp_path / "c"):
            assert time.monotonic() - before > 0.05
    assert other.returncode == 0
