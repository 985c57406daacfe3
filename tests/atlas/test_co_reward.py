"""Votes across two wordings: the page's tensors against the library's transform, and what holds by construction."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.co_reward import ARMS, N, World, rewarded
from rewardsmith.transforms import cross_view_rewards
from rewardsmith.worlds import Streams


@pytest.mark.parametrize(("arm", "options"), [
    ("self", {"voters": "own"}), ("cross", {}), ("share", {"soft": True}), ("pooled", {"voters": "both"}),
])  # fmt: skip
def test_the_rewards_of_an_arm_are_those_of_the_transform_wherever_a_vote_is_not_tied(arm, options):
    streams = Streams([0])
    answers = streams.randint(4, 1, 5, 2, 7).expand(-1, len(ARMS), -1, -1, -1)  # (S, A, P, 2, G)
    labels = {name: torch.zeros(1, 5, 2, dtype=torch.int64) for name in ARMS}
    found = rewarded(answers, labels, streams.rand(1, 5, 2, N), broken=False)[0, ARMS.index(arm)].flatten()
    rows = [
        (question, view, str(int(a)))
        for question in range(5)
        for view in range(2)
        for a in answers[0, 0, question, view]
    ]
    known = cross_view_rewards(
        torch.zeros(len(rows), dtype=torch.float64), completion=[text for *_, text in rows],
        pair_id=[question for question, *_ in rows], view=[view for _, view, _ in rows], **options,
    )  # fmt: skip
    clear = ~known.isnan()
    assert clear.sum() > 20
    assert_close(found[clear], known[clear])


def test_wordings_that_share_their_mistakes_have_equal_votes():
    """Then the other view's answers have the distribution of one's own, and crossing changes nothing."""
    favorites = World(misread=0.0).favorites(Streams([1]))
    assert_close(favorites[:, :, 0], favorites[:, :, 1])


def test_favorites_are_distributions_with_the_declared_shares():
    world = World(misread=1.0)
    favorites = world.favorites(Streams([2]))
    assert_close(favorites.sum(-1), torch.ones(1, N * N, 2, dtype=torch.float64))
    truth = world.truth()[None, :, None, None].expand(1, -1, 2, 1)
    assert_close(favorites.gather(-1, truth)[..., 0], torch.full((1, N * N, 2), 0.30, dtype=torch.float64))
    assert_close(favorites.amax(-1), torch.full((1, N * N, 2), 0.42, dtype=torch.float64))
