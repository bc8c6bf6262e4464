"""What is known of a method that reconstructs: its words, how it is run, which tasks it suits, what it needs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medinr.baselines.block_matching import EXTRA
from medinr.config import ReconstructConfig
from medinr.errors import MedinrError
from medinr.jobs.methods.input import MethodInput, Outcome

#: What pip is to install for methods of other libraries.
NON_COMMERCIAL = f"{EXTRA} (free for non-commercial use only)"
ACQUIRED = "'medinr[acquired]'"


class UnfinishedError(MedinrError):
    """A method was stopped at its time limit, or another program that it runs gave nothing."""


@dataclass(frozen=True)
class Method:
    """A way to reconstruct.

    Attributes
    ----------
    words : str
        What it is, for tables and reports.
    run : callable
        `MethodInput` to `Outcome`.
    settings : callable
        Of a task's configuration: everything but the measurement that its result depends on.
    suits : callable
        Whether it makes sense for a task.
    slow : bool
        Left out unless asked for by name.
    trained : bool
        Whether it uses the task's model, and so must not see its training subjects.
    learns : bool
        Whether it learns from the train split of ``baselines.training``, and so must not be judged on it.
    needs : str
        Optional library that it needs; without it the method is left out.
    install : str
        What pip is to install for that library, and on what condition; of a program, what its variable is set to.
    program : str
        Environment variable that names the command of a program that it runs; unset, the method is left out.
    for_neighbours : bool
        Whether it is for tasks that measure a slice's neighbours too.
    blind : bool
        Whether it also goes without being told the noise, as tasks want it that tell none.
    """

    words: str
    run: Callable[[MethodInput], Outcome]
    settings: Callable[[ReconstructConfig], dict[str, Any]]
    suits: Callable[[ReconstructConfig], bool]
    slow: bool = False
    trained: bool = False
    learns: bool = False
    needs: str = ""
    install: str = NON_COMMERCIAL
    program: str = ""
    for_neighbours: bool = False
    blind: bool = False

    @property
    def available(self) -> bool:
        """Whether all that it needs is there."""
        return not self.lacks

    @property
    def lacks(self) -> str:
        """What it needs and does not find, in words; empty where it can run."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"the package {self.needs} is not installed"
        if self.program and not os.environ.get(self.program, "").strip():
            return f"the environment variable {self.program} names no command"
        return ""
