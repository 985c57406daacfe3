"""A right answer by a skipped step is worth having while right answers are rare, and not once sound ones are common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain, Results
from rewardsmith.transforms import flawed_advantage, flawed_positive_penalty
from rewardsmith.worlds import ChainDraws, ShortcutChain, Streams

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CRITERION = All(
    PairedGain("reliable/fapo", over="reliable/baseline", at_least=0.12),
    PairedGain("correct_early/fapo", over="correct_early/baseline", at_least=-0.03, at_most=0.03),
    AtMost("early_ratio/as_wrong", 0.5),  # correct_early/as_wrong over correct_early/fapo
    AtMost("flawed_share/fapo", 0.08),
    AtLeast("sign_agreement/closed_form", 1.0),
    AtLeast("sign_agreement/group_zscore", 1.0),
    # The two that must fail: a flipped sign and a detector that knows nothing.
    PairedGain("reliable/sign_flip", over="reliable/baseline", at_most=0.12),
    AtLeast("flawed_share/sign_flip", 0.08),
    PairedGain("reliable/useless_detector", over="reliable/baseline", at_most=0.12),
    AtLeast("flawed_share/useless_detector", 0.08),
)


class Arm(NamedTuple):
    """λ, and how often the detector finds a flaw and accuses a sound answer."""

    lam: float
    found: float = 1.0
    accused: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """Chains of steps that may be skipped, and a policy that starts out fond of skipping."""

    n_prompts: int = 16  # prompts
    n_steps: int = 5  # K, steps of a solution
    n_wrong: int = 3  # wrong actions per step
    cost: float = 0.5  # chance that skipping everything gives a wrong answer
    right_logit: float = 0.5  # of the right action, at the start
    jump_logit: float = 1.0  # of skipping, at the start
    found: float = 0.8  # share of flaws that the imperfect detector finds
    accused: float = 0.1  # share of sound answers that it accuses
    accused_at_random: float = 0.3  # share of sound answers that the useless detector accuses; it finds no flaw
    group_size: int = 8  # G, solutions sampled per prompt and step
    updates: int = 300  # gradient steps
    early: int = 35  # the step of the early comparison
    learning_rate: float = 0.05  # of Adam, logits per step

    def arms(self, broken: bool) -> dict[str, Arm]:
        """Every arm by its name."""
        return {
            "baseline": Arm(0.0),
            "half": Arm(0.5),
            "fapo": Arm(-1.0 if broken else 1.0),
            "as_wrong": Arm(2.0),
            "sign_flip": Arm(-1.0),
            "imperfect_detector": Arm(1.0, self.found, self.accused),
            "useless_detector": Arm(1.0, 0.0, self.accused_at_random),
        }


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Exact chances of a right, a flawed and a reliable answer under the policy that each arm trains."""
    arms = world.arms(broken)
    chain = ShortcutChain(n_steps=world.n_steps, n_wrong=world.n_wrong, cost=world.cost)
    early, final = train(chain, list(arms.values()), world, Streams(seeds))
    correct, reliable = chain.correct(final), chain.reliable(final)
    table = {
        "correct_early": chain.correct(early),
        "correct": correct,
        "reliable": reliable,
        "flawed_share": 1 - reliable / correct,
    }
    fixed = signs(world.group_size, arms["fapo"].lam)
    rows = []
    for index in range(len(seeds)):
        row = {
            f"{metric}/{arm}": float(value)
            for metric, values in table.items()
            for arm, value in zip(arms, values[index], strict=True)
        }
        rows.append(row | fixed | {"early_ratio/as_wrong": row["correct_early/as_wrong"] / row["correct_early/fapo"]})
    return rows


def train(chain: ShortcutChain, arms: list[Arm], world: World, streams: Streams) -> tuple[Tensor, Tensor]:
    """GRPO without a KL term, seeds and arms side by side on one set of draws; the policies (S, A, P, K, U) at the
    early step and at the end."""
    shape = (world.n_prompts, world.group_size)
    start = chain.logits(len(streams), len(arms), world.n_prompts, right=world.right_logit, jump=world.jump_logit)
    optimizer = torch.optim.Adam([start], lr=world.learning_rate, maximize=True)
    early = start.softmax(dim=-1)
    for update in range(world.updates):
        policy = start.softmax(dim=-1)
        early = policy if update == min(world.early, world.updates - 1) else early
        draws = chain.sample(policy, streams.rand(1, *shape, chain.n_steps), streams.rand(1, *shape))
        rewards = paid(draws, arms, streams.rand(*shape))
        advantages = group_zscore(rewards.flatten(), group_size=world.group_size).view_as(rewards)  # (S, A, P, G)
        start.grad = gradient(policy, draws.actions, advantages)
        optimizer.step()
    return early, start.softmax(dim=-1)


def paid(draws: ChainDraws, arms: list[Arm], luck: Tensor) -> Tensor:
    """(S, A, P, G) each arm's reward, its detector looking at the same answers with the same luck (S, P, G)."""
    rewards = []
    for index, arm in enumerate(arms):
        jumped, correct = draws.jumped[:, index], draws.correct[:, index]
        accused = luck < torch.where(jumped, arm.found, arm.accused)
        penalized = flawed_positive_penalty(correct.flatten(), accused.flatten(), lam=arm.lam)
        rewards.append(penalized.view_as(correct))
    return torch.stack(rewards, dim=1)


def gradient(policy: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
    """(S, A, P, K, U) gradient of the mean of A · Σ_k log π(a_k) over a group."""
    by_step = advantages[..., None].expand(actions.shape).transpose(-1, -2) / advantages.shape[-1]  # (S, A, P, K, G)
    credit = torch.zeros_like(policy).scatter_add(-1, actions.transpose(-1, -2), by_step)
    return credit - policy * by_step.sum(dim=-1, keepdim=True)


def signs(group_size: int, lam: float) -> dict[str, float]:
    """How often a flawed row's advantage has the sign of n − p, over all groups with one: in closed form, and as GRPO
    computes it."""
    counts = [(p, f, group_size - p - f) for p in range(group_size) for f in range(1, group_size - p + 1)]
    sound, flawed, wrong = torch.tensor(counts, dtype=torch.float64).T
    closed = flawed_advantage(sound / group_size, flawed / group_size, wrong / group_size, lam=lam)
    right = torch.tensor([[1.0] * (p + f) + [0.0] * n for p, f, n in counts], dtype=torch.float64)
    flaws = torch.tensor([[0.0] * p + [1.0] * f + [0.0] * n for p, f, n in counts], dtype=torch.float64)
    rewards = flawed_positive_penalty(right.flatten(), flaws.flatten(), lam=lam)
    advantages = group_zscore(rewards, group_size=group_size).view_as(right)
    seen = advantages.gather(1, sound.long()[:, None])[:, 0]  # the first flawed row of each group
    wanted = (wrong - sound).sign()
    return {
        "sign_agreement/closed_form": float((closed.sign() == wanted).double().mean()),
        "sign_agreement/group_zscore": float((seen.sign() == wanted).double().mean()),
    }


def figure(results: Results, axes: Axes) -> None:
    """Where each arm's answers end: reliable, right but flawed, wrong."""
    arms = [name.partition("/")[2] for name in results if name.startswith("reliable/")][::-1]
    names = {
        "fapo": "FAPO (λ = 1)",
        "half": "λ = ½",
        "baseline": "correctness only (λ = 0)",
        "as_wrong": "flawed = wrong",
    }
    mean = {key: sum(values) / len(values) for key, values in results.items()}
    reliable = [mean[f"reliable/{arm}"] for arm in arms]
    flawed = [mean[f"correct/{arm}"] - mean[f"reliable/{arm}"] for arm in arms]
    axes.barh(range(len(arms)), reliable, label="right and sound")
    axes.barh(range(len(arms)), flawed, left=reliable, label="right but flawed", color="C1")
    axes.set_yticks(range(len(arms)), [names.get(arm, arm.replace("_", " ")) for arm in arms])
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("share of answers after training")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.12), ncols=2)
