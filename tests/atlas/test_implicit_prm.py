"""Outcome-trained log-ratios: the world by loops, and what holds of any log-ratio by algebra."""

import math

import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.implicit_prm import dpo, log_ratio, prefix_values, token_counts
from rewardsmith.atlas.pages.implicit_prm import valid_tokens as draw_valid
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=3)


def two_policies():
    streams = Streams([4, 5])
    return [TREE.policy(streams, width=8) for _ in range(2)], streams


def test_as_many_tokens_are_valid_as_asked_and_the_same_ones_after_the_same_token():
    valid = draw_valid(TREE, Streams([1]), 2)[0, 0]  # (X, N, T)
    known = {}
    for prompt in range(2):
        for response, row in zip(TREE.responses.tolist(), valid[prompt].tolist(), strict=True):
            for t, (token, flag) in enumerate(zip(response, row, strict=True)):
                place = prompt, t, response[t - 1] if t else None
                assert known.setdefault((place, token), flag) == flag
    for place in {place for place, _ in known}:
        assert sum(known[place, token] for token in range(3)) == 2


def test_partial_sums_of_a_log_ratio_are_soft_values_of_the_reference_and_stay_below_the_cap():
    """q_t = β log E_ref[exp(r/β) | y_≤t], so that E_ref[exp(r/β)] = 1, by enumeration."""
    (policy, reference), _ = two_policies()
    beta = 0.7
    with torch.no_grad():
        tokens, ref = (TREE.token_logps(TREE.next_token(one))[0, 0, 0] for one in (policy, reference))
    q = beta * (tokens - ref).cumsum(dim=-1)
    p = ref.sum(-1).exp()
    for place, response in enumerate(TREE.responses.tolist()):
        for t in range(1, 4):
            same = [k for k, other in enumerate(TREE.responses.tolist()) if other[:t] == response[:t]]
            mass = sum(float(p[k]) for k in same)
            soft = sum(float(p[k]) * math.exp(float(q[k, -1]) / beta) for k in same) / mass
            assert_close(q[place, t - 1].item(), beta * math.log(soft))
            cap = beta * math.log(1 / mass)
            assert sum(float(p[k] * q[k, -1]) for k in same) / mass <= cap
    assert_close((p * (q[:, -1] / beta).exp()).sum().item(), 1.0)


def test_rewards_are_log_ratios_of_the_roll_outs():
    (policy, reference), streams = two_policies()
    index = streams.randint(27, 1, 2, 5)
    whole = [TREE.logps(TREE.next_token(one), index) for one in (policy, reference)]
    assert_close(log_ratio(TREE.reader(index), whole[1], 0.5, policy), 0.5 * (whole[0] - whole[1]))


def test_every_right_roll_out_is_compared_with_every_wrong_one():
    rewards = torch.tensor([0.5, -1.0, 2.0]).view(1, 1, 1, 3)
    right = torch.tensor([1.0, 0.0, 0.0]).view(1, 1, 1, 3)
    by_hand = [-math.log(1 / (1 + math.exp(-difference))) for difference in (0.5 + 1.0, 0.5 - 2.0)]
    assert_close(dpo(lambda policy: rewards, right, None), torch.tensor([[sum(by_hand) / 2]]))


def test_the_value_of_a_prefix_is_the_share_of_right_continuations_under_the_reference():
    (policy, _), streams = two_policies()
    with torch.no_grad():
        logps = TREE.logps(TREE.next_token(policy))
    right = (streams.rand(1, 2, 27) < 0.4).double()
    index = streams.randint(27, 1, 2, 4)
    found = prefix_values(TREE, logps, right, index)
    responses = TREE.responses.tolist()
    for prompt in range(2):
        for n, place in enumerate(index[0, 0, prompt].tolist()):
            for t in range(1, 4):
                same = [k for k in range(27) if responses[k][:t] == responses[place][:t]]
                mass = sum(math.exp(logps[0, 0, prompt, k]) for k in same)
                good = sum(math.exp(logps[0, 0, prompt, k]) * float(right[0, 0, prompt, k]) for k in same)
                assert_close(found[0, 0, prompt, n, t - 1].item(), good / mass)


def test_counts_are_shares_of_the_roll_outs_that_hold_a_token_at_its_place():
    streams = Streams([3])
    index, test = streams.randint(27, 1, 2, 6), streams.randint(27, 1, 2, 3)
    outcome = (streams.rand(1, 2, 6) < 0.5).double()
    found = token_counts(TREE, index, outcome, test)
    responses = TREE.responses.tolist()

    def place(response, t):
        return t, response[t - 1] if t else None, response[t]

    for prompt in range(2):
        for n, tested in enumerate(test[0, 0, prompt].tolist()):
            for t in range(3):
                cell = place(responses[tested], t)
                hits = [i for i, k in enumerate(index[0, 0, prompt].tolist()) if place(responses[k], t) == cell]
                good = sum(float(outcome[0, 0, prompt, i]) for i in hits)
                assert_close(found[0, 0, prompt, n, t].item(), math.log((good + 0.2) / (len(hits) + 1)))
