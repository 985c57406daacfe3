"""KnownPosterior against slow loops, autograd and enumeration; its seeds and arms do not see one another."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.known_posterior import KnownPosterior, StatedPolicy, train_stated


def labels(seeds, **options):
    streams = Streams(seeds)
    return KnownPosterior.labels(streams, **options), streams


def random_policy(world, n_arms, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n_seeds, n_inputs, n_answers = world.p_correct.shape
    shape = (n_seeds, n_arms, n_inputs, n_answers)
    return StatedPolicy(
        torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1),
        torch.randn(*shape, len(world.levels), generator=generator, dtype=torch.float64).softmax(-1),
    )


def test_labels_sum_to_one_and_their_best_is_evenly_spaced():
    world, _ = labels([1, 2], n_inputs=7, n_labels=4, top=(0.4, 0.9))
    assert_close(world.p_correct.sum(-1), torch.ones(2, 7, dtype=torch.float64))
    assert_close(world.p_correct.amax(-1), torch.linspace(0.4, 0.9, 7, dtype=torch.float64).expand(2, 7))
    assert_close(world.best_accuracy, torch.tensor([0.65, 0.65], dtype=torch.float64))
    rest = world.p_correct.sort(-1).values[..., :-1]
    assert_close(rest, rest[..., :1].expand_as(rest))


def test_the_best_label_stands_anywhere():
    world, _ = labels(range(10), n_inputs=40)
    counts = world.p_correct.argmax(-1).flatten().bincount(minlength=5)
    assert (counts - 80).abs().max() <= 32  # 400 draws at 1/5: four standard deviations


def test_the_other_answers_are_a_share_of_the_best():
    world = KnownPosterior.answers(Streams([3]), n_inputs=50, best=(0.2, 0.8), others=(0.1, 0.5))
    best = world.p_correct.amax(-1)
    assert_close(best, torch.linspace(0.2, 0.8, 50, dtype=torch.float64)[None])
    shares = (world.p_correct / best[..., None]).sort(-1).values[..., :-1]
    assert shares.min() >= 0.1
    assert shares.max() <= 0.5


def test_levels_are_the_decimals_themselves():
    world, _ = labels([0])
    assert world.levels.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_measures_see_every_answer_with_its_mass():
    world, _ = labels([0, 1], n_inputs=3, n_labels=2, n_levels=3)
    policy = random_policy(world, 2)
    found = world.measure(policy)
    for s in range(2):
        for n in range(2):
            right = loss = 0.0
            for x in range(3):
                for a in range(2):
                    for k, q in enumerate([0.0, 0.5, 1.0]):
                        mass = float(policy.answer[s, n, x, a] * policy.confidence[s, n, x, a, k]) / 3
                        p = float(world.p_correct[s, x, a])
                        right += mass * p
                        loss += mass * (p * (1 - q) ** 2 + (1 - p) * q**2)
            assert found["accuracy"][s][n] == pytest.approx(right)
            assert found["brier"][s][n] == pytest.approx(loss)


def test_a_policy_that_states_the_posterior_is_calibrated():
    world, _ = labels([0], n_inputs=4, n_labels=2, top=(0.6, 0.9))  # 0.6, 0.7, 0.8, 0.9 and 0.4 down to 0.1
    honest = torch.nn.functional.one_hot((10 * world.p_correct).round().long(), 11).double()
    policy = StatedPolicy(torch.full((1, 1, 4, 2), 0.5, dtype=torch.float64), honest[:, None])
    assert world.measure(policy)["ece"][0][0] == pytest.approx(0.0, abs=1e-12)


def test_training_is_reinforce_as_autograd_and_a_slow_loop_do_it():
    n_inputs, n_answers, group_size, rate = 3, 2, 4, 0.1
    world, streams = labels([5], n_inputs=n_inputs, n_labels=n_answers, n_levels=3)
    trained = train_stated(
        world, lambda r: r.correct - (r.confidence - r.correct) ** 2,
        streams=streams, n_arms=1, updates=5, group_size=group_size, learning_rate=rate,
    )  # fmt: skip
    world, streams = labels([5], n_inputs=n_inputs, n_labels=n_answers, n_levels=3)
    answers = torch.zeros(n_inputs, n_answers, dtype=torch.float64, requires_grad=True)
    levels = torch.zeros(n_inputs, n_answers, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([answers, levels], lr=rate)
    for _ in range(5):
        drawn, outcome = streams.rand(1, n_inputs, group_size)[0, 0], streams.rand(1, n_inputs, group_size)[0, 0]
        loss = torch.zeros((), dtype=torch.float64)
        for x in range(n_inputs):
            terms, rewards = [], []
            for g in range(group_size):
                left = float(drawn[x, g])
                a, k = pick(left, answers[x].softmax(-1), levels[x].softmax(-1))
                z = float(outcome[x, g] < world.p_correct[0, x, a])
                rewards.append(z - (k / 2 - z) ** 2)
                terms.append(answers[x].log_softmax(-1)[a] + levels[x, a].log_softmax(-1)[k])
            mean = sum(rewards) / group_size
            loss = loss - sum((r - mean) * term for r, term in zip(rewards, terms, strict=True)) / group_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert_close(trained.answer[0, 0], answers.detach().softmax(-1))
    assert_close(trained.confidence[0, 0], levels.detach().softmax(-1))


def pick(left, answers, levels):
    """The answer and level at which the cumulative sum passes `left`."""
    last = None
    for a, p in enumerate(answers.tolist()):
        for k, q in enumerate(levels[a].tolist()):
            last = (a, k)
            if left < p * q:
                return last
            left -= p * q
    return last


def test_equal_pay_for_all_moves_nothing():
    world, streams = labels([0], n_inputs=4)
    policy = train_stated(world, lambda r: torch.full_like(r.correct, 0.1), streams=streams, n_arms=2, updates=3)
    assert torch.equal(policy.answer, torch.full_like(policy.answer, 0.2))
    assert torch.equal(policy.confidence, torch.full_like(policy.confidence, 1.0).softmax(-1))


def test_arms_paid_alike_end_alike_and_another_arm_does_not_disturb_them():
    def run(n_arms, pay):
        world, streams = labels([4], n_inputs=5)
        return train_stated(world, pay, streams=streams, n_arms=n_arms, updates=20)

    three = run(3, lambda r: torch.stack([r.correct[:, 0], r.confidence[:, 1], r.correct[:, 2]], dim=1))
    one = run(1, lambda r: r.correct)
    assert torch.equal(three.answer[:, 0], three.answer[:, 2])
    assert torch.equal(three.answer[:, :1], one.answer)
    assert not torch.equal(three.confidence[:, 1], three.confidence[:, 0])


def test_a_seed_trains_the_same_whoever_stands_beside_it():
    def run(seeds):
        world, streams = labels(seeds, n_inputs=6)
        return train_stated(world, lambda r: r.correct * r.confidence, streams=streams, n_arms=1, updates=30)

    assert_close(run([1, 2, 3]).confidence[1], run([2]).confidence[0], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_training_for_correctness_finds_the_likeliest_answers():
    world, streams = labels([0, 1], n_inputs=10, top=(0.6, 0.95))
    policy = train_stated(world, lambda r: r.correct, streams=streams, n_arms=1, updates=300)
    reached = torch.tensor(world.measure(policy)["accuracy"], dtype=torch.float64)
    assert_close(reached[:, 0], world.best_accuracy, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: KnownPosterior.labels(s, top=(0.3, 1.2)), r"KnownPosterior: a probability is 1.2, outside"),
        (lambda s: KnownPosterior.labels(s, n_labels=1), r"KnownPosterior.labels: n_labels is 1, outside \[2, inf\]"),
        (
            lambda s: train_stated(KnownPosterior.labels(s), math.nan, streams=s, n_arms=1, group_size=1),
            r"train_stated: group_size is 1, outside \[2, inf\]",
        ),
    ],
)
def test_worlds_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Streams([0]))
