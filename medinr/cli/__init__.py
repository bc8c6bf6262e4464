"""The `medinr` command."""

from medinr.cli.main import main

__all__ = ["main"]
