"""What every transform promises, asked of each name that the room exports."""

import importlib
import math
import pickle
import pkgutil
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith import transforms as room
from rewardsmith.transforms import easiest, links, scoring_rules, shape, steps
from rewardsmith.types import Traits, traits_of

NAN = math.nan
GROUP, PROMPTS = 4, 6
ROWS = GROUP * PROMPTS

# Each transform, configured, and the columns it reads beside the rewards.
CASES = {
    "ConfidenceAdjusted": [
        (partial(room.ConfidenceAdjusted, form=form), ("confidence",)) for form in ("difference", "threshold")
    ],
    "GRPOLambda": [(partial(room.GRPOLambda(fraction=1.0), group_size=GROUP), ("lengths", "truncated"))],
    "RunningNorm": [(partial(room.RunningNorm, mode=mode), ()) for mode in ("meanstd", "clip", "minmax")],
    "add_outcome": [(partial(room.add_outcome, weight=0.5), ("rewards", "step_mask"))],
    "backward_correction": [(room.backward_correction, ("false_positive_rate", "false_negative_rate"))],
    "brier_reward": [(room.brier_reward, ("confidence",))],
    "ceiling": [(room.ceiling, ())],
    "chain": [(room.chain(room.par, partial(room.clip_rewards, low=0.1, high=0.9)), ("ref_rewards",))],
    "clip_rewards": [(partial(room.clip_rewards, low=-1.0, high=1.0), ())],
    "clip_steps": [(partial(room.clip_steps, threshold=0.2), ("step_mask",))],
    "combine_principles": [
        (partial(room.combine_principles, how=how, weights=[1.0, -2.0, 0.5], reference=torch.ones(2, 3)), ())
        for how in ("sum_logodds", "mean_prob", "min")
    ],
    "delta_steps": [(partial(room.delta_steps, terminal=terminal), ("step_mask",)) for terminal in ("keep", "drop")],
    "flawed_positive_penalty": [
        (partial(room.flawed_positive_penalty, lam=lam), ("flawed",)) for lam in (-1.0, 0.0, 1.0)
    ],
    "forward_weights": [(room.forward_weights, ("false_negative_rate",))],
    "gate": [(room.gate, ("condition",))],
    "gated_bonus": [(room.reads(room.gated_bonus, bonus="confidence"), ("confidence",))],
    "gate_by_outcome": [(partial(steps.gate_by_outcome, weight=0.5), ("rewards", "step_mask"))],
    "gated_sum": [
        (partial(room.gated_sum, thresholds=[0.0, 0.0, -1.0], gate_sign=sign), ()) for sign in ("all", "positive")
    ],
    # without ties: all prompts are chosen
    "grpo_lambda": [
        (partial(easiest.grpo_lambda, group_size=GROUP, fraction=1.0, generator=torch.Generator()), ("lengths",))
    ],
    "is_above": [(partial(shape.is_above, threshold=0.2), ())],
    "is_below": [(partial(shape.is_below, threshold=0.2), ())],
    "length_penalty": [(room.length_penalty, ("lengths",))],
    "length_shaped": [
        (partial(room.length_shaped, group_size=GROUP, link=link, stats=stats), ("lengths", "truncated"))
        for link in ("sigmoid_z", "linear", "cosine")
        for stats in ("correct", "group")
    ],
    "linear_reward": [(scoring_rules.linear_reward, ("confidence",))],
    "log_score_reward": [(partial(scoring_rules.log_score_reward, eps=eps), ("confidence",)) for eps in (0.0, 0.01)],
    "log_sigmoid_shaping": [(room.log_sigmoid_shaping, ("ref_rewards",))],
    "logical_and": [(partial(room.logical_and, weights=[1.0, 0.0, 2.0]), ())],
    "logical_or": [(room.logical_or, ())],
    "mean_minus_std": [(room.mean_minus_std, ())],
    "mean_minus_variance": [(room.mean_minus_variance, ())],
    "member_mean": [(room.member_mean, ())],
    "member_quantile": [(partial(room.member_quantile, level=level), ()) for level in (0.0, 0.3, 0.5, 1.0)],
    "mixture_score": [
        (partial(room.mixture_score, center=[0.1, 0.0, -0.2], scale=[1.0, 2.0, 0.5], link=link), ("weights",))
        for link in ("sigmoid", "identity")
    ],
    "normalize_sources": [(partial(room.normalize_sources, group_size=GROUP), ())],
    "overlong_penalty": [
        (partial(room.overlong_penalty, low=200, high=400, apply_to=which), ("lengths",))
        for which in ("correct", "all", "incorrect")
    ],
    "par": [(room.par, ("ref_rewards",))],
    "product": [(partial(room.product, least=least), ()) for least in (-math.inf, 0.0)],
    "pure_link": [(partial(links.pure_link, link=link), ()) for link in ("sigmoid", "tanh", "poly", "logsigmoid")],
    "reads": [(room.reads(room.length_penalty, lengths="condition"), ("condition",))],
    "reference_link": [
        (partial(links.reference_link, link=link, aggregate=aggregate), ("ref_rewards",))
        for link in ("sigmoid", "tanh", "poly", "identity", "logsigmoid")
        for aggregate in ("mean", "quantile")
    ],
    "relative_length_penalty": [
        (partial(room.relative_length_penalty, group_size=GROUP, stats=stats), ("lengths",))
        for stats in ("correct", "group")
    ],
    "renorm": [
        (partial(room.renorm, **options), ("rewards", "step_mask"))
        for options in ({"per_step_mean": True}, {"weight": 0.5}, {"weight": 0.5, "center": (0.0, 0.0)})
    ],
    "scale_sources": [(partial(room.scale_sources, low=[-1.0, -1.0, 0.0], high=[1.0, 2.0, 1.0]), ())],
    "scheduled_scale": [
        (partial(room.scheduled_scale, global_step=30, start=2.0, end=-1.0, until=75, shape=shape), ())
        for shape in ("linear", "two_stage")
    ],
    "rescale": [(partial(room.rescale, scale=-2.0, shift=0.3), ())],
    "robust_mix": [
        *((partial(room.robust_mix, nominal=nominal), ()) for nominal in ("mean", 1)),
        (partial(room.robust_mix, coef=0.3, nominal="min_sigma"), ("std",)),
    ],
    "spherical_reward": [(scoring_rules.spherical_reward, ("confidence",))],
    "weighted_sum": [
        (partial(room.weighted_sum, weights=[1.0, -2.0, 0.5]), ()),
        (room.weighted_sum, ("weights",)),
    ],
    "zscore_members": [
        (
            partial(room.zscore_members, reference=torch.tensor([[-1.0, 0.0, 2.0], [1.5, 3.0, -2.0], [0.0, 4.0, 0.5]])),
            (),
        )
    ],
}
OTHERS = {"branched", "cross_view_rewards", "easiest_prompts", "gated_step_sum", "priority_gates"}
"""They declare traits, for recipes, but do not map rewards alone to rewards alone; they have tests of their own."""
STEPS = {"add_outcome", "clip_steps", "delta_steps", "gate_by_outcome", "renorm"}
SOURCES = STEPS | {
    "combine_principles",
    "gated_sum",
    "logical_and",
    "logical_or",
    "mean_minus_std",
    "mean_minus_variance",
    "member_mean",
    "member_quantile",
    "mixture_score",
    "normalize_sources",
    "product",
    "robust_mix",
    "scale_sources",
    "weighted_sum",
    "zscore_members",
}
VERDICTS = {
    "GRPOLambda",
    "brier_reward",
    "flawed_positive_penalty",
    "forward_weights",
    "grpo_lambda",
    "length_shaped",
    "linear_reward",
    "log_score_reward",
    "spherical_reward",
}
LOG_PROBABILITIES = {"logical_and", "logical_or"}
FLAT = [
    pytest.param(name, *case, id=f"{name}-{index}") for name, cases in CASES.items() for index, case in enumerate(cases)
]
each_transform = pytest.mark.parametrize(("name", "transform", "columns"), FLAT)


def fresh(transform):
    """Modules with state start anew at every use."""
    return transform() if isinstance(transform, partial) and isinstance(transform.func, type) else transform


def fit(name, rewards):
    """Rewards of the kind that a transform takes."""
    if name in VERDICTS:
        return torch.where(rewards.isnan(), NAN, (rewards > 0).to(rewards))
    return -rewards.abs() if name in LOG_PROBABILITIES else rewards


def inputs(name, columns, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (ROWS, 3) if name in SOURCES else (ROWS,)
    rewards = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    rewards = fit(name, rewards)
    every = {
        "ref_rewards": torch.randn(ROWS, 5, generator=generator, dtype=torch.float64).to(dtype),
        "lengths": torch.randint(100, 600, (ROWS,), generator=generator),
        "condition": torch.rand(ROWS, generator=generator) < 0.5,
        "false_positive_rate": 0.4 * torch.rand(ROWS, generator=generator, dtype=torch.float64),
        "false_negative_rate": 0.4 * torch.rand(ROWS, generator=generator, dtype=torch.float64),
        "confidence": torch.rand(ROWS, generator=generator, dtype=torch.float64),
        "flawed": torch.rand(ROWS, generator=generator) < 0.5,
        "truncated": torch.rand(ROWS, generator=generator) < 0.2,
        "weights": torch.rand(ROWS, 3, generator=generator, dtype=torch.float64),
        "std": torch.rand(ROWS, 3, generator=generator, dtype=torch.float64),
        "step_mask": torch.ones(ROWS, 3).bool(),
        "rewards": torch.rand(ROWS, generator=generator, dtype=torch.float64),
    }
    return rewards, {column: every[column] for column in columns}


def test_every_transform_is_under_contract():
    files = [importlib.import_module(f"{room.__name__}.{file.name}") for file in pkgutil.iter_modules(room.__path__)]
    declared = {
        name
        for file in files
        for name, value in vars(file).items()
        if hasattr(value, "__traits__") and value.__module__ == file.__name__
    }
    built = {"Chain": "chain", "Reads": "reads"}  # classes that functions make
    assert {built.get(name, name) for name in declared} - OTHERS == set(CASES)
    assert sorted(room.__all__) == list(room.__all__)


@each_transform
def test_it_declares_traits(name, transform, columns):
    assert isinstance(traits_of(fresh(transform)), Traits)


@each_transform
def test_it_keeps_nan_and_scores_the_rest(name, transform, columns):
    rewards, context = inputs(name, columns)
    rewards[[0, 5]] = NAN
    if "rewards" in context:  # an outcome counts also where no step is scored
        context["rewards"][[0, 5]] = NAN
    unscored = fresh(transform)(rewards, **context).isnan().reshape(ROWS, -1).all(dim=1)
    assert unscored.nonzero().flatten().tolist() == [0, 5]


@each_transform
def test_it_does_not_mutate_its_inputs(name, transform, columns):
    rewards, context = inputs(name, columns)
    before = rewards.clone(), {key: value.clone() for key, value in context.items()}
    fresh(transform)(rewards, **context)
    assert torch.equal(rewards, before[0])
    assert all(torch.equal(context[key], before[1][key]) for key in context)


@each_transform
def test_permuting_prompts_permutes_its_output(name, transform, columns):
    rewards, context = inputs(name, columns)
    order = torch.randperm(PROMPTS, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(ROWS).view(PROMPTS, GROUP)[order].flatten()
    permuted = fresh(transform)(rewards[rows], **{key: value[rows] for key, value in context.items()})
    assert_close(permuted, fresh(transform)(rewards, **context)[rows])


@each_transform
def test_it_pickles(name, transform, columns):
    rewards, context = inputs(name, columns)
    copied = pickle.loads(pickle.dumps(fresh(transform)))
    assert_close(copied(rewards, **context), fresh(transform)(rewards, **context))


@each_transform
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_returns_the_dtype_it_was_given_at_that_precision(name, transform, columns, dtype):
    rewards, context = inputs(name, columns, dtype=dtype)
    got = fresh(transform)(rewards, **context)
    exact = fresh(transform)(rewards.double(), **context)  # the same rounded inputs, computed in float64
    assert got.dtype == dtype
    assert_close(got, exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


@each_transform
def test_its_gradient_is_finite_under_extreme_rewards(name, transform, columns):
    rewards, context = inputs(name, columns, dtype=torch.float32)
    if name not in VERDICTS:
        rewards[:8] = torch.tensor([1e30, -1e30, 0.0, 1e-30, 3e38, 3e38, -3e38, 0.0]).reshape(
            8, *[1] * (rewards.ndim - 1)
        )
    rewards[9] = NAN
    rewards = fit(name, rewards).requires_grad_()
    fresh(transform)(rewards, **context).nansum().backward()
    assert rewards.grad.isfinite().all()  # the unscored row too: dropped from the loss, it must not poison a model


@pytest.mark.parametrize(
    ("name", "transform", "columns"),
    [p for p in FLAT if p.values[0] not in VERDICTS],  # which are 0 or 1
)
def test_infinite_rewards_leave_other_rows_alone(name, transform, columns):
    rewards, context = inputs(name, columns)
    rewards[0], rewards[4] = math.inf, -math.inf
    rewards = fit(name, rewards)
    got = fresh(transform)(rewards, **context)
    others = torch.tensor([row for row in range(ROWS) if row not in (0, 4)])
    assert got[others].isfinite().all()


@pytest.mark.parametrize(("name", "transform", "columns"), [p for p in FLAT if traits_of(fresh(p.values[1])).bounded])
def test_it_stays_within_the_bounds_it_declares(name, transform, columns):
    low, high = traits_of(fresh(transform)).bounded
    rewards, context = inputs(name, columns)
    got = fresh(transform)(fit(name, 100 * rewards), **context)
    assert got.min() >= low
    assert got.max() <= high
