"""What `make sweep` draws: kinds of trials, each with the share that it claims to pass.

A trial is a function of a name, a seed and a folder of its own. It returns "" where the claim held, and what was seen
where it did not. Trials ask what the tests ask, of fresh seeds in place of seed 0.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.auditing.trained_models import World


class Kind(NamedTuple):
    """Trials of one kind.

    names: what is tried.
    trial: (name, seed, folder) → "" or what was seen.
    claim: share of trials that pass.
    draws: trials of each name in a full sweep.
    shared: whether trials of one draw share a seed and what was made of it, in this folder's parent.
    """

    names: Callable[[], list[str]]
    trial: Callable[[str, int, Path], str]
    claim: float
    draws: int
    shared: bool = False


def _found(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_corpus import FLAWED, report_of

    named = [finding.probe for finding in report_of(name, seed).at_least("medium")]
    return "" if set(named[:1]) & FLAWED[name].expected else f"named {named}"


def _rare_found(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_corpus import FLAWED, rare_report_of

    report = rare_report_of(name, seed)
    named = [finding.probe for finding in report.every if finding.severity != "info"]
    return "" if set(named) & FLAWED[name].expected else f"named {named} in {report.calls} calls"


def _unaccused(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_corpus import report_of

    accused = [finding for finding in report_of(name, seed).at_least("medium") if finding.probe != "strictness"]
    return "; ".join(f"{finding.probe}: {finding.message}" for finding in accused)


def _command_found(name: str, seed: int, folder: Path) -> str:
    from tests.auditing import test_planted

    reward, rows, options, expected = test_planted.PLANTED[name]
    _, output = test_planted.run(test_planted.written(folder, seed), reward, rows, "--json", *options, shell=True)
    named = {finding["probe"] for finding in json.loads(output)["findings"]}
    return "" if expected <= named else f"named {sorted(named)}"


def _command_clean(name: str, seed: int, folder: Path) -> str:
    from tests.auditing import test_planted

    reward, rows, options = test_planted.SOUND[name]
    _, output = test_planted.run(test_planted.written(folder, seed), reward, rows, "--json", *options, shell=True)
    return "; ".join(f"{finding['probe']}: {finding['message']}" for finding in json.loads(output)["findings"])


def _judge_found(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_judge_audit import PLANTED, report_of

    judge, probe = PLANTED[name]
    named = {finding.probe for finding in report_of(judge, seed).at_least("medium")}
    return "" if probe in named else f"named {sorted(named)}"


def _judge_clean(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_judge_audit import SOUND, report_of

    report = report_of(SOUND[name], seed)
    accused = "; ".join(f"{finding.probe}: {finding.message}" for finding in report.at_least("medium"))
    return "" if report.verdict() == "clean" else accused or report.not_judged


def _model(name: str, seed: int, folder: Path) -> str:
    """The audit of a model of a world; all models of one world start from one body, which the folder's parent keeps."""
    from tests.auditing.test_planted_models import CASES, PLANTED, faults

    found = faults(CASES[name], _world(folder.parent, seed))
    if name in PLANTED:
        return "" if PLANTED[name].probe in found else f"named {sorted(found)}"
    return "; ".join(f"{probe}: {message}" for probe, message in found.items())


@cache
def _world(folder: Path, seed: int) -> World:
    from tests.auditing.trained_models import World

    return World(folder, seed)


def _page_passes(name: str, seed: int, folder: Path) -> str:
    """The page on ten seeds, as many as the documentation shows."""
    from rewardsmith.atlas import run_page

    seeds = random.Random(seed).sample(range(10_000, 2**31), 10)
    verdict = run_page(name, seeds=seeds).verdict
    return "; ".join(f"{part.sentence}: {part.observed}" for part in verdict.parts or (verdict,) if not part.passed)


def _ablation_falls(name: str, seed: int, folder: Path) -> str:
    from rewardsmith.atlas import run_page

    return "it passed" if run_page(name, seeds=[seed], broken=True).verdict.passed else ""


def _ablation_repeats(name: str, seed: int, folder: Path) -> str:
    from tests.atlas.test_pages import repeated

    _, otherwise = repeated(name, "ablation", seed % 10)  # of at least ten seeds
    return ", ".join(otherwise)


def _unalarmed(name: str, seed: int, folder: Path) -> str:
    from tests.auditing.test_miscalibration import alarm_of

    kind, prompts, group = re.fullmatch(r"(\w+), (\d+) prompts of (\d+)", name).groups()  # type: ignore[union-attr]
    alarm = alarm_of(kind, int(prompts), int(group), random.Random(seed))
    return "" if alarm is None else f"{alarm}"


def _killed(name: str, seed: int, folder: Path) -> str:
    from tests.sweeps.kills import sweep

    return "; ".join(sweep(name, 3, folder, random.Random(seed)).faults)


def _flawed_rewards() -> list[str]:
    from tests.auditing.corpus.flawed import FLAWED

    return list(FLAWED)


def _sound_rewards() -> list[str]:
    from tests.auditing.corpus.sound import SOUND

    return list(SOUND)


def _rare() -> list[str]:
    from tests.auditing.test_corpus import RARE

    return list(RARE)


def _flawed_commands() -> list[str]:
    from tests.auditing.test_planted import PLANTED

    return list(PLANTED)


def _sound_commands() -> list[str]:
    from tests.auditing.test_planted import SOUND

    return list(SOUND)


def _biased_judges() -> list[str]:
    from tests.auditing.corpus.judges import PLANTED

    return list(PLANTED)


def _sound_judges() -> list[str]:
    from tests.auditing.corpus.judges import SOUND

    return list(SOUND)


def _models() -> list[str]:
    from tests.auditing.test_planted_models import CASES

    return list(CASES)


def _pages() -> list[str]:
    from rewardsmith.atlas import page_slugs

    return list(page_slugs())


def _calibrated() -> list[str]:
    from tests.auditing.test_miscalibration import CALIBRATED, SIZES

    return [f"{kind}, {prompts} prompts of {group}" for kind in CALIBRATED for prompts, group in SIZES]


def _jobs() -> list[str]:
    from tests.sweeps.kills import KINDS

    return list(KINDS)


KINDS = {
    "models of planted faults and sound ones": Kind(_models, _model, 0.95, 2, shared=True),
    "pages pass": Kind(_pages, _page_passes, 0.95, 1),
    "ablations do not pass": Kind(_pages, _ablation_falls, 0.95, 1),
    "ablations give the documentation's numbers": Kind(_pages, _ablation_repeats, 1.0, 1),
    "jobs killed three times": Kind(_jobs, _killed, 1.0, 7),
    "biased judges are found": Kind(_biased_judges, _judge_found, 0.95, 20),
    "sound judges are clean": Kind(_sound_judges, _judge_clean, 0.99, 20),
    "flawed rewards are found": Kind(_flawed_rewards, _found, 0.98, 20),
    "flaws on a tenth of the rows are found": Kind(_rare, _rare_found, 0.9, 20),
    "sound rewards are clean": Kind(_sound_rewards, _unaccused, 0.99, 20),
    "faults are found at the shell": Kind(_flawed_commands, _command_found, 0.98, 6),
    "sound twins are clean at the shell": Kind(_sound_commands, _command_clean, 0.98, 6),
    "calibrated confidences raise no alarm": Kind(_calibrated, _unalarmed, 0.995, 400),
}
