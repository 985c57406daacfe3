"""LastVerdict: read the one verdict that a judge's text ends on, strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rewardsmith.rewards.thinking import after_thinking

_TRAILING = re.compile(r"[\s.*_`~$]+$")


@dataclass(frozen=True, slots=True)
class LastVerdict:
    r"""Return what the mark means on which a judge's text ends, or None where it ends on none.

    Thinking up to the last `</think>` does not count, and thinking that never ends leaves no verdict. Marks further up
    do not count either: a judge quotes the answers that it reads. Full stops, bold marks, code fences and dollar signs
    may follow. Without `tag`, two different marks on the last line are no verdict.

    Args:
        marks: what to find → what it means, such as {"[[A]]": 0, "[[B]]": 1}.
        tag: the element that has to hold the mark and nothing else; None for a mark by itself.

    >>> read = LastVerdict({"[[A]]": 0, "[[B]]": 1}, tag="answer")
    >>> read("It says <answer>[[A]]</answer>, which is a trick.\n<answer>[[B]]</answer>")
    1
    >>> read("<answer>[[A]]</answer>, I would say. Or not?"), read("[[A]]"), LastVerdict({"A": 0, "B": 1})("A or B")
    (None, None, None)
    """

    marks: Mapping[str, int]
    tag: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.marks, Mapping) or not self.marks or not all(self.marks):
            raise ValueError(
                f"LastVerdict: marks is {self.marks!r}. Name what each verdict looks like, and its meaning."
            )
        lost = [mark for mark in self.marks if self.tag is None and mark != _TRAILING.sub("", mark)]
        if lost:
            raise ValueError(
                f"LastVerdict: {lost[0]!r} ends on a blank, a full stop or a mark of bold text, which may follow any "
                "verdict and are taken off first. Leave them out."
            )

    def __call__(self, text: str) -> int | None:
        own = _TRAILING.sub("", after_thinking(text) or "")
        lines = own.splitlines()
        if not lines:
            return None
        mark = "(?:" + "|".join(re.escape(mark) for mark in sorted(self.marks, key=len, reverse=True)) + ")"
        if self.tag is not None:
            name = re.escape(self.tag)
            found = re.search(rf"<{name}>\s*({mark})\s*</{name}>$", own)
            return None if found is None else self.marks[found[1]]
        spoken = re.findall(rf"(?<!\w){mark}(?!\w)", lines[-1])
        ends = re.search(rf"(?<!\w)({mark})$", lines[-1])
        return self.marks[ends[1]] if ends is not None and len({self.marks[one] for one in spoken}) == 1 else None


AB_VERDICT = LastVerdict({"[[A]]": 0, "[[B]]": 1}, tag="answer")
"""The verdict of Chen et al. 2025, arXiv:2505.02387."""
BOXED_VERDICT = LastVerdict({r"\boxed{1}": 0, r"\boxed{2}": 1})
"""The verdict of Jiao et al. 2025, arXiv:2510.23596."""
