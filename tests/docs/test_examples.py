"""The examples in the documentation, run: each page top to bottom in one namespace.

A block under ``<!-- needs: LIBRARY -->`` belongs to a test of its own, which is skipped, by name, without the library.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^(?:<!-- needs: (?P<needs>\w+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Some lines of Python on a page."""

    page: Path
    line: int
    code: str
    needs: str


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")), found["code"], found["needs"] or "")
        for found in BLOCK.finditer(text)
    ]


PAGES = {
    page.relative_to(ROOT).as_posix(): blocks
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    if (blocks := _blocks(page))
}
CASES = [
    pytest.param(name, needs, id=f"{name} with {needs}" if needs else name)
    for name, blocks in PAGES.items()
    for needs in sorted({"", *(block.needs for block in blocks)})
]


def test_there_are_examples():
    assert {"README.md", "docs/operators.md"} <= PAGES.keys()
    assert "deepinv" in {block.needs for block in PAGES["docs/operators.md"]}


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # MONAI makes an object of each of its readers
@pytest.mark.parametrize(("name", "needs"), CASES)
def test_page(name: str, needs: str, request: pytest.FixtureRequest, tmp_path, monkeypatch, synthetic_results) -> None:
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{request.node.name} needs {needs}: make test-libraries")
    if needs:
        with warnings.catch_warnings():
            # What a library announces while it is loaded is not ours to mend.
            warnings.simplefilter("ignore")
            importlib.import_module(needs)
    monkeypatch.chdir(tmp_path)
    if name == "docs/evaluation.md":
        synthetic_results(tmp_path / "evaluation")
    namespace: dict[str, object] = {"__name__": "example"}
    for block in PAGES[name]:
        if block.needs in ("", needs):
            # Empty lines before it, so that a traceback shows the line of the page.
            code = compile("\n" * block.line + block.code, str(block.page), "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, namespace)
