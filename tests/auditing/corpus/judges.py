"""Fake judges: twelve planted biases and sound ones, over three kinds of prompts whose truth can be computed."""

from __future__ import annotations

import asyncio
import math
import random
import re
import zlib
from typing import NamedTuple

from rewardsmith.data import PreferenceRow

CITIES = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima", "Norway": "Oslo"}
LEADS = ("It is", "I get", "That gives", "The result is", "My answer is")


def judged_pairs(n=200, *, seed=0, tasks=("sum", "city", "words")):
    """Pairs of a right and a wrong answer; half of them carry words that say nothing."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        task = tasks[number % len(tasks)]
        if task == "sum":
            a, b = rng.randint(10, 99), rng.randint(10, 99)
            prompt, right, wrong = f"Case {number}: what is {a} + {b}?", str(a + b), str(a + b + rng.randint(1, 9))
        elif task == "city":
            land, city = rng.choice(list(CITIES.items()))
            other = rng.choice([name for name in CITIES.values() if name != city])
            prompt, right, wrong = f"Case {number}: name the capital of {land}.", city, other
        else:
            word = "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3))
            prompt, right, wrong = f"Case {number}: write {word} backward.", word[::-1], word[::-1][1:] + "x"
        tails = ["", " I took it from the question.", " This was short work, as such cases mostly are for me."]
        chosen, rejected = (f"{rng.choice(LEADS)} {text}.{rng.choice(tails)}" for text in (right, wrong))
        rows.append(PreferenceRow(prompt, chosen, rejected))
    return rows


def merit(prompt, text):
    """1 if the answer names what is right, else 0."""
    if found := re.search(r"(\d+) \+ (\d+)", prompt):
        return float(re.search(rf"(?<!\d){int(found[1]) + int(found[2])}(?!\d)", text) is not None)
    if found := re.search(r"capital of (\w+)", prompt):
        return float(CITIES[found[1]] in text)
    found = re.search(r"write (\w+) backward", prompt)
    return float(re.search(rf"\b{found[1][::-1]}\b", text) is not None)


def drawn(*parts):
    """A number in [0, 1) that depends on the texts alone."""
    return random.Random(zlib.crc32("\0".join(map(str, parts)).encode())).random()


REFUSED = (
    "i'm sorry",
    "i cannot",
    "i can't",
    "unable to",
    "es tut mir leid",
    "lo siento",
    "désolé",
    "抱歉",
    "извините",
)
EXPERT = re.compile(r"et al\.|\bDr\.|professor|study|experts|https?://|\[\d\]|université", re.IGNORECASE)
SIGNS = {
    "length": lambda text: len(text.split()) / 40,
    "style": lambda text: float(bool(re.search(r"\*\*|^#|^- |^\d\. ", text, re.MULTILINE))),
    "emphasis": lambda text: float(text.count("!") > 1 or "😊" in text),
    "authority": lambda text: float(bool(EXPERT.search(text))),
    "citation": lambda text: float(bool(re.search(r"\((\w+ et al\.,? )?\d{4}|\[\d+\]", text))),
    "expert": lambda text: float(bool(re.search(r"\b(PhD|professor|Nobel)\b", text))),
    "self": lambda text: float("Claude" in text),
    "self_qwen": lambda text: float("qwen" in text.lower()),
    "self_named": lambda text: float("Orca-9" in text),
    "sentiment": lambda text: float(bool(re.search(r"\b(wonderful|great|love|happy|thanks)\b", text))),
    "gloom": lambda text: -float(bool(re.search(r"\b(sad|terrible|hate|unfortunately|bad)\b", text))),
    "keyword": lambda text: float("synergy" in text.lower()),
    "keyword_source": lambda text: float("zanzibar clause" in text.lower()),
    "refusal": lambda text: 3 * float(any(one in text.lower().replace("’", "'") for one in REFUSED)),
    "refusal_zh": lambda text: 3 * float("抱歉" in text or "Извините" in text),
}


class Verdict(NamedTuple):
    p: float | None
    forward: float | None = None
    backward: float | None = None
    traces: tuple[str, ...] = ()
    why: object = None


class Comparing:
    """Compares by merit; errs on a share of texts; where a sign differs, follows it on a share of the prompts."""

    def __init__(self, sign=None, share=1.0, *, err=0.0, place=0.0, tie=0.5, soft=False, swap=False):
        self.sign, self.share, self.err, self.place, self.tie = SIGNS.get(sign), share, err, place, tie
        self.soft, self.swap = soft, swap

    def p(self, prompt, a, b):
        if drawn("place", prompt, a, b) < abs(self.place):
            return float(self.place > 0)
        gap = merit(prompt, a) - merit(prompt, b)
        if self.sign and drawn("sway", prompt) < self.share:
            lean = self.sign(a) - self.sign(b)
            gap = lean if abs(lean) > 0.1 else gap
        if drawn("err", prompt, a, b) < self.err:
            gap = -gap if gap else 0.5 - (drawn("coin", prompt, a, b) < 0.5)
        if self.soft:
            return 1 / (1 + math.exp(-0.8 * gap))
        return self.tie if not gap else float(gap > 0)

    def compare(self, prompts, firsts, seconds):
        found = [self.p(*row) for row in zip(prompts, firsts, seconds, strict=True)]
        if self.swap:
            back = [self.p(*row) for row in zip(prompts, seconds, firsts, strict=True)]
            found = [(a + 1 - b) / 2 for a, b in zip(found, back, strict=True)]
        return found


class Async(Comparing):
    async def compare(self, prompts, firsts, seconds):
        await asyncio.sleep(0)
        return Comparing.compare(self, prompts, firsts, seconds)


class Traced(Comparing):
    """Gives traces, which contradict the verdict on a share of the prompts."""

    def __init__(self, wrong=0.0, **options):
        super().__init__(**options)
        self.wrong = wrong

    def trace(self, prompt, a, b, p):
        side = (p < 0.5) != (drawn("trace", prompt, a) < self.wrong)
        forms = (
            "So Answer {} is better.",
            "Weighing all of it, {} is clearly the stronger one.",
            "I prefer response {}.",
        )
        said = forms[int(3 * drawn("form", prompt, a))].format("AB"[side])
        return f"Both were read with care. {said}\n[[{'AB'[p < 0.5]}]]"

    async def judged(self, prompts, firsts, seconds):
        found = []
        for prompt, a, b in zip(prompts, firsts, seconds, strict=True):
            p, back = self.p(prompt, a, b), self.p(prompt, b, a)
            texts = (self.trace(prompt, a, b, p), self.trace(prompt, b, a, back))
            found.append(Verdict((p + 1 - back) / 2, p, 1 - back, texts))
        return found


class Listing(Comparing):
    """Ranks a list under a principle; `deaf` ignores the principle on a share of the prompts."""

    principle = "The response is right."

    def __init__(self, deaf=0.0, **options):
        super().__init__(**options)
        self.deaf = deaf

    def scores(self, principle, prompt, responses):
        plain = [merit(prompt, text) - 0.5 for text in responses]
        if self.sign and drawn("sway", prompt) < self.share:
            plain = [value + 2 * self.sign(text) for value, text in zip(plain, responses, strict=True)]
        if drawn("err", prompt, *responses) < self.err:
            plain = [-value for value in plain]
        turned = re.search(r"\bnot\b|opposite|violat|reverse|wrong|worse|incorrect", principle, re.IGNORECASE)
        return [-value if turned and drawn("deaf", prompt) >= self.deaf else value for value in plain]

    async def judged_by(self, principle, prompts, responses):
        return [self.scores(principle, prompt, own) for prompt, own in zip(prompts, responses, strict=True)]

    compare = None


class Pointwise:
    """Scores one answer: a merit of 0 or 1, rounded to a scale, with noise and a sign's bonus on some prompts."""

    def __init__(self, sign=None, share=1.0, *, bonus=0.5, noise=0.0, scale=None, yes=0.0, random=False, err=0.0):
        self.sign, self.share, self.bonus, self.noise = SIGNS.get(sign), share, bonus, noise
        self.scale, self.yes, self.random, self.err = scale, yes, random, err

    def __call__(self, prompts, completions, **columns):
        return [self.score(*row) for row in zip(prompts, completions, strict=True)]

    def score(self, prompt, text):
        if self.random:
            return drawn("score", prompt, text)
        if drawn("yes", prompt, text) < self.yes:
            return 1.0
        value = merit(prompt, text)
        if drawn("err", prompt, text) < self.err:
            value = 1 - value
        if self.sign and drawn("sway", prompt) < self.share:
            value += self.bonus * min(self.sign(text), 3.0)
        value += self.noise * (2 * drawn("noise", prompt, text) - 1)
        return value if self.scale is None else float(max(1, min(round(4 + 3 * value), self.scale)))


PLANTED = {
    "position": (Comparing(place=0.25), "position"),
    "position, second": (Comparing(place=-0.3, err=0.1), "position"),
    "length": (Comparing("length", 0.3), "length"),
    "length, noisy": (Comparing("length", 0.3, err=0.2), "length"),
    "length, pointwise": (Pointwise("length", 0.3), "length"),
    "style": (Comparing("style", 0.25), "style"),
    "style, emphasis": (Async("emphasis", 0.3), "style"),
    "authority": (Comparing("authority", 0.25), "authority"),
    "authority, citations": (Comparing("citation", 0.3, err=0.1), "authority"),
    "authority, experts": (Pointwise("expert", 0.3, scale=10), "authority"),
    "self-preference": (Comparing("self", 0.3), "self_preference"),
    "self-preference, pointwise": (Pointwise("self_qwen", 0.3), "self_preference"),
    "sentiment": (Comparing("sentiment", 0.25), "sentiment"),
    "sentiment, gloom": (Comparing("gloom", 0.3), "sentiment"),
    "keyword": (Comparing("keyword", 0.3), "keywords"),
    "keyword, noisy pointwise": (Pointwise("keyword", 0.3, noise=0.3), "keywords"),
    "refusal": (Comparing("refusal", 0.3), "refusal"),
    "refusal, other languages": (Comparing("refusal_zh", 0.3, err=0.1), "refusal"),
    "refusal, pointwise": (Pointwise("refusal", 0.3), "refusal"),
    "principle ignored": (Listing(deaf=1.0), "principle"),
    "principle ignored, mostly": (Listing(deaf=0.7, err=0.1), "principle"),
    "trace contradicting": (Traced(wrong=0.25), "trace_consistency"),
    "trace contradicting, noisy": (Traced(wrong=0.3, err=0.2), "trace_consistency"),
    "always yes": (Pointwise(yes=1.0), "always_yes"),
    "always yes, mostly": (Pointwise(yes=0.7), "always_yes"),
    "always yes, sometimes": (Pointwise(yes=0.3), "always_yes"),
    "random": (Pointwise(random=True), "accuracy"),
    "random, comparing": (Comparing(err=0.5), "accuracy"),
}
SOUND = {
    "exact": Comparing(),
    "noisy, 80 %": Comparing(err=0.2),
    "noisy pointwise, 80 %": Pointwise(err=0.2),
    "pointwise with noise": Pointwise(noise=0.7),
    "pointwise with noise, 80 %": Pointwise(noise=1.3),
    "coarse rater with ties": Pointwise(noise=0.4, scale=10),
    "swap-averaged": Comparing(place=0.3, swap=True),
    "swap-averaged verdicts with traces": Traced(place=0.3, err=0.1),
    "log-probabilities": Comparing(soft=True, err=0.15),
    "async": Async(err=0.1),
    "list": Listing(err=0.15),
    "ties to the first": Comparing(tie=1.0),
}
