"""torch, or an error that says how to install it. The rooms that work on tensors import this before anything else."""

from rewardsmith.errors import missing_extra

try:
    import torch
except ImportError as error:
    raise missing_extra("rewardsmith", "torch", error) from error

__all__ = ["torch"]
