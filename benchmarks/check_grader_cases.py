"""Check again, by PARI/GP and Maxima, every case that carries an oracle: `python -m benchmarks.check_grader_cases`.

`oracle` holds key and answer as expressions of the system that `why` names. They have to be equal where the case is
right and different where it is wrong. Numbers with roots, π, e or logarithms agree when they differ by less than 1e-60.
No grader uses either system. Debian: `apt-get install pari-gp maxima`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "data" / "grader_cases.jsonl"
GP = """
default(realprecision, 110);
near(d) = if(type(d) == "t_REAL" || type(d) == "t_COMPLEX", abs(d) < 1e-60, 0);
same(a, b) = if(a == b, 1, iferr(near(a - b), E, 0));
"""


def pari(pairs: list[list[str]]) -> list[bool]:
    """Return whether both expressions of each pair are equal."""
    source = GP + "".join(f'print("=> ", same({key}, {answer}));\n' for key, answer in pairs)
    return _verdicts(["gp", "-q", "-f", "-s", "1G"], source, "1")


def maxima(pairs: list[list[str]]) -> list[bool]:
    """Return whether the difference of both expressions of each pair simplifies to 0."""
    lines = (
        f'print("=> ", is(equal(0, trigsimp(trigexpand(radcan({key} - ({answer})))))))$\n' for key, answer in pairs
    )
    return _verdicts(["maxima", "--very-quiet"], "display2d: false$\n" + "".join(lines), "true")


def _verdicts(command: list[str], source: str, yes: str) -> list[bool]:
    output = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return [line.split("=>")[1].strip() == yes for line in output.splitlines() if "=>" in line]


def main() -> None:
    """Print the cases that an oracle contradicts; exit 1 where there are any."""
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    wrong: list[dict[str, Any]] = []
    for name, check in (("pari", pari), ("maxima", maxima)):
        chosen = [row for row in rows if row["why"].startswith(name)]
        verdicts = check([row["oracle"] for row in chosen])
        wrong += [row for row, equal in zip(chosen, verdicts, strict=True) if equal != row["right"]]
        print(f"{name}: {len(chosen)} cases")
    for row in wrong:
        print(row)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
