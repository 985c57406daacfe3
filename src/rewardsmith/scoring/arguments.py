"""Make, from one of our rows, the arguments that the engines of published rewards pass."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from rewardsmith.data import completion_text, text_of
from rewardsmith.data.rows import as_messages
from rewardsmith.scoring.code import strings_in
from rewardsmith.types import Completion, Text


@dataclass
class Call:
    """One row of a call, as the fillers of arguments read it.

    opening: the text before the completion, where an engine passes prompt and completion as one text.
    """

    prompt: Text
    completion: Completion
    columns: Mapping[str, Any]
    opening: str = ""

    @property
    def asked(self) -> str:
        """The prompt as plain text."""
        return text_of(self.prompt)

    @property
    def text(self) -> str:
        """The completion as plain text."""
        return completion_text(self.completion)

    def sequence(self) -> str:
        """Return the completion, after the prompt and the opening of the assistant's turn where there is one."""
        if not self.opening:
            return self.text
        return self.asked + ("" if self.opening in self.asked else f"\n{self.opening}\n") + self.text

    def truth(self) -> Any:
        """Return the ground truth as the rows have it, of any type; with verl's columns the one that verl passes."""
        nested = self.columns.get("reward_model")
        found = self.columns.get("ground_truth")
        if found is None and isinstance(nested, Mapping):
            found = nested.get("ground_truth")
        return self.columns.get("answer") if found is None else found

    def key(self, default: Any = None) -> Any:
        """Return the answer of the row, else its label, else its ground truth."""
        names = [self.columns.get("answer"), self.columns.get("label"), self.truth(), default]
        return next((found for found in names if found is not None), None)

    def column(self, name: str, default: Any) -> Any:
        """Return a column, or the default where it is missing or None."""
        found = self.columns.get(name)
        return default if found is None else found

    def ids(self, name: str, text: Completion) -> list[int]:
        """Return a column of token ids, else substitutes for the ids of a text."""
        return list(self.column(name, None) or pseudo_ids(text))

    def prompt_ids(self) -> list[int]:
        return self.ids("prompt_ids", self.asked)

    def completion_ids(self) -> list[int]:
        return self.ids("completion_ids", self.completion)

    def messages(self) -> list[Message]:
        """Return the whole conversation."""
        turns = [*as_messages(self.prompt, "user"), *as_messages(self.completion)]
        return [Message(turn) for turn in turns if isinstance(turn, Mapping)]

    def reward_input(self) -> dict[str, Any]:
        """Return EasyR1's input of one response."""
        return {"response": self.text, "response_length": len(self.completion_ids()), "ground_truth": self.truth()}

    def task_info(self) -> dict[str, Any]:
        """Return rLLM's dict of a task: the columns with the question and the ground truth."""
        return {"problem": self.asked, "question": self.asked, **self.columns, "ground_truth": self.truth()}

    def task(self) -> Message:
        """Return rLLM's task of an episode: the dict of older releases, with the attributes of `Task`."""
        info = self.task_info()
        return Message({**info, "id": "0", "instruction": self.asked, "metadata": info, "data": info})

    def episode(self) -> Options:
        """Return rLLM's `Episode` of one step, whose answer is the whole completion."""
        said = {"output": self.text, "action": self.text, "model_response": self.text}
        step = Options(input=self.asked, chat_completions=self.messages(), done=True, reward=0.0, **said)
        run = Options(name="agent", task=self.task(), steps=[step], output=self.text, result=self.text, signals={})
        return Options(id="0:0", task=run.task, trajectories=[run], artifacts={"answer": self.text}, is_correct=False)

    def state(self) -> dict[str, Any]:
        """Return the state at the end of a rollout of one turn, as verifiers keeps it."""
        fields = {"info": {}, "task": "default", "turn": 1, "responses": [], "trajectory": [], "timing": {}}
        known = {name: self.column(name, default) for name, default in fields.items()}
        turns = {"prompt": self.prompt, "completion": self.completion}
        return {**self.columns, **known, **turns, "answer": self.key("")}

    def sample(self) -> Any:
        """Return slime's or miles' `Sample`: their own class where the reward has imported it, else one like it."""
        given = {
            "index": 0,
            "group_index": 0,
            "prompt": self.prompt,
            "tokens": [*self.prompt_ids(), *self.completion_ids()],
            "response": self.text,
            "response_length": len(self.completion_ids()),
            "label": self.key(),
            "metadata": dict(self.column("metadata", self.columns)),
        }
        for engine in ("slime", "miles"):
            if (own := getattr(sys.modules.get(f"{engine}.utils.types"), "Sample", None)) is not None:
                return own(**given, status=own.Status.COMPLETED)
        status = SimpleNamespace(value="completed", name="COMPLETED")
        return Options(**given, status=status, reward=None, loss_mask=None, get_reward_value=ignore)


class Message(dict[str, Any]):
    """A message whose fields are read as keys or as attributes; engines pass either."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


class Options(SimpleNamespace):
    """Options of a run: whatever is not set is None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class Parser:
    """verifiers' default parser: the whole text of the assistant's last message is the answer."""

    def parse(self, text: str) -> str:
        return text

    def parse_answer(self, completion: Text) -> str:
        return completion_text(completion)

    def get_assistant_messages(self, completion: Text) -> list[Any]:
        return [turn for turn in as_messages(completion) if isinstance(turn, Mapping) and turn["role"] == "assistant"]


_OPENINGS = ("<|im_start|>assistant", "<|start_header_id|>assistant<|end_header_id|>", "Assistant:")


def opening_of(function: Callable[..., Any]) -> str:
    """Return the opening of the assistant's turn that a reward searches for in its text, "" if it searches for none.

    Early releases of verl pass prompt and completion as one text, and their rewards cut at this opening.
    """
    texts = [text.replace("\\", "").strip() for text in strings_in(function)]
    inside = " ".join(texts)
    return next((o for o in _OPENINGS if o in texts or (o.startswith("<") and o in inside)), "")


def trainer_state(*, real: bool = True) -> Any:
    """Return the state of a run halfway, at step 500 of 1,000, as TRL passes it to rewards.

    Args:
        real: use transformers' own class, which takes seconds to import, where it is installed.
    """
    given: dict[str, Any] = {"epoch": 0.5, "global_step": 500, "max_steps": 1000, "num_train_epochs": 1}
    if real:
        try:
            from transformers import TrainerState

            return TrainerState(**given)
        except ImportError:
            pass
    return Options(**given, num_input_tokens_seen=0, log_history=[], is_world_process_zero=True)


def ignore(*args: Any, **kwargs: Any) -> None:
    """Do nothing, in place of the trainer's `log_extra` and `log_metric`."""


class _Ids(dict[str, int]):
    def __missing__(self, piece: str) -> int:
        if len(self) > 100_000:
            self.clear()
        found = self[piece] = zlib.crc32(piece.encode("utf-8", "surrogatepass")) % 50_000
        return found


_IDS = _Ids()
_PIECES = re.compile(r" ?\w{1,8}| ?[^\w\s]|\s{1,8}")


def pseudo_ids(completion: Completion) -> list[int]:
    """Return substitutes for token ids, for rewards that count tokens or look for repeats without a tokenizer.

    A piece is up to 8 letters or digits, one mark, or a run of whitespace; its id is CRC-32 modulo 50 000. The number
    of pieces is near that of real tokenizers on English; ids can only be compared for equality. Rows with a
    `completion_ids` column use that instead.

    >>> len(pseudo_ids("The answer is 4.")), pseudo_ids("go go")[1] == pseudo_ids("so go")[1]
    (5, True)
    """
    return list(map(_IDS.__getitem__, _PIECES.findall(completion_text(completion))))
