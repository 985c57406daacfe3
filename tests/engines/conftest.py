import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from rewardsmith.worlds import ArithmeticLM


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A barely warm-started world, which is all that mechanics need."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    return ArithmeticLM.build(folder, generator=torch.Generator().manual_seed(0), steps=30)
