"""What the documentation imports exists."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import rewardsmith

ROOT = Path(__file__).parent.parent
PAGES = Path(rewardsmith.__file__).parent / "atlas" / "pages"
TEXTS = {path.name: path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))} | {
    path.stem: tomllib.loads(path.read_text())["usage"] for path in PAGES.glob("*.toml")
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_is_imported_exists(name):
    for block in re.findall(r"^```python\n(.*?)^```$", TEXTS[name], re.DOTALL | re.MULTILINE):
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        real = [node for node in imports if not (isinstance(node, ast.ImportFrom) and node.module.startswith("my_"))]
        exec(compile(ast.Module(real, []), name, "exec"), {})
