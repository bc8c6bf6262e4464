"""Damaged DICOM and NIfTI through readers and writers: every input must give a scan or a sentence.

Faults are foreign exceptions and warnings, dead or hanging workers, messages that name the patient, more memory than
four times what the input can hold, files read or written outside the input, and results that differ when they are read
back.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.fuzz_trial import MOST_SECONDS, Outcome, input_of, lay_out, originals, work
from medinr.errors import MedinrError
from medinr.io.atomic import write_json
from medinr.jobs.record import new_result, versions

Announce = Callable[[str], None]

#: Seconds without an answer after which a worker counts as stuck in foreign code, which the clock inside cannot reach.
_STUCK = 4 * MOST_SECONDS

#: Seconds for a worker to load the libraries and read everything undamaged.
_STARTING = 120.0


def fuzz_readers(
    inputs: int,
    seed: int,
    out: Path,
    *,
    minutes: float = 60.0,
    workers: int = 2,
    only: int | None = None,
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Try damaged inputs in worker processes; the same seed and number give the same input.

    Parameters
    ----------
    inputs : int
        How many, numbered from 0.
    seed : int
    out : Path
        Gets ``fuzz.json`` and, in ``faults/NUMBER``, every input that was at fault.
    minutes : float
        After which no further input is tried.
    workers : int
        Processes.
    only : int, optional
        The number of a single input to try again.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with every fault, and with the state every thousand inputs.

    Returns
    -------
    rich.table.Table
        By kind of input: count, volumes, refusals, faults, longest time and largest memory.
    """
    path = new_result(out, "fuzz.json", overwrite)
    shutil.rmtree(out / "faults", ignore_errors=True)
    outcomes, undamaged = run_trials(inputs, seed, minutes=minutes, workers=workers, only=only, announce=announce)
    kinds = originals()
    for outcome in outcomes:
        if outcome.fault:
            _, files, _ = input_of(seed, outcome.number, kinds)
            lay_out(files, out / "faults" / str(outcome.number))
    write_json(
        path,
        {
            "seed": seed,
            "inputs": len(outcomes),
            "undamaged": undamaged,
            "faults": [outcome.as_dict() for outcome in outcomes if outcome.fault],
            "verdicts": {kind: dict(Counter(_of(outcomes, kind, "verdict"))) for kind in _kinds(outcomes)},
            "versions": versions(),
        },
        overwrite=True,
    )
    return _table(outcomes, seed)


def run_trials(
    inputs: int,
    seed: int,
    *,
    minutes: float = 60.0,
    workers: int = 2,
    only: int | None = None,
    announce: Announce = lambda _: None,
) -> tuple[list[Outcome], dict[str, str]]:
    """Return the outcome of every input in the order of their numbers, and of every undamaged one."""
    context = multiprocessing.get_context("spawn")
    ends = time.monotonic() + 60 * minutes
    base = Path(tempfile.mkdtemp(prefix="medinr-fuzz-"))
    shares = (
        [range(only, only + 1)] if only is not None else [range(first, inputs, workers) for first in range(workers)]
    )
    outcomes: list[Outcome] = []
    undamaged: dict[str, str] = {}
    running = {
        worker.connection: worker
        for worker in (
            _Worker.start(context, seed, share, base / str(place)) for place, share in enumerate(shares) if share
        )
    }
    try:
        while running and time.monotonic() < ends:
            for ready in wait(list(running), timeout=1.0):
                assert isinstance(ready, Connection)
                worker = running[ready]
                try:
                    what, content = ready.recv()
                except EOFError:
                    what, content = "finished", None
                    outcome = worker.died(seed)
                    if outcome is not None:
                        outcomes.append(outcome)
                        announce(_line(outcome))
                worker.answered = time.monotonic()
                if what == "begun":
                    worker.number, worker.patience = content, _STUCK
                elif what == "undamaged":
                    kind, verdict, fault, trace = content
                    undamaged[kind] = verdict if not fault else f"{verdict}; {fault}; {trace}"
                elif what == "done":
                    worker.number, worker.last = None, content.number
                    outcomes.append(content)
                    if content.fault:
                        announce(_line(content))
                    if len(outcomes) % 1000 == 0:
                        announce(f"{len(outcomes)} inputs, {sum(bool(one.fault) for one in outcomes)} faults")
                elif what == "broken":
                    raise MedinrError(f"The benchmark itself failed:\n{content}")
                elif what == "finished":
                    del running[ready]
                    worker.process.join()
                    if worker.process.exitcode and worker.rest():
                        following = _Worker.start(context, seed, worker.rest(), worker.base)
                        running[following.connection] = following
            for worker in running.values():
                if time.monotonic() - worker.answered > worker.patience:
                    worker.process.kill()
    finally:
        for worker in running.values():
            worker.process.kill()
            worker.process.join()
        shutil.rmtree(base, ignore_errors=True)
    return sorted(outcomes, key=lambda outcome: outcome.number), undamaged


@dataclass
class _Worker:
    """A process, the inputs it was given, and the one it is at."""

    process: SpawnProcess
    connection: Connection[Any, Any]
    share: range
    base: Path
    answered: float
    number: int | None = None
    last: int | None = None
    patience: float = _STARTING

    @classmethod
    def start(cls, context: SpawnContext, seed: int, share: range, base: Path) -> _Worker:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_entry, args=(seed, share, base, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, share, base, time.monotonic())

    def died(self, seed: int) -> Outcome | None:
        self.process.join()
        if self.number is None:
            return None
        kind, _, damage = input_of(seed, self.number, originals())
        code = self.process.exitcode
        fault = "hangs in foreign code" if code == -9 else f"kills the process (exit code {code})"
        self.last, self.number = self.number, None
        return Outcome(self.last, kind, damage, "none", fault)

    def rest(self) -> range:
        """Inputs after the last one.

        Raises
        ------
        MedinrError
            When there was none: the process would end again.
        """
        if self.last is None:
            raise MedinrError(f"A worker ended with code {self.process.exitcode} before its first input.")
        return self.share[self.share.index(self.last) + 1 :]


def _entry(seed: int, share: range, base: Path, connection: Connection[Any, Any]) -> None:
    # Decoders and nibabel write there what they think of damaged files.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        work(seed, share, base, connection.send)
    except Exception:
        # Of the benchmark itself: what readers raise is an outcome.
        connection.send(("broken", traceback.format_exc()))


def _line(outcome: Outcome) -> str:
    return f"input {outcome.number}, {outcome.kind}, {outcome.damage}: {outcome.fault}"


def _kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.kind for outcome in outcomes))


def _of(outcomes: Sequence[Outcome], kind: str, name: str) -> list[Any]:
    return [getattr(outcome, name) for outcome in outcomes if outcome.kind == kind]


def _table(outcomes: Sequence[Outcome], seed: int) -> Table:
    faults = sum(bool(outcome.fault) for outcome in outcomes)
    table = Table(title=f"{len(outcomes)} damaged inputs, seed {seed}: {faults} faults")
    for column in ("kind", "inputs", "volumes", "refused", "faults", "longest s", "most MiB"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind].append(outcome)
    for kind, group in [*groups.items(), ("all", list(outcomes))]:
        verdicts = [outcome.verdict for outcome in group if not outcome.fault]
        table.add_row(
            kind,
            str(len(group)),
            str(sum(verdict.startswith("volume") for verdict in verdicts)),
            str(sum(verdict.startswith("refused") for verdict in verdicts)),
            str(sum(bool(outcome.fault) for outcome in group)),
            f"{max((outcome.seconds for outcome in group), default=0):.2f}",
            f"{max((outcome.extra_bytes for outcome in group), default=0) / 2**20:.0f}",
        )
    return table
