"""Check identities between token rewards, values and whole responses on a language model that can be listed.

Arrays of tokens are (..., N, T): all N = V^T responses of T tokens of V, in lexicographic order, as
`worlds.prefix_tree` lists them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range

Array = NDArray[np.float64]


def soft_value_identity_error(logps: ArrayLike, ref_logps: ArrayLike, *, beta: float = 1.0) -> float:
    """Return the largest error of the identity that makes partial sums of an implicit reward values of prefixes.

        q_t = Σ_{i≤t} β log π(y_i)/π_ref(y_i) = β log E_{π_ref}[ exp(r(y)/β) | y_≤t ]

    Yuan et al. 2024, arXiv:2412.01981, Prop. 1. It holds for any two models, so an error beyond rounding means that
    they do not read the same tokens, or that a log-probability is not normalized.

    Args:
        logps, ref_logps: (..., N, T) log-probabilities of tokens.

    >>> even = np.log(np.full((4, 2), 0.5))
    >>> soft_value_identity_error(np.log([[0.9, 0.2], [0.9, 0.8], [0.1, 0.5], [0.1, 0.5]]), even) < 1e-12
    True
    """
    policy, ref, n_tokens = _listed("soft_value_identity_error", logps, ref_logps)
    ratio = policy - ref
    values, outcome = ratio.cumsum(axis=-1), ratio.sum(axis=-1)
    length, worst = ref.shape[-1], 0.0
    for t in range(1, length + 1):
        shape = *ref.shape[:-2], n_tokens**t, -1  # responses that share their first t tokens
        rest = ref[..., t:].sum(axis=-1).reshape(shape)
        soft = np.logaddexp.reduce(rest + outcome.reshape(shape), axis=-1) - np.logaddexp.reduce(rest, axis=-1)
        worst = max(worst, float(np.abs(beta * (values[..., t - 1].reshape(shape) - soft[..., None])).max()))
    return worst


def reward_cap(probability: ArrayLike, *, beta: float) -> Array:
    """Return the highest mean implicit reward that a set of responses can have: β log 1/p.

    Since E_{π_ref}[exp(r/β)] = 1 for r = β log π/π_ref, the mean of r over responses of which the reference gives one
    with probability p is at most β log 1/p. At β = 0.05 and p = ½ σ(r) ≤ 0.51: rank by r, and read no probability.

    Args:
        probability: (...) p, such as the share of right samples of the reference.

    >>> reward_cap([0.5, 1.0], beta=0.05).round(4).tolist()
    [0.0347, 0.0]
    """
    p = np.array(probability, dtype=np.float64)
    for end in (p.min(initial=1.0), p.max(initial=0.0)):
        check_range("reward_cap", "probability", float(end), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        cap: Array = np.abs(beta * np.log(p))
    return cap


def per_state_equivalence_gap(logps: ArrayLike, ref_logps: ArrayLike, *, w: float) -> Array:
    """Return how far the teacher that is optimal at every state is from the optimum over whole responses.

        KL( π* ‖ π° )    π*(v|s) ∝ π(v|s)^w π_ref(v|s)^{1−w} at every prefix s,    π°(y) ∝ π(y)^w π_ref(y)^{1−w}

    Zhang et al. 2025, arXiv:2503.02832 (AlignDistil), whose theorem holds state by state: the optimum weighs a token by
    what may follow it, too. They are equal for w = 0 and 1.

    Args:
        logps, ref_logps: (..., N, T) log-probabilities of tokens.
        w: 1 + α of `objectives.extrapolated_logits` with the reference as the negative model.

    Returns:
        (...) in nats, one per prompt.

    >>> even = np.log(np.full((4, 2), 0.5))
    >>> tilted = np.log([[0.9, 0.2], [0.9, 0.8], [0.1, 0.5], [0.1, 0.5]])
    >>> [round(per_state_equivalence_gap(tilted, even, w=w).item(), 4) for w in (1.0, 2.0)]
    [0.0, 0.0005]
    """
    policy, ref, n_tokens = _listed("per_state_equivalence_gap", logps, ref_logps)
    mixed = w * policy + (1 - w) * ref
    lead, length = mixed.shape[:-2], mixed.shape[-1]
    teacher = np.zeros(mixed.shape[:-1])
    for t in range(length):
        tokens = mixed[..., t].reshape(*lead, n_tokens**t, n_tokens, -1)  # prefix, its next token, what follows
        norm = np.logaddexp.reduce(tokens[..., :1], axis=-2, keepdims=True)
        teacher += (tokens - norm).reshape(teacher.shape)
    optimum = mixed.sum(axis=-1)
    optimum = optimum - np.logaddexp.reduce(optimum, axis=-1, keepdims=True)
    gap: Array = (np.exp(teacher) * (teacher - optimum)).sum(axis=-1)
    return gap


def _listed(caller: str, logps: ArrayLike, ref_logps: ArrayLike) -> tuple[Array, Array, int]:
    """Return both as float64, and V."""
    policy, ref = np.array(logps, dtype=np.float64), np.array(ref_logps, dtype=np.float64)
    n_tokens = round(policy.shape[-2] ** (1 / policy.shape[-1])) if policy.ndim > 1 and policy.size else 0
    if policy.shape != ref.shape or not n_tokens or n_tokens ** policy.shape[-1] != policy.shape[-2]:
        raise ValueError(
            f"{caller}: got shapes {policy.shape} and {ref.shape}. Pass (..., V^T, T), all responses of T tokens of V, "
            "in lexicographic order."
        )
    return policy, ref, n_tokens
