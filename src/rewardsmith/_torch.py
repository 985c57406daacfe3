"""torch, or an error that says how to install it. The rooms that work on tensors import this before anything else."""

from rewardsmith.errors import MissingExtraError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("rewardsmith", "torch", error) from error

__all__ = ["torch"]
