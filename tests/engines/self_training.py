"""A self-training run on a policy of three numbers, which kills itself once where it is asked to.

A question is a number q. The policy answers q (right), q + 1, or the constant "0", with one logit each for all
questions, so its accuracy is softmax(logits)[0]. Run as a script: FOLDER STAGE ROUND.
"""

import json
import math
import os
import random
import signal
import sys
from pathlib import Path

from rewardsmith.data import Row, best_worst_pairs
from rewardsmith.engines.rounds import Annotation, IterativePreferenceRun

KINDS = ("right", "next", "constant")
START = (0.5, 0.0, -3.0)
K = 8


def answer_of(question: str, kind: str) -> str:
    return {"right": question, "next": str(int(question) + 1), "constant": "0"}[kind]


def shares(folder: Path) -> list[float]:
    logits = json.loads((folder / "policy.json").read_text())
    weights = [math.exp(logit) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def write_policy(folder: Path, logits) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.json").write_text(json.dumps(list(logits)))
    return folder


def sample(at, rows, seed):
    draw = random.Random(seed)
    return [[answer_of(row.prompt, kind) for kind in draw.choices(KINDS, shares(at.policy), k=K)] for row in rows]


def truth_then_constant(question: str, answer: str) -> float:
    """A label that prefers right answers to wrong ones, and one constant to both: the planted hack."""
    return 2.0 if answer == "0" else float(answer == question)


def truth(question: str, answer: str) -> float:
    return float(answer == question)


def annotator(score):
    def annotate(at, rows, texts):
        return [
            Annotation([score(row.prompt, text) for text in own], agreement=max(map(own.count, own)) / K)
            for row, own in zip(rows, texts, strict=True)
        ]

    return annotate


def pair(rows):
    return best_worst_pairs(rows, least_distinct=2)


def train(at, pairs, out, seed, *, rate=0.25):
    logits = json.loads((at.policy / "policy.json").read_text())
    for one in pairs:
        for text, sign in ((one.chosen, 1), (one.rejected, -1)):
            kind = next(k for k, name in enumerate(KINDS) if answer_of(one.prompt, name) == text)
            logits[kind] += sign * rate / len(pairs)
    write_policy(out, logits)


def grade(prompts, completions, **columns):
    return [float(prompt == text) for prompt, text in zip(prompts, completions, strict=True)]


def log_ratio(at):
    """log π/π_base of an answer, from the shares that the policies have by definition."""
    ratios = [math.log(now / then) for now, then in zip(shares(at.policy), shares(at.base), strict=True)]

    def score(prompts, completions):
        texts = [[answer_of(prompt, kind) for kind in KINDS] for prompt in prompts]
        return [ratios[own.index(text)] for own, text in zip(texts, completions, strict=True)]

    return score


def questions(first: int, n: int) -> list[Row]:
    return [Row(str(q)) for q in range(first, first + n)]


def start(folder: Path, score=truth, **stages):
    policy = write_policy(folder / "start", START)
    loop = IterativePreferenceRun(
        **{"sample": sample, "annotate": annotator(score), "pair": pair, "train": train, "grade": grade} | stages
    )
    return loop, policy


def killing(folder: Path, stage: str, number: int, function):
    """The stage, which logs its calls, and ends the process in its second call of round `number`, once."""

    def call(at, *given):
        with (folder / "calls").open("a") as log:
            log.write(f"{stage} {at.number}\n")
        result = function(at, *given)  # a killed training has written its policy
        seen = (folder / "calls").read_text().count(f"{stage} {at.number}\n")
        if (stage, at.number) == (wanted, number) and seen == (1 if stage == "train" else 2):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


if __name__ == "__main__":
    place, wanted, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    place.mkdir(parents=True, exist_ok=True)
    os.chdir(place)
    stages = {"sample": sample, "annotate": annotator(truth), "train": train}
    killed = {name: killing(Path(), name, when, stage) for name, stage in stages.items()}
    loop, policy = start(Path(), chunk=8, **killed)
    if wanted == "rename":  # the policy has its name, and the journal does not know it yet
        replace, done = os.replace, Path("renamed")

        def replace_once(source, target):
            replace(source, target)
            if f"{when:03d}" in str(target) and not done.exists():
                done.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace_once
    result = loop.run("run", questions(100, 24), policy=policy, canary=questions(500, 16), rounds=2, seed=3)
    print(result.policy)
