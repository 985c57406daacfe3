"""Reward model benchmarks, scored as their authors score them."""

from rewardsmith.audit.benchmarks.best_of_four import reward_bench_2
from rewardsmith.audit.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.audit.benchmarks.result import BenchmarkScore, SubsetScore
from rewardsmith.audit.benchmarks.run import PROTOCOLS, run_benchmark
from rewardsmith.audit.benchmarks.ties import TiesScore, ties_score

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
