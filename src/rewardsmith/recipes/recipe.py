"""The recipe: its parts, those that its advantage cancels, and its form for each engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from torch import Tensor

from rewardsmith._pictures import picture_uri
from rewardsmith.describe import describe
from rewardsmith.recipes.canceled import Canceled, canceled_parts
from rewardsmith.recipes.drawing import draw
from rewardsmith.recipes.rows import row_context, signature_for
from rewardsmith.recipes.terms import Applied, Column, Source, StepSource, Term, evaluate, walk
from rewardsmith.recipes.trial import check_runs
from rewardsmith.scoring import to_openrlhf, to_verl
from rewardsmith.transforms import chain
from rewardsmith.transforms.compose import Chain
from rewardsmith.types import Completion, RewardBatch, Scope, Text, named_by, traits_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Split(NamedTuple):
    """A recipe in two parts: a reward function computed row by row, and the transform after the gather."""

    rows: Recipe
    transform: Chain | None


@dataclass(frozen=True, eq=False)
class Recipe:
    """The whole path from sources to the weight of every completion in the loss, as one object.

        rewards (B,) = reward(sources)      steps (B, N) = steps(step sources, sources)
        advantages   = advantage(rewards, step_rewards=steps, …) · sample_filter(rewards, …)

    It prints itself, draws itself, lists its parts that the advantage cancels, and runs in every engine:

        GRPOTrainer(model, recipe, args=…)          rewardsmith.engines.trl: any recipe
        trl.GRPOTrainer(model, recipe, args=…)      TRL's own: a recipe whose every part sees one row
        recipe.to_verl(…), recipe.to_openrlhf(…)    the same, for those trainers
        engines.verl.register_recipe(name, recipe)  verl: its parts that see a group or batch, as an advantage estimator

    Args:
        reward: the term that is optimized, (B,).
        advantage: rewards to advantages, (B,) or (B, T); None leaves it to the trainer.
        sample_filter: rewards to weights (B,), 0 to drop.
        steps: a term of step rewards (B, N), for an advantage that takes `step_rewards`, such as `step_credit`.
        name: its name in the trainers' logs.

    >>> from rewardsmith.advantages import group_centered
    >>> from rewardsmith.recipes import source
    >>> def right(completions, answer, **columns):
    ...     return [float(c == a) for c, a in zip(completions, answer)]
    >>> def short(completions, **columns):
    ...     return [float(len(c) < 3) for c in completions]
    >>> print(Recipe(source(right) + 0.5 * source(short), advantage=group_centered))
    recipe
      right       right
      short       short
      reward    = right + 0.5·short
      advantage   group_centered
      scope       prompt: runs in rewardsmith.engines.trl
    """

    reward: Term
    advantage: Callable[..., Tensor] | None = None
    sample_filter: Callable[..., Tensor] | None = None
    steps: Term | None = None
    name: str = "recipe"

    def __post_init__(self) -> None:
        for label, term, kind in (("reward", self.reward, "rewards"), ("steps", self.steps, "steps")):
            if term is not None and not isinstance(term, Term):
                raise TypeError(f"Recipe: {label} is {term!r}, which is not a term. Wrap a reward with recipes.source.")
            if term is not None and term.kind != kind:
                raise TypeError(
                    f"Recipe: {label} is {term}, whose value has shape {'(B, N)' if term.kind == 'steps' else '(B,)'}. "
                    "Pass step rewards as steps=, beside an outcome as reward."
                )
        for label, part, example in (
            ("advantage", self.advantage, "group_centered"),
            ("sample_filter", self.sample_filter, "drop_dead_groups"),
        ):
            if part is not None and not callable(part):
                raise TypeError(
                    f"Recipe: {label} is {part!r}, but it takes a function, such as rewardsmith.advantages.{example}. "
                    "Import it and pass the function itself."
                )
        asked = {} if self.advantage is None else named_by(self.advantage, {"step_rewards": None}).given
        if self.steps is not None and "step_rewards" not in asked:
            raise TypeError(
                "Recipe: steps are given, and no advantage that takes step_rewards. "
                "Pass advantage=advantages.step_credit."
            )
        rewards: dict[str, Any] = {}
        for source in self.terms():
            if (
                isinstance(source, Source | StepSource)
                and rewards.setdefault(source.name, source.reward) is not source.reward
            ):
                raise ValueError(
                    f"Recipe: two rewards are called {source.name!r}, and their values would be mixed up. "
                    "Name them: source(reward, 'name')."
                )
        check_runs(self.terms(), roots=(self.reward, self.steps))
        object.__setattr__(self, "__name__", self.name)
        columns = [term.name for term in self.terms() if isinstance(term, Column)]
        object.__setattr__(self, "__signature__", signature_for(self.sources.values(), columns))

    def terms(self) -> tuple[Term, ...]:
        """Return every term of reward and steps once, inputs before the terms computed from them."""
        roots = (self.reward,) if self.steps is None else (self.reward, self.steps)
        return tuple({id(term): term for root in roots for term in walk(root)}.values())

    @property
    def sources(self) -> dict[str, Any]:
        """Rewards by name, in order of appearance."""
        return {term.name: term.reward for term in self.terms() if isinstance(term, Source)}

    @property
    def step_sources(self) -> dict[str, Any]:
        """Process rewards by name, in order of appearance."""
        return {term.name: term.reward for term in self.terms() if isinstance(term, StepSource)}

    @property
    def scope(self) -> Scope:
        """Scope of the whole recipe; "row" if a plain reward function can compute it."""
        needed: list[Scope] = [term.scope for term in self.terms()]
        if any(part is not None for part in (self.advantage, self.sample_filter, self.steps)):
            needed.append("prompt")
        return max(needed, key=get_args(Scope).index)

    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """Score rows by TRL's reward contract; every part of the recipe must see one row.

        Raises:
            TypeError: some part needs the group, the batch or the run, or belongs to the advantage stage.
        """
        self._check_rows_only("a plain reward function", "Train it with rewardsmith.engines.trl.GRPOTrainer")
        rows = {"prompts": prompts, "completions": completions, **columns}
        values = evaluate(self.reward, row_context(self.sources, rows))
        return [None if math.isnan(value) else value for value in values.tolist()]

    def transform(self, source_rewards: Tensor, **context: Any) -> Tensor:
        """Map (B, K) source rewards to (B,) rewards, as our trainers' `transform`; they fill `context`."""
        return evaluate(self.reward, {**context, **_by_name(source_rewards, context["source_names"])})

    def credit(self, rewards: Tensor, **context: Any) -> Tensor:
        """Map (B,) rewards to (B,) or (B, T) advantages, as our trainers' `advantage`."""
        if self.advantage is None:
            raise TypeError("Recipe.credit: this recipe has no advantage. Give it one, or let the trainer use its own.")
        if self.steps is not None:
            batch: RewardBatch = context["batch"]
            known = {**context, **_by_name(batch.source_rewards, batch.source_names), **batch.step_rewards}
            context = {**context, "step_rewards": evaluate(self.steps, known)}
        return self.advantage(rewards, **named_by(self.advantage, context).given)

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of our TRL trainers that run this recipe."""
        options: dict[str, Any] = {"reward_funcs": self.sources, "transform": self.transform}
        if self.step_sources:
            options["process_rewards"] = self.step_sources
        if self.advantage is not None:
            options["advantage"] = self.credit
        if self.sample_filter is not None:
            options["sample_filter"] = self.sample_filter
        return options

    def to_verl(self, *, unscored: float | None) -> Callable[..., dict[str, float]]:
        """Return verl's `compute_score`; see `scoring.to_verl`.

        Raises:
            TypeError: not every part sees one row.
        """
        self._check_rows_only("verl's compute_score", "Register it with rewardsmith.engines.verl.register_recipe")
        return to_verl(self, unscored=unscored)

    def to_openrlhf(self, *, unscored: float | None, end_tokens: Sequence[str] = ()) -> Callable[..., dict[str, Any]]:
        """Return OpenRLHF's `reward_func`; see `scoring.to_openrlhf`.

        Raises:
            TypeError: not every part sees one row.
        """
        advice = "OpenRLHF chooses among its own estimators only. Train it with rewardsmith.engines.trl.GRPOTrainer"
        self._check_rows_only("OpenRLHF's reward_func", advice)
        return to_openrlhf(self, unscored=unscored, end_tokens=end_tokens)

    def split(self) -> Split:
        """Split into the part that a reward function can compute and the transforms that must wait for the gather.

        Raises:
            TypeError: a transform after the gather reads several terms, and one number per row is not enough.
        """
        later: list[Callable[..., Tensor]] = []
        term = self.reward
        while term.scope != "row":
            if not isinstance(term, Applied) or len(term.parts) > 1 or term.given:
                raise TypeError(
                    f"Recipe.split: {term} sees the {term.scope} and reads several terms, but only one number per row "
                    "passes the gather. Train it with rewardsmith.engines.trl.GRPOTrainer."
                )
            later.append(term.function)
            term = term.parts[0]
        return Split(Recipe(term, name=self.name), chain(*reversed(later)) if later else None)

    def _check_rows_only(self, user: str, advice: str) -> None:
        wide = [term for term in self.terms() if isinstance(term, Applied) and traits_of(term.function).scope != "row"]
        stage = [self.advantage, self.sample_filter, *self.step_sources.values()]
        if wide:
            what = f"{describe(wide[0].function)} needs the whole {traits_of(wide[0].function).scope}"
        elif extra := [part for part in stage if part is not None]:
            what = f"{describe(extra[0])} acts after the rewards are gathered"
        else:
            return
        raise TypeError(f"{self.name}: {what}, but {user} sees single rows, or those of one process. {advice}.")

    def canceled(self, advantage: Callable[..., Tensor] | None = None) -> list[Canceled]:
        """Return the parts that `advantage` cancels (its own if None): affine, with only affine parts after them.

        Below a sum only an offset is canceled: a factor there changes the summands' relative weight.
        """
        advantage = advantage or self.advantage
        return [] if advantage is None else list(canceled_parts(self.reward, advantage))

    def __str__(self) -> str:
        rows = [(name, " ", describe(reward)) for name, reward in {**self.sources, **self.step_sources}.items()]
        rows.append(("reward", "=", str(self.reward)))
        if self.steps is not None:
            rows.append(("steps", "=", str(self.steps)))
        rows += [(label, " ", describe(part)) for label, part in self._after().items()]
        runs = "any trainer, as a plain reward function" if self.scope == "row" else "runs in rewardsmith.engines.trl"
        rows.append(("scope", " ", f"{self.scope}: {runs}"))
        rows += [("canceled", " ", f"{found.part}: {found.reason}") for found in self.canceled()]
        width = max(len("advantage"), *(len(name) for name, _, _ in rows))
        return "\n".join([self.name, *(f"  {name:<{width}} {sign} {what}" for name, sign, what in rows)])

    def _repr_html_(self) -> str:
        text = escape(str(self))
        return f'<img src="{picture_uri(self.draw())}" alt="" style="max-width: 100%"><pre>{text}</pre>'

    def draw(self) -> Figure:
        """Draw the recipe from sources to loss, colored by scope, with dashed boxes for canceled parts."""
        roots = {"": self.reward} if self.steps is None else {"": self.reward, "steps": self.steps}
        return draw(self.terms(), roots, self._after(), {id(found.term) for found in self.canceled()})

    def _after(self) -> dict[str, Callable[..., Tensor]]:
        """Return the advantage and the filter by label, if any."""
        after = {"advantage": self.advantage, "filter": self.sample_filter}
        return {label: part for label, part in after.items() if part is not None}


def _by_name(source_rewards: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    return dict(zip(names, source_rewards.unbind(dim=1), strict=True))
