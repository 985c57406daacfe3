"""Score a reward on published benchmarks of reward models, by the rules of their authors."""

from rewardsmith.benchmarks.best_of_four import reward_bench_2
from rewardsmith.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.benchmarks.run import run_benchmark

__all__ = ["reward_bench", "reward_bench_2", "rm_bench", "run_benchmark"]
