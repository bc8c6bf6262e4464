"""Entry point of the command line.

Exit codes: 0 done, 1 failure of medinr, 2 bad input, 3 a result with a warning under ``--strict``, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from medinr.cli.arguments import TWO_WORDS, build_parser
from medinr.cli.memory import keep_freed_memory
from medinr.cli.threads import use_threads, wait_briefly
from medinr.errors import InputError

#: Where commands are that are not in `medinr.cli.commands`, which loads PyTorch and MONAI.
_MODULES = {
    "inspect": "medinr.cli.scan_commands",
    "convert": "medinr.cli.scan_commands",
    "manifest": "medinr.cli.manifest_commands",
    "denoise": "medinr.cli.scan_verbs",
    "superres": "medinr.cli.scan_verbs",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `medinr` command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    parser = build_parser()
    options = parser.parse_args(_words(sys.argv[1:] if arguments is None else arguments))
    if not options.debug:
        warnings.simplefilter("ignore")
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, InputError):
            print(f"medinr: {error}", file=sys.stderr)
            return 2
        print(
            f"medinr failed: {type(error).__name__}: {error}\nRun again with --debug for the traceback.",
            file=sys.stderr,
        )
        return 1


def _words(arguments: Sequence[str]) -> list[str]:
    """Join the words of a command of two words, which is one to the parser."""
    two = " ".join(arguments[:2])
    return [two, *arguments[2:]] if two in TWO_WORDS else list(arguments)


def _run(options: argparse.Namespace) -> int:
    wait_briefly()
    keep_freed_memory()
    # Imported here so that --help is fast.
    from rich.console import Console

    if "threads" in options:
        use_threads(options.threads)
    module = import_module(_MODULES.get(options.command.split()[0], "medinr.cli.commands"))
    command = getattr(module, options.command.replace(" ", "_").replace("-", "_"))
    # No markup: names of series and files may contain brackets. No wrapping, so that paths can be copied.
    return int(command(options, Console(markup=False, soft_wrap=True)) or 0)


if __name__ == "__main__":
    sys.exit(main())
