"""Reward models of one architecture stacked in one module, and a trainer for all of them at once."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from transformers.modeling_outputs import SequenceClassifierOutput

from rewardsmith._check import check_shape
from rewardsmith.data.preferences import TRAINING_COLUMNS
from rewardsmith.engines.trl.reward_trainer import NEUTRAL, RewardTrainer

KEPT_BY = "kept_by"
"""Column of K booleans that marks which members learn from the row."""
APART = ("_name_or_path", "architectures", "dtype", "transformers_version")
"""Entries in which the configs of one architecture may differ."""


class StackedMembers(nn.Module):
    """K sequence classifiers of one architecture as one module.

        rewards[b, k] = f( x_b ; θ_k )        every parameter is (K, …) and `torch.func.vmap` runs over k

    Every member reads the same batch; dropout differs between them. Its `state_dict` is the stack. `member(k)` is an
    ordinary model again.

    Args:
        members: K ≥ 2 models with one output each and equal shapes, whatever weights they start from.

    Raises:
        ValueError: they are not of one architecture, or `vmap` cannot run it.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        super().__init__()
        _check(members)
        self.n_members = len(members)
        self.shell = copy.deepcopy(members[0])
        stacked: dict[int, nn.Parameter] = {}  # one entry per tensor, so that tied ones stay tied
        for name, own in members[0].named_parameters(remove_duplicate=False):
            table = torch.stack([member.get_parameter(name).detach() for member in members])
            owner, _, leaf = name.rpartition(".")
            setattr(self.shell.get_submodule(owner), leaf, stacked.setdefault(id(own), nn.Parameter(table)))
            stacked[id(own)].requires_grad_(own.requires_grad)
        ids = torch.arange(4, device=next(self.shell.parameters()).device)[None]
        ids = ids % self.config.get_text_config().vocab_size
        state = torch.random.get_rng_state()
        try:  # one forward and backward pass of four tokens shows before training whether the models can be stacked
            logits: Any = self(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            logits.sum().backward()
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            raise ValueError(
                f"StackedMembers: torch.func.vmap cannot run {type(self.shell).__name__} "
                f"({' '.join(str(error).split())[:200]}). Train its members one after the other or in processes of "
                "their own."
            ) from error
        finally:
            torch.random.set_rng_state(state)
            self.zero_grad(set_to_none=True)

    @property
    def config(self) -> Any:
        """The members' config."""
        return self.shell.config

    def add_model_tags(self, tags: Any) -> None:
        """Ignore the tags, which TRL gives to its models."""
        self.shell.add_model_tags(tags)

    def forward(self, **inputs: Any) -> SequenceClassifierOutput:
        """Return `logits` (B, K) of one batch."""

        def one(weights: Mapping[str, Tensor]) -> Tensor:
            logits: Tensor = functional_call(self.shell, dict(weights), (), inputs).logits
            return logits[:, 0]

        with warnings.catch_warnings():  # fused attention has no batching rule, so it runs member by member
            warnings.filterwarnings("ignore", message=".*performance drop.*")
            logits = vmap(one, out_dims=1, randomness="different")(dict(self.shell.named_parameters()))
        return SequenceClassifierOutput(logits=logits)

    def member(self, k: int) -> Any:
        """Return member k as a separate model on the CPU."""
        stacked = {name for name, _ in self.shell.named_parameters(remove_duplicate=False)}
        state = {
            name: (value[k] if name in stacked else value).cpu() for name, value in self.shell.state_dict().items()
        }
        model = type(self.shell)(copy.deepcopy(self.config)).to(self.shell.dtype)
        model.load_state_dict(state)
        return model.eval()


class MembersTrainer(RewardTrainer):
    """`RewardTrainer` on `StackedMembers`: K reward models in one run, each as it would be alone on these batches.

        L = Σ_k  Σ_b κ_bk ℓ_bk / Σ_b κ_bk        κ_bk = 1 where member k learns from pair b, else 0

    ℓ is the loss of `RewardTrainer` with its columns. κ is the column `kept_by`, K booleans a row, all true without it.
    A member's loss is the mean over its pairs of the batch, and without any its step has no gradient. Gradients are
    clipped by each member's own norm, and weights divided by their mean over each member's own pairs. Adam and its
    variants update every number by itself, so one optimizer acts as K. An optimizer that looks at a whole tensor (Muon,
    Adafactor, LAMB) does not.

    All members see the pairs in one order, so they differ only by start, head, `kept_by` and dropout. Metrics are means
    over members and over all pairs, kept or not. The logged loss is the mean of the members' losses.
    """

    columns = (*TRAINING_COLUMNS, KEPT_BY)

    def __init__(self, model: StackedMembers, args: Any, *, normalize_weights: bool = True, **keywords: Any) -> None:
        if args.gradient_checkpointing:
            raise ValueError(
                "MembersTrainer: gradient_checkpointing does not work under torch.func.vmap. Set it to False, or train "
                "the members one after the other."
            )
        super().__init__(model, args, normalize_weights=normalize_weights, **keywords)
        self.train_dataset: Any
        columns = set(getattr(self.train_dataset, "column_names", None) or ())
        if normalize_weights and {"weight", KEPT_BY} <= columns and hasattr(self.train_dataset, "__len__"):
            weights = [NEUTRAL["weight"] if w is None else float(w) for w in self.train_dataset["weight"]]
            spread = torch.tensor(weights)[:, None].expand(-1, model.n_members)
            means = spread.masked_fill(~torch.tensor(self.train_dataset[KEPT_BY]).bool(), math.nan).nanmean(dim=0)
            self.weight_scale = (1 / torch.where(means > 0, means, 1.0)).to(args.device)  # (K,)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        columns = {name: inputs.pop(name) for name in TRAINING_COLUMNS if name in inputs}
        kept = inputs.pop(KEPT_BY, None)
        _, outputs = self._plain_loss(model, inputs, True)  # and TRL's metrics
        n_members = outputs.logits.shape[1]
        spread = {name: column[:, None].expand(-1, n_members) for name, column in columns.items()}
        losses = self._losses(outputs.logits, spread)  # (B, K)
        if kept is not None:
            check_shape("MembersTrainer", KEPT_BY, kept, *losses.shape)
        counts = ~losses.isnan() if kept is None else kept.bool() & ~losses.isnan()
        own = torch.where(counts, losses, 0.0).sum(dim=0) / counts.sum(dim=0).clamp_min(1)
        loss = own.sum() if self.model.training else own.mean()
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *args: Any, **keywords: Any) -> Any:
        loss: Any = super().training_step(*args, **keywords)
        return loss / self.accelerator.unwrap_model(self.model).n_members  # what is logged

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip each member's gradient to the norm `max_grad_norm`, and return the mean of the norms before."""
        self.accelerator.unscale_gradients()
        gradients = [own.grad for own in model.parameters() if own.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (K,)
        factors = (self.args.max_grad_norm / (norms + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
        mean: Tensor = norms.mean()
        return mean


def _check(members: Sequence[Any]) -> None:
    """Raise ValueError unless these are several models of one architecture."""
    if len(members) < 2:
        raise ValueError(f"StackedMembers: got {len(members)} members, which is too few to stack. Pass two or more.")
    built = []
    for model in members:
        parts = {name: value for name, value in model.config.to_dict().items() if name not in APART}
        parts |= {name: (tuple(own.shape), own.dtype, own.requires_grad) for name, own in model.named_parameters()}
        built.append(parts | {name: own.tolist() for name, own in model.named_buffers()} | {"class": type(model)})
    first, *others = built
    for k, other in enumerate(others, start=1):
        differing = [name for name in first if first[name] != other.get(name)]
        if differing or len(first) != len(other):
            raise ValueError(
                f"StackedMembers: member {k} is not built like member 0: {', '.join(differing[:3]) or 'it has more'} "
                "differ. Pass members of one architecture, or train them one after the other."
            )
