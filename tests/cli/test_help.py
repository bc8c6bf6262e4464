import re
import subprocess
import sys
from importlib import metadata

import pytest

from medinr.cli.shared_options import parse_slices

COMMANDS = (
    "inspect",
    "pretrain",
    "reconstruct",
    "reconstruct-simulated",
    "simulate",
    "denoise",
    "superres",
    "evaluate",
    "report",
    "models",
    "manifest",
    "check-operator",
    "demo",
)


@pytest.mark.parametrize("command", [*COMMANDS, "models choose", "manifest build", "manifest verify", "manifest split"])
def test_every_command_explains_itself(medinr, command):
    found = medinr(*command.split(), "--help")
    assert found.code == 0
    assert f"usage: medinr {command}" in found.out
    assert "--debug" in found.out
    assert "Not a medical device" in found.out


def test_the_list_of_commands_is_complete(medinr):
    found = medinr("--help")
    assert found.code == 0
    listed = [line.split()[0] for line in found.out.splitlines() if re.match(r" {2,4}[a-z]", line)]
    assert sorted(set(listed) & set(COMMANDS)) == sorted(COMMANDS)


def test_version(medinr):
    found = medinr("--version")
    assert (found.code, found.out.strip()) == (0, f"medinr {metadata.version('medinr')}")


@pytest.mark.parametrize(
    "arguments", [[], ["reconstrcut"], ["reconstruct"], ["models", "a", "b"], ["models", "choose"], ["demo", "--set"]]
)
def test_wrong_usage_is_bad_input(medinr, arguments):
    found = medinr(*arguments)
    assert found.code == 2
    assert found.err.startswith("usage: medinr")
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3", (3,)), ("1,4,7", (1, 4, 7)), ("10:20:2", (10, 12, 14, 16, 18)), ("2:5", (2, 3, 4))],
)
def test_slices_as_people_write_them(text, numbers):
    assert parse_slices(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1;2", "5:2", "1:9:0", "1:2:3:4", "1.5", ":3"])
def test_slices_that_are_none(medinr, tmp_path, text):
    found = medinr("reconstruct", tmp_path, "--slices", text)
    assert found.code == 2
    assert "10:20:2" in found.err or "names no slice" in found.err


def test_help_answers_without_loading_the_heavy_parts():
    code = (
        "import sys; from medinr.cli.arguments import build_parser; build_parser().format_help();"
        "print(sorted({'torch', 'monai', 'matplotlib', 'pydicom'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
