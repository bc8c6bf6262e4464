"""The command line run in this process."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from medinr.cli import main


@pytest.fixture
def medinr(capsys) -> Callable[..., SimpleNamespace]:
    """Runs one command: exit code, standard output and standard error; `SystemExit` of the parser included."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run
