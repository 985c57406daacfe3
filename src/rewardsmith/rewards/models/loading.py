"""A reward model by its folder or hub name: the class by its config, the weights from safetensors alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rewardsmith.errors import TargetError, missing_extra
from rewardsmith.rewards.models.ensemble import MemberScale, RewardEnsemble, mean_of_members
from rewardsmith.rewards.models.gaussian import HEADS_FILE, OPTIONS_FILE, GaussianReward
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.pairwise import PAIR_FILE, PairwiseReward
from rewardsmith.rewards.models.sequence import SequenceReward
from rewardsmith.rewards.models.steps import StepReward

PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
SAFE = "*.safetensors"
MEMBER = "member-"
RECORD = "training.json"


def load_reward_model(
    path_or_name: str | Path,
    *,
    reference: str | Path | None = None,
    dtype: Any = "auto",
    device: Any = None,
    **options: Any,
) -> Any:
    """The reward model in a folder or on the hub, ready to score.

    `…ForSequenceClassification` becomes a `SequenceReward`, `…ForTokenClassification` a `StepReward`, a folder that
    `GaussianReward.save` or `PairwiseReward.save` wrote one of those, `…ForCausalLM` with `reference` an
    `ImplicitReward`, and a folder of `member-0`, `member-1`, …, as `rewardsmith train-reward --members` writes, a
    `RewardEnsemble`: the mean of its members as they are, unless `aggregate`, `normalize` and `scale` say otherwise.
    What `training.json` records of a step's end is used. With `HF_HUB_OFFLINE=1` nothing is asked of the hub. Weights
    that are pickled are refused, as loading them runs code, and so is a model whose head is not in its file, as a fresh
    one scores at random.

    In a command, the folder or `owner/name` itself names the reward; with options, so does
    `rewardsmith.rewards:load_reward_model("FOLDER", max_length=512)`.

    Args:
        reference: folder or name of the model that an implicit reward is measured against.
        dtype: of the weights; "auto" as they are stored.
        device: where to; the first accelerator if there is one, unless told.
        options: of the class, such as `weights`, `chat`, `max_length` or `aggregate`; an ensemble's members get all
            that are not its own.

    Raises:
        TargetError: there is no such model, it is of another kind, or its weights are missing, pickled or incomplete.
    """
    where = str(path_or_name)
    if members := member_folders(where):
        return _ensemble(where, members, options, reference=reference, dtype=dtype, device=device)
    hub, torch = _libraries(where)
    config, tokenizer = (_found(where, partial(auto.from_pretrained, where))
                         for auto in (hub.AutoConfig, hub.AutoTokenizer))  # fmt: skip
    kind = next(iter(config.architectures or []), type(config).__name__)
    options = {"name": Path(where).name, **options}
    chosen = device or (torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu")
    load = partial(_weights, dtype=dtype, device=chosen)
    if Path(where, OPTIONS_FILE).is_file():
        return _gaussian(where, load(where, _auto(hub, kind), headless=True), tokenizer, options)
    if kind.endswith("ForSequenceClassification") and Path(where, PAIR_FILE).is_file():
        options = {**json.loads(Path(where, PAIR_FILE).read_text(encoding="utf-8")), **options}
        return PairwiseReward(load(where, hub.AutoModelForSequenceClassification), tokenizer, **options)
    if kind.endswith("ForSequenceClassification"):
        return SequenceReward(load(where, hub.AutoModelForSequenceClassification), tokenizer, **options)
    if kind.endswith("ForTokenClassification"):
        options = {**_recorded(where), **options}
        return StepReward(load(where, hub.AutoModelForTokenClassification), tokenizer, **options)
    if reference is not None and kind.endswith(("ForCausalLM", "LMHeadModel")):
        models = [load(str(place), hub.AutoModelForCausalLM) for place in (where, reference)]
        return ImplicitReward(models[0], models[1], tokenizer, **options)
    raise TargetError(
        f"load_reward_model: {where} is a {kind}, which has no head that scores. Pass a …ForSequenceClassification or "
        "…ForTokenClassification; for a causal model trained by preferences, pass `reference`, the model it started "
        "from."
    )


def is_model(name: str) -> bool:
    """Whether `name` is a folder, or looks like a name on the hub, of a reward model."""
    return Path(name).is_dir() or re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) is not None


def member_folders(where: str) -> list[Path]:
    """The folders of an ensemble's members, in order; none where `where` is itself a model."""
    if Path(where, "config.json").is_file():
        return []
    found = [path for path in Path(where).glob(f"{MEMBER}*") if path.name[len(MEMBER) :].isdigit()]
    return sorted(found, key=lambda path: int(path.name[len(MEMBER) :]))


def _ensemble(where: str, folders: list[Path], options: dict[str, Any], **loading: Any) -> RewardEnsemble:
    own: dict[str, Any] = {"aggregate": mean_of_members, "name": Path(where).name}
    own |= {name: options.pop(name) for name in ("aggregate", "normalize", "scale", "name") if name in options}
    members = [load_reward_model(folder, **loading, **options) for folder in folders]
    if any(isinstance(member, StepReward) for member in members):
        raise TargetError(
            f"load_reward_model: the members of {where} score steps, and an ensemble has one number a row. "
            f"Load one of them, such as {folders[0]}, or combine them as sources of a run."
        )
    return RewardEnsemble(members, **own)


def _recorded(where: str) -> dict[str, Any]:
    """What the training has recorded that scoring depends on."""
    record = Path(where, RECORD)
    settings = json.loads(record.read_text(encoding="utf-8")).get("settings", {}) if record.is_file() else {}
    return {name: settings[name] for name in ("step_end",) if name in settings}


def _libraries(where: str) -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise missing_extra(f"load_reward_model: {where!r}", "trl", error) from error
    return transformers, torch


def _found(where: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError, KeyError) as error:
        raise TargetError(
            f"load_reward_model: {where} holds no model and tokenizer that can be read ({_line(error)}). Give a folder "
            "with config.json, tokenizer and model.safetensors, or a hub name that is online or in the cache."
        ) from error


def _weights(where: str, auto: Any, *, dtype: Any, device: Any, headless: bool = False) -> Any:
    """The model with every weight from its safetensors, in eval mode."""
    folder = Path(where)
    if folder.is_dir() and not any(folder.glob(SAFE)):
        pickled = sorted({path.name for pattern in PICKLED for path in folder.glob(pattern)})
        _refuse(where, f"holds {', '.join(pickled)}" if pickled else "holds no weights", bool(pickled))
    try:
        model, report = auto.from_pretrained(where, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError) as error:
        _refuse(where, f"cannot be loaded ({_line(error)})", "safetensors" in str(error))
    missing = sorted(report["missing_keys"]) + [str(key) for key in report.get("mismatched_keys", [])]
    if missing and not headless:
        raise TargetError(
            f"load_reward_model: {where} lacks {', '.join(missing[:3])}, so its head would be fresh and score at "
            "random. Load the model that was trained as a reward, not the one it started from."
        )
    return model.to(device).eval()


def _refuse(where: str, what: str, pickled: bool) -> Any:
    if not pickled:
        raise TargetError(
            f"load_reward_model: {where} {what}. Save the model there with save_pretrained, or check the name."
        )
    raise TargetError(
        f"load_reward_model: {where} {what} and no safetensors; pickled weights can run any code when they are loaded. "
        "Where you trust them, convert once: AutoModelForSequenceClassification.from_pretrained(path).save_pretrained("
        "path, safe_serialization=True), or ask the publisher for model.safetensors."
    )


def _auto(hub: Any, kind: str) -> Any:
    found = [name for name in ("SequenceClassification", "TokenClassification", "CausalLM") if kind.endswith(name)]
    return getattr(hub, f"AutoModelFor{found[0]}") if found else hub.AutoModel


def _gaussian(where: str, model: Any, tokenizer: Any, options: dict[str, Any]) -> GaussianReward:
    from safetensors.torch import load_file

    from rewardsmith.rewards.models.heads import GaussianHeads

    stored = json.loads(Path(where, OPTIONS_FILE).read_text(encoding="utf-8"))
    heads = GaussianHeads(stored["heads"].pop("width"), **stored["heads"])
    heads.load_state_dict(load_file(str(Path(where, HEADS_FILE))))
    found = stored["scale"]
    scale = found and MemberScale(tuple(found["mean"]), tuple(found["std"]), found["n"])
    return GaussianReward(model, heads.to(model.device).eval(), tokenizer, **{"scale": scale, **options})


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


__all__ = ["is_model", "load_reward_model", "member_folders"]
