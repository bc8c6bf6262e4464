"""Threads: what is granted, what is refused, and that idle ones sleep."""

import json
import os
import subprocess
import sys

import pytest
import torch

from medinr.cli import threads
from medinr.cli.arguments import COMPUTING

MOST = os.cpu_count()


@pytest.fixture(autouse=True)
def as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("text", "granted"),
    [("max 100000", 8), ("300000 100000", 3), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)],
)
def test_the_smaller_of_affinity_and_quota_is_granted(tmp_path, monkeypatch, text, granted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert threads.granted_threads(tmp_path / "cpu.max") == granted


def test_without_a_quota_affinity_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert threads.granted_threads(tmp_path / "cpu.max") == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert threads.granted_threads(tmp_path / "cpu.max") == MOST


def test_default_and_choice(monkeypatch):
    monkeypatch.setattr(threads, "_own_choice", lambda: 3)
    monkeypatch.setattr(threads, "granted_threads", lambda: 2)
    assert threads.use_threads(None) == torch.get_num_threads() == 2
    assert threads.use_threads(1) == torch.get_num_threads() == 1
    assert threads.use_threads(None) == 2, "an earlier choice does not last"
    monkeypatch.setattr(threads, "granted_threads", lambda: 8)
    assert threads.use_threads(None) == 3, "torch's own choice, such as OMP_NUM_THREADS, is not exceeded"


@pytest.mark.parametrize("command", COMPUTING)
@pytest.mark.parametrize("count", ["0", "-1", str(MOST + 1), "two", "1.5"])
def test_threads_that_cannot_be(medinr, command, count):
    found = medinr(*command.split(), f"--threads={count}", "something")
    assert found.code == 2
    last = found.err.splitlines()[-1]
    assert "--threads" in last
    assert count in last
    assert "leave it out" in last
    assert "Traceback" not in found.err


@pytest.mark.parametrize("command", ["inspect", "models"])
def test_commands_that_do_not_compute_take_no_threads(medinr, command):
    found = medinr(command, "something", "--threads", "1")
    assert found.code == 2
    assert "unrecognized arguments: --threads" in found.err


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, threads.WAITING),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
    ],
)
def test_idle_threads_soon_sleep_unless_the_user_has_decided(given, found):
    """In a process of its own: the runtime reads its environment when torch is imported."""
    code = (
        "import json, os, sys\n"
        "from medinr.cli import main, threads\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "main(['models'])\n"
        "assert 'torch' in sys.modules\n"
        "print(json.dumps({name: os.environ[name] for name in threads.DECIDED if name in os.environ}))\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in threads.DECIDED}
    done = subprocess.run([sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == found
