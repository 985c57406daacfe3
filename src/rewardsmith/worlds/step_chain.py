"""Chains of steps with a scorer that prefers filler; gold is 1 for the right steps in the right order, else 0.

A chain is given by tables, so the exact gold of a tabular policy follows without sampling. Seeds S and arms A are
dimensions of every tensor. Other letters: X states, O observations, U actions, B rollouts, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.worlds.streams import Streams, sample_index

HALVINGS = 50


class Rollouts(NamedTuple):
    """Sampled chains, all (…, T) or (…) with the same leading dimensions; a chain's steps come first, then nothing.

    observations: (…, T) int64 observation of the policy before each step.
    actions: (…, T) int64.
    step_rewards: (…, T) the process reward's noisy scores, NaN after a chain's end.
    step_mask: (…, T) True where there is a step.
    submitted: (…) 1.0 where the chain ended by itself, 0.0 where the horizon cut it.
    solved: (…) 1.0 where the goal was reached, else 0.0: the outcome reward, exact here.
    """

    observations: Tensor
    actions: Tensor
    step_rewards: Tensor
    step_mask: Tensor
    submitted: Tensor
    solved: Tensor


class Truth(NamedTuple):
    """The exact result of a policy; each (S, A).

    solved, submitted: probabilities that a chain reaches the goal, and that it ends before the horizon cuts it.
    length: expected number of steps.
    filler_share: expected filler steps over expected steps.
    """

    solved: Tensor
    submitted: Tensor
    length: Tensor
    filler_share: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class StepChain:
    """A small episodic task as tables; a chain starts in state 0, and state X means that it has ended.

    next_state: (S, X, U) int64 in 0…X.
    scores: (S, X, U) mean process reward of a step.
    right: (S, X, U) True where an action is right.
    solves: (S, X, U) True where an action reaches the goal.
    filler: (U,) True for actions that change nothing.
    observation: (X,) int64 in 0…O−1; the policy cannot distinguish states that share one.
    horizon: T, steps after which a chain is cut.
    noise_std: spread of the process reward's independent errors, in points of the score.
    """

    next_state: Tensor
    scores: Tensor
    right: Tensor
    solves: Tensor
    filler: Tensor
    observation: Tensor
    horizon: int
    noise_std: float = 0.08

    @property
    def n_observations(self) -> int:
        """O."""
        return int(self.observation.max()) + 1

    @property
    def n_actions(self) -> int:
        """Number of actions U; where a chain ends by itself, the last two are filler and answer."""
        return self.filler.shape[0]

    @classmethod
    def sample(
        cls,
        streams: Streams,
        *,
        n_goals: int = 4,
        n_contents: int = 4,
        horizon: int = 12,
        right_score: float = 0.85,
        filler_score: float = 0.90,
        noise_std: float = 0.08,
    ) -> StepChain:
        """Draw chains of free length, with sub-goals in a hidden order, a filler action, and an answer at the end.

        In state (progress, broken) one content action is right and advances; any other breaks the chain for good. A
        filler changes nothing and scores as well as a right step, or better. An answer solves the task where all goals
        are done and nothing is broken. The policy sees the state and not the time, so padding risks being cut.

        Args:
            n_goals: sub-goals, all needed before the answer.
            n_contents: content actions, of which one is right at each goal, drawn per seed.
            horizon: T.
            right_score, filler_score: mean process scores. A wrong step gets 0.25, an answer 0.90 if right, else 0.20.
        """
        check_range("StepChain.sample", "horizon", horizon, n_goals + 1, math.inf)
        key = streams.randint(n_contents, n_goals)  # (S, goals)
        n_seeds, intact = len(streams), n_goals + 1
        filler, answer = n_contents, n_contents + 1
        n_states, n_actions = 2 * intact, n_contents + 2  # intact states by progress, then broken ones likewise
        shape = (n_seeds, n_states, n_actions)
        here = torch.arange(n_states)
        right = torch.zeros(shape, dtype=torch.bool)
        right[:, :n_goals].scatter_(-1, key[..., None], True)
        right[:, n_goals, answer] = True
        next_state = torch.where(here < intact, here + intact, here)[:, None].repeat(n_seeds, 1, n_actions)
        next_state[:, :n_goals] = torch.where(right[:, :n_goals], here[:n_goals, None] + 1, next_state[:, :n_goals])
        next_state[:, :, filler], next_state[:, :, answer] = here, n_states
        scores = torch.full(shape, 0.25, dtype=torch.float64).masked_fill(right, right_score)
        scores[:, :, filler], scores[:, :, answer] = filler_score, 0.20
        scores[:, n_goals, answer] = 0.90
        solves = torch.zeros(shape, dtype=torch.bool)
        solves[:, n_goals, answer] = True
        return cls(
            next_state, scores, right, solves, torch.arange(n_actions) == filler, here, horizon, noise_std
        )  # fmt: skip

    @classmethod
    def fixed_turns(
        cls, streams: Streams, *, n_turns: int = 6, n_actions: int = 6, n_lures: int = 2, noise_std: float = 0.08
    ) -> StepChain:
        """Draw chains of a fixed number of turns, solved where every turn is right; the policy sees only the turn.

        The mean process score of a right action is 0.85, of a wrong one 0.20, and of a lure 0.95.

        Args:
            n_turns: turns, each with one right action drawn per seed.
            n_actions: actions per turn.
            n_lures: turns, drawn per seed, at which one wrong action is a lure.
        """
        check_range("StepChain.fixed_turns", "n_lures", n_lures, 0, n_turns)
        check_range("StepChain.fixed_turns", "n_actions", n_actions, 2, math.inf)
        key = streams.randint(n_actions, n_turns)  # (S, turns)
        lure = (key + 1 + streams.randint(n_actions - 1, n_turns)) % n_actions  # never the right one
        lured = streams.randperm(n_turns) < n_lures  # (S, turns)
        hit = torch.zeros(len(streams), n_turns, n_actions, dtype=torch.bool).scatter_(-1, key[..., None], True)
        drawn = torch.zeros_like(hit).scatter_(-1, lure[..., None], True) & lured[..., None]
        turn_scores = torch.full(hit.shape, 0.20, dtype=torch.float64)
        turn_scores = turn_scores.masked_fill(hit, 0.85).masked_fill(drawn, 0.95)
        turn = torch.arange(n_turns)
        intact = torch.where(hit, turn[:, None] + 1, turn[:, None] + 1 + n_turns)  # a miss moves to the broken copy
        broken = (turn[:, None] + 1 + n_turns).expand_as(hit)
        next_state = torch.cat([intact, broken], dim=1).clone()  # (S, 2·turns, U)
        next_state[:, n_turns - 1] = next_state[:, 2 * n_turns - 1] = 2 * n_turns
        solves = torch.zeros_like(next_state, dtype=torch.bool)
        solves[:, n_turns - 1] = hit[:, n_turns - 1]
        return cls(
            next_state, turn_scores.repeat(1, 2, 1), hit.repeat(1, 2, 1), solves,
            torch.zeros(n_actions, dtype=torch.bool), turn.repeat(2), n_turns, noise_std,
        )  # fmt: skip

    def roll(self, policy: Tensor, uniform: Tensor, noise: Tensor) -> Rollouts:
        """Sample chains.

        Args:
            policy: (S, A, O, U) probabilities.
            uniform: (S, A or 1, B, T) in [0, 1); with 1, all arms share their draws.
            noise: (S, A or 1, B, T) standard normal errors of the process reward.

        Returns:
            Rollouts with leading dimensions (S, A, B).
        """
        n_seeds, n_states, n_actions = self.next_state.shape
        check_shape("StepChain.roll", "policy", policy, n_seeds, None, self.n_observations, n_actions)
        size = (n_seeds, policy.shape[1], uniform.shape[2])
        seed = torch.arange(n_seeds)[:, None, None]
        row = (seed * policy.shape[1] + torch.arange(policy.shape[1])[:, None]) * self.n_observations  # (S, A, 1)
        choices, table, ends = policy.flatten(0, 2), self.next_state.flatten(), n_states
        look = torch.cat([self.observation, self.observation[:1]])  # the observation of an ended chain is not used
        state = torch.zeros(size, dtype=torch.int64)
        states, actions = [], []
        for time in range(self.horizon):
            action = sample_index(choices[row + look[state]], uniform[..., time])
            states.append(state)
            actions.append(action)
            moved = table[(seed * n_states + state.clamp(max=n_states - 1)) * n_actions + action]
            state = torch.where(state == ends, ends, moved)
        visited, taken = torch.stack(states, dim=-1), torch.stack(actions, dim=-1)  # (S, A, B, T)
        mask = visited != ends
        cell = (seed[..., None] * n_states + visited.clamp(max=n_states - 1)) * n_actions + taken
        scores = self.scores.flatten()[cell] + self.noise_std * noise
        solved = (self.solves.flatten()[cell] & mask).any(dim=-1)
        return Rollouts(
            observations=look[visited],
            actions=taken,
            step_rewards=torch.where(mask, scores, torch.nan),
            step_mask=mask,
            submitted=(state == ends).to(policy.dtype),
            solved=solved.to(policy.dtype),
        )

    def truth(self, policy: Tensor) -> Truth:
        """Compute the exact result of policies (S, A, O, U), by the distribution over states step after step."""
        n_seeds, n_states, n_actions = self.next_state.shape
        check_shape("StepChain.truth", "policy", policy, n_seeds, None, self.n_observations, n_actions)
        moves = torch.nn.functional.one_hot(self.next_state, n_states + 1).to(policy.dtype)  # (S, X, U, X + 1)
        acting = policy[:, :, self.observation]  # (S, A, X, U)
        step = torch.einsum("saxu,sxuy->saxy", acting, moves)  # (S, A, X, X + 1)
        solving = torch.einsum("saxu,sxu->sax", acting, self.solves.to(policy.dtype))
        padding = acting @ self.filler.to(policy.dtype)  # (S, A, X)
        mass = torch.zeros_like(padding)
        mass[..., 0] = 1.0
        visits = torch.zeros_like(mass)
        for _ in range(self.horizon):
            visits = visits + mass
            mass = torch.einsum("sax,saxy->say", mass, step)[..., :n_states]
        length = visits.sum(dim=-1)
        return Truth(
            solved=(visits * solving).sum(dim=-1),
            submitted=1 - mass.sum(dim=-1),
            length=length,
            filler_share=(visits * padding).sum(dim=-1) / length,
        )

    def warm_start(self, *, solved: float, submitted: float = 0.93) -> Tensor:
        """Return logits of a partly trained policy that solves and submits this often.

        It prefers each right step by one common amount, found by bisection, and answers every other time once all goals
        are done. It answers broken chains as often as `submitted` requires. All else is equally likely.

        Args:
            solved: exact probability of reaching the goal.
            submitted: exact probability of ending before the horizon; not used where chains end by themselves.

        Returns:
            (S, 1, O, U) logits.

        Raises:
            ValueError: no such policy exists.
        """
        free = bool(self.filler.any())
        last = self.solves.any(dim=-1).any(dim=0)  # (X,) where the goal is one action away

        def logits(skill: float, giving_up: float) -> Tensor:
            table = skill * self.right.to(torch.float64)
            if free:
                table[:, last] = math.log(self.n_actions - 1) * self.right[:, last].to(torch.float64)
                table[:, ~self.right.any(dim=-1).any(dim=0), -1] = giving_up
            seen = torch.zeros(table.shape[0], self.n_observations, self.n_actions, dtype=torch.float64)
            return seen.index_copy(1, self.observation, table)[:, None]

        skill = _bisect(lambda value: float(self.truth(logits(value, 0.0).softmax(-1)).solved[0, 0]), solved, "solved")
        if not free:
            return logits(skill, 0.0)
        giving_up = _bisect(
            lambda value: float(self.truth(logits(skill, value).softmax(-1)).submitted[0, 0]), submitted, "submitted"
        )
        return logits(skill, giving_up)


def _bisect(reached: Callable[[float], float], target: float, name: str) -> float:
    """Find where a rising function reaches a target, for logits between −12 and 12."""
    low, high = -12.0, 12.0
    if not reached(low) <= target <= reached(high):
        raise ValueError(
            f"StepChain.warm_start: {name} is {target}, but such policies span "
            f"[{reached(low):.3g}, {reached(high):.3g}]. Choose a value in that range."
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) > target else (middle, high)
    return (low + high) / 2
