"""A grader in a process of its own: `PYTHON grader_child.py NAME` reads answers and writes verdicts, as JSON lines.

It imports nothing of this repository, so that any interpreter runs it. A grader is a function of key and completion
that returns 1, 0, or None for unscored. Timers by signal are off: the parent waits, the same time for all.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

Grader = Callable[[str, str], Any]
MEMORY = 8 << 30  # bytes of address space
WARM = ((r"\frac{1}{2}", r"The answer is $\boxed{0.5}$."), ("x+1", r"The answer is $\boxed{1+x}$."), ("7", "It is 8."))


def math_equal() -> Grader:
    from rewardsmith.rewards import math_equal

    return lambda gold, completion: math_equal([completion], answer=[gold])[0]


def math_verify(wrap: str) -> Grader:
    from math_verify import parse, verify

    return lambda gold, completion: verify(parse(wrap % gold), parse(completion))


def trl(wrap: str) -> Grader:
    from trl.rewards import accuracy_reward

    def in_thread(gold: str, completion: str) -> Any:  # where it sets no timer
        found: list[Any] = []
        message = [[{"role": "assistant", "content": completion}]]
        thread = threading.Thread(target=lambda: found.extend(accuracy_reward(message, [wrap % gold])))
        thread.start()
        thread.join()
        return found[0]

    return in_thread


def verl(module: str) -> Any:
    """Import one of verl's files without what its packages import (torch, Ray)."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("verl")
    folder = spec.submodule_search_locations[0]
    for name in ("verl", "verl.utils", "verl.utils.reward_score"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(folder, *name.split(".")[1:])]
        sys.modules[name] = package
    timers = types.ModuleType("verl.utils.py_functional")
    vars(timers)["timeout_limit"] = lambda *_, **__: lambda function: function
    sys.modules[timers.__name__] = timers
    return importlib.import_module(f"verl.utils.reward_score.{module}")


def verl_math_verify() -> Grader:
    judge = verl("math_verify")._verify_in_subprocess
    return lambda gold, completion: judge("\\boxed{" + gold + "}", completion)


def verl_math_reward() -> Grader:
    score = verl("math_reward").compute_score
    return lambda gold, completion: score(completion, gold)


def verl_math_dapo() -> Grader:
    score = verl("math_dapo").compute_score
    return lambda gold, completion: score(completion, gold)["acc"]


def verl_prime_math() -> Grader:
    score = verl("prime_math").compute_score
    return lambda gold, completion: score(completion, gold)[0]


def from_file(package: str, path: str) -> Any:
    """Import one file of a package without the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    file = os.path.join(spec.submodule_search_locations[0], path)
    loaded = importlib.util.spec_from_file_location("a_grader", file)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return module


def hendrycks_math() -> Grader:
    utils = from_file("lm_eval", "tasks/hendrycks_math/utils.py")

    def grade(gold: str, completion: str) -> Any:
        box = utils.last_boxed_only_string(completion)
        return utils.is_equiv(utils.remove_boxed(box) if box else between_dollars(completion), gold)

    return grade


def between_dollars(completion: str) -> str:
    """Return the answer as lm-eval's `process_results` reads it."""
    found = re.search(r"\$(.*)\$", completion, re.DOTALL)
    return found[1] if found else completion


def minerva_math() -> Grader:
    utils = from_file("lm_eval", "tasks/minerva_math/utils.py")

    def grade(gold: str, completion: str) -> Any:
        box = utils.last_boxed_only_string(completion)
        answer = utils.remove_boxed(box) if box else utils.get_unnormalized_answer(completion)
        return utils.is_equiv(utils.normalize_final_answer(answer), utils.normalize_final_answer(gold))

    return grade


def mathruler() -> Grader:
    from mathruler.grader import extract_boxed_content, grade_answer

    return lambda gold, completion: grade_answer(extract_boxed_content(completion), gold)


def reward_doctor(name: str) -> Grader:
    from reward_doctor import reference

    judge = getattr(reference, name)
    return lambda gold, completion: judge(completion, gold)


GRADERS: dict[str, tuple[str, Callable[[], Grader]]] = {  # name -> (distribution, loader)
    "rewardsmith math_equal": ("rewardsmith", math_equal),
    "math-verify, key in $…$": ("math-verify", lambda: math_verify("$%s$")),
    "math-verify, key boxed": ("math-verify", lambda: math_verify("\\boxed{%s}")),
    "math-verify, key as given": ("math-verify", lambda: math_verify("%s")),
    "TRL accuracy_reward, key in $…$": ("trl", lambda: trl("$%s$")),
    "TRL accuracy_reward, key as given": ("trl", lambda: trl("%s")),
    "verl math_verify": ("verl", verl_math_verify),
    "verl math_reward": ("verl", verl_math_reward),
    "verl math_dapo": ("verl", verl_math_dapo),
    "verl prime_math": ("verl", verl_prime_math),
    "lm-eval hendrycks_math": ("lm-eval", hendrycks_math),
    "lm-eval minerva_math": ("lm-eval", minerva_math),
    "mathruler grade_answer": ("mathruler", mathruler),
    "reward-doctor robust_match": ("reward-doctor", lambda: reward_doctor("robust_match")),
    "reward-doctor boxed_exact": ("reward-doctor", lambda: reward_doctor("boxed_exact")),
}


def verdict(grade: Grader, gold: str, completion: str) -> dict[str, Any]:
    """Grade one answer: 1, 0 or None, the name of what was raised, and the seconds of CPU time it took."""
    raised, found = "", None
    start = cpu_seconds()
    try:
        found = grade(gold, completion)
    except Exception as error:  # a grader that raises gives no verdict
        raised = type(error).__name__
    seconds = cpu_seconds() - start
    return {"verdict": None if found is None else int(float(found) > 0.5), "raised": raised, "seconds": seconds}


def cpu_seconds() -> float:
    """Return the CPU time of this process, its threads and the processes that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Load one grader and serve it by a copy of this process, a new one after each that is killed."""
    distribution, load = GRADERS[sys.argv[1]]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a grader prints is no reply
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for timer in ("alarm", "setitimer"):
        setattr(signal, timer, lambda *_: 0)

    def reply(**fields: Any) -> None:
        replies.write(json.dumps(fields) + "\n")
        replies.flush()

    try:
        grade = load()
    except (ImportError, AssertionError) as error:  # lm-eval asserts the version of a parser
        reply(missing=f"{error}")
        return
    for gold, completion in WARM:
        with suppress(Exception):
            grade(gold, completion)
    while True:
        if not (pid := os.fork()):
            reply(version=version(distribution), pid=os.getpid())
            for line in sys.stdin:
                reply(**verdict(grade, **json.loads(line)))
            os._exit(0)
        if os.waitpid(pid, 0)[1] == 0:  # the input ended
            return


if __name__ == "__main__":
    main()
