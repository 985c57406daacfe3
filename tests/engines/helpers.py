"""One short CPU run of a trainer on ArithmeticLM, the same for TRL's classes and ours; kept batches, a cut training."""

import tempfile

import pytest
import torch
import trl
from transformers import TrainerCallback
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()


def on_cpu(**settings):
    """Settings of a short training on a CPU that saves and reports nothing."""
    return {
        "output_dir": tempfile.mkdtemp(prefix="rewardsmith-test-"),
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "logging_steps": 1,
        "disable_tqdm": True,
        "seed": 5,
        **settings,
    }


def make(trainer_class, world, reward_funcs, *, steps=3, config=None, n_rows=16, **options):
    rloo = issubclass(trainer_class, trl.RLOOTrainer)
    settings = {
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_steps": steps,
        "beta": 0.0,
        **(config or {}),
    }
    return trainer_class(
        world.reload().model,
        reward_funcs,
        args=(trl.RLOOConfig if rloo else trl.GRPOConfig)(**on_cpu(**settings)),
        train_dataset=world.rows(n_rows, generator=torch.Generator().manual_seed(1)),
        processing_class=world.tokenizer,
        **options,
    )


def parameters(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def logged(trainer, name):
    """Every logged value of one metric, in order."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]


class Keep(TrainerCallback):
    """Keeps what a trainer tells of its batches."""

    def __init__(self):
        self.seen = []

    def on_rewards(self, args, state, control, *, scored):
        self.seen.append(scored)


def interrupted(monkeypatch, trainer_class, call, *, at):
    """Run a call whose training is interrupted at its `at`-th step; the list of all steps begun, later ones too."""
    step, seen = trainer_class.training_step, []

    def cut(self, *arguments, **keywords):
        seen.append(self.state.global_step)
        if len(seen) == at:
            raise KeyboardInterrupt
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(trainer_class, "training_step", cut)
    with pytest.raises(KeyboardInterrupt):
        call()
    return seen
