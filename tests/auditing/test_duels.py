"""Duels: how many are sent, that both sides and places take part alike, and gains by hand."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from tests.auditing.corpus.judges import Comparing, judged_pairs

from rewardsmith.auditing.asking import Rounds
from rewardsmith.auditing.duels import STAGES, Duel, beaten, duels_of, fought, preferred
from rewardsmith.auditing.judge_sources import comparer_of
from rewardsmith.auditing.pair_baseline import Form, build_pair_baseline
from rewardsmith.auditing.probes.judge_biases import AUTHORITY, STYLE
from rewardsmith.auditing.probes.order import referenced
from rewardsmith.scoring import Scorer, as_target


def on_baseline(judge, ask, n=100):
    rows = judged_pairs(n)
    with Scorer(comparer_of(as_target(judge)), workers=0) as scorer:
        rounds = Rounds({"": scorer})
        baseline = rounds.run(build_pair_baseline(rows, Form(scorer, referenced(rows)), alpha=0.001, compares=True))
        before = rounds.calls
        return baseline, rounds.run(ask(baseline)), rounds.calls - before


@pytest.mark.slow
def test_an_even_judge_gets_one_stage_and_a_swayed_one_is_settled_in_it():
    for judge, mean in ((Comparing(), 0.0), (Comparing("authority"), 1.0)):
        _, tallies, calls = on_baseline(judge, partial(fought, bias=AUTHORITY))
        assert calls == STAGES[0] * len(AUTHORITY.variants)
        assert np.mean(tallies[0].gains) == mean


def test_both_sides_and_places_take_part_alike():
    baseline, *_ = on_baseline(Comparing(), partial(fought, bias=STYLE), n=64)
    duels = duels_of(baseline, STYLE.variants[0], bool)
    assert len(duels) == len(set(duels)) == 4 * 64
    assert set(Counter(duel.place for duel in duels[:64]).values()) == {32}
    assert len({duel.pair for duel in duels[:64]}) == 64


def test_a_preference_is_read_from_either_place():
    def ask(baseline):
        chosen, rejected = baseline.text(0, "chosen"), baseline.text(0, "rejected")
        duels = [
            Duel(0, chosen, rejected, "first"),
            Duel(0, chosen, rejected, "second"),
            Duel(0, rejected, chosen, "first"),
        ]
        found = yield from preferred(baseline, duels)
        over = yield from beaten(baseline, [Duel(0, chosen, rejected, "first")])  # a tie with itself, less a loss
        return found.tolist(), over.tolist()

    _, (found, over), _ = on_baseline(Comparing(), ask)
    assert found == [1.0, 1.0, -1.0]
    assert over == pytest.approx([0.5])
