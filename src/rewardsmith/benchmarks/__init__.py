"""Score a reward on published benchmarks of reward models, by the rules of their authors."""

from rewardsmith.benchmarks.best_of_four import reward_bench_2
from rewardsmith.benchmarks.best_of_k import ppe_correctness
from rewardsmith.benchmarks.first_errors import process_bench
from rewardsmith.benchmarks.judged_pairs import judge_bench, ppe_preference
from rewardsmith.benchmarks.one_to_many import reward_math
from rewardsmith.benchmarks.pairwise import reward_bench, rm_bench
from rewardsmith.benchmarks.run import run_benchmark

__all__ = [
    "judge_bench",
    "ppe_correctness",
    "ppe_preference",
    "process_bench",
    "reward_bench",
    "reward_bench_2",
    "reward_math",
    "rm_bench",
    "run_benchmark",
]
