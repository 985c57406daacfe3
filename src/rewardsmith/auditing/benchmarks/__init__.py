"""Reward model benchmarks, scored as their authors score them."""

from rewardsmith.auditing.benchmarks.best_of_four import reward_bench_2
from rewardsmith.auditing.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.auditing.benchmarks.result import BenchmarkScore, SubsetScore
from rewardsmith.auditing.benchmarks.run import PROTOCOLS, run_benchmark
from rewardsmith.auditing.benchmarks.ties import TiesScore, ties_score

__all__ = [
    "PROTOCOLS",
    "BenchmarkScore",
    "SubsetScore",
    "TiesScore",
    "reward_bench",
    "reward_bench_2",
    "rm_bench",
    "run_benchmark",
    "ties_score",
]
