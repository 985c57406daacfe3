"""The appeals estimator on populations whose rates are known by counting."""

import math
import pickle
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import AppealsEstimator, backward_correction

NAN = math.nan


def batch(*, accepted, overturned, upheld, unanswered=0):
    """Verdicts, appeals and answers of one key, every rejected row appealed."""
    verdicts = torch.tensor([1.0] * accepted + [0.0] * (overturned + upheld + unanswered))
    answers = torch.tensor([NAN] * accepted + [1.0] * overturned + [0.0] * upheld + [NAN] * unanswered)
    return ["k"] * len(verdicts), verdicts, verdicts == 0, answers


def test_with_every_rejection_appealed_the_rate_is_the_count():
    # 100 right of which 40 rejected, 60 wrong all rejected.
    estimator = AppealsEstimator(q=1.0)
    estimator.update(*batch(accepted=60, overturned=40, upheld=60))
    assert estimator.rate("k") == pytest.approx(0.4)


def test_known_false_positives_leave_the_accepted():
    # 100 right, 40 rejected; 50 wrong, ρ₀ = 0.2 so 10 accepted: 70 accepted, 80 rejected.
    estimator = AppealsEstimator(q=1.0, false_positive_rate=0.2)
    estimator.update(*batch(accepted=70, overturned=40, upheld=40))
    assert estimator.rate("k") == pytest.approx(0.4)


def test_the_appeal_verifiers_own_errors_are_undone():
    # Of 80 rejected, 40 right and 40 wrong; α₁ = ¼ upholds 10 of the right, α₀ = 0.1 overturns 4 of the wrong.
    estimator = AppealsEstimator(
        q=1.0, false_positive_rate=0.2, appeal_false_positive_rate=0.1, appeal_false_negative_rate=0.25
    )
    estimator.update(*batch(accepted=70, overturned=34, upheld=46))
    assert estimator.rate("k") == pytest.approx(0.4)


def test_an_unanswered_appeal_is_left_out_rather_than_upheld():
    estimator = AppealsEstimator(q=1.0)
    estimator.update(*batch(accepted=60, overturned=20, upheld=30, unanswered=50))  # half the appeals fail at random
    assert estimator.rate("k") == pytest.approx(0.4)


def test_weighted_appeals_are_unbiased_over_every_possible_selection():
    q, answers = 0.3, torch.tensor([1.0, 0.0, 1.0, 0.0])
    overturned = answered = 0.0
    for chosen in product((False, True), repeat=4):
        chance = math.prod(q if c else 1 - q for c in chosen)
        estimator = AppealsEstimator(q=q)
        estimator.update(["k"] * 4, torch.zeros(4), torch.tensor(chosen), answers)
        counts = estimator.get_extra_state()["counts"]["k"]
        answered += chance * counts[2]
        overturned += chance * counts[3]
    assert (answered, overturned) == (pytest.approx(4.0), pytest.approx(2.0))


def test_a_changing_q_does_not_bias_the_rate():
    # Round 1 at q = 1: 50 of 100 overturned. Round 2 at q = ½: 50 of 100 appealed, 25 overturned. Same rate both times.
    estimator = AppealsEstimator(q=1.0)
    estimator.update(*batch(accepted=50, overturned=50, upheld=50))
    estimator.q = 0.5
    keys, verdicts, appealed, answers = batch(accepted=50, overturned=25, upheld=25, unanswered=50)
    estimator.update(keys, verdicts, appealed & ~answers.isnan(), answers)
    assert estimator.rate("k") == pytest.approx(0.5)


def test_only_rejected_rows_are_selected_and_about_a_share_q_of_them():
    verdicts = torch.cat([torch.zeros(4000), torch.ones(100), torch.full((100,), NAN)])
    chosen = AppealsEstimator(q=0.25).select(verdicts, generator=torch.Generator().manual_seed(0))
    assert not chosen[4000:].any()
    # standard deviation √(.25·.75/4000) = .0068; five of them
    assert chosen[:4000].float().mean().item() == pytest.approx(0.25, abs=0.035)


def test_the_generator_alone_decides_the_selection():
    first, second = (
        AppealsEstimator().select(torch.zeros(50), generator=torch.Generator().manual_seed(7)) for _ in "ab"
    )
    assert torch.equal(first, second)


def test_old_rows_fade_by_half_per_halflife():
    # Rate 0 from 100 right rows, two updates ago at halflife 2, then 100 right rows all rejected: 100/(50 + 100).
    estimator = AppealsEstimator(q=1.0, halflife=2)
    estimator.update(*batch(accepted=100, overturned=0, upheld=1))
    estimator.update([], torch.zeros(0), torch.zeros(0), torch.zeros(0))
    estimator.update(*batch(accepted=0, overturned=100, upheld=0))
    rejected = 100 + 0.5
    right = rejected * 100 / (100 + 0.5)
    assert estimator.rate("k") == pytest.approx(right / (50 + right))


def test_rates_are_kept_by_key_and_feed_the_correction():
    estimator = AppealsEstimator(q=1.0)
    keys, verdicts, appealed, answers = batch(accepted=60, overturned=40, upheld=60)
    estimator.update(keys, verdicts, appealed, answers)
    rates = estimator.false_negative_rate(["k", "unseen"])
    assert_close(rates, torch.tensor([0.4, 0.0], dtype=torch.float64))
    corrected = backward_correction(torch.ones(2), false_positive_rate=0.0, false_negative_rate=rates)
    assert_close(corrected, torch.tensor([1 / 0.6, 1.0]))


def test_without_an_answer_the_rate_is_the_initial_one():
    estimator = AppealsEstimator(initial_rate=0.2)
    estimator.update(["k"], torch.zeros(1), torch.zeros(1), torch.full((1,), NAN))
    assert estimator.rate("k") == 0.2


def test_state_survives_a_state_dict_and_a_pickle(tmp_path):
    estimator = AppealsEstimator(q=1.0)
    estimator.update(*batch(accepted=60, overturned=40, upheld=60))
    torch.save(estimator.state_dict(), tmp_path / "state.pt")
    fresh = AppealsEstimator(q=1.0)
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert fresh.rate("k") == pickle.loads(pickle.dumps(estimator)).rate("k") == estimator.rate("k")


ROW = torch.zeros(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AppealsEstimator(q=0.0), r"AppealsEstimator: q is 0.0, outside"),
        (lambda: AppealsEstimator(halflife=0.0), r"AppealsEstimator: halflife is 0.0, outside"),
        (lambda: AppealsEstimator(false_positive_rate=1.0), r"AppealsEstimator: false_positive_rate is 1.0, outside"),
        (lambda: AppealsEstimator(initial_rate=2.0), r"AppealsEstimator: initial_rate is 2.0, outside"),
        (lambda: AppealsEstimator(appeal_false_positive_rate=-1.0), r"appeal_false_positive_rate is -1.0, outside"),
        (
            lambda: AppealsEstimator(appeal_false_positive_rate=0.5, appeal_false_negative_rate=0.5),
            r"appeal_false_negative_rate is 0.5, outside \[0.0, 0.49\]",
        ),
        (lambda: AppealsEstimator().select(ROW + 0.5), r"AppealsEstimator.select: verdicts holds 0.5"),
        (lambda: AppealsEstimator().update(["a"], ROW, ROW, ROW[:0]), r"AppealsEstimator.update: arguments must share"),
        (lambda: AppealsEstimator().update(["a"], ROW, ROW + 1, ROW + 2), r"update: overturned holds 2.0"),
        (lambda: AppealsEstimator().update([], ROW, ROW, ROW), r"update: 0 keys for 1 rows. Pass one per row"),
        (lambda: AppealsEstimator().update(["a"], ROW + 1, ROW + 1, ROW), r"not rejected. Appeal verdict 0 only"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
