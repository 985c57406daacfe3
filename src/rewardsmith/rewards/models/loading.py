"""Load a reward model from a folder or the hub: the class from its config, the weights from safetensors only."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rewardsmith.errors import RewardsmithError, TargetError, missing_extra
from rewardsmith.rewards.models.checking import COMPLETIONS, PROMPTS, check_scores
from rewardsmith.rewards.models.ensemble import MemberScale, RewardEnsemble, mean_of_members
from rewardsmith.rewards.models.gaussian import HEADS_FILE, OPTIONS_FILE, GaussianReward
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.pairwise import PAIR_FILE, PairwiseReward
from rewardsmith.rewards.models.reference import REFERENCE_FILE, ReferenceReward
from rewardsmith.rewards.models.sequence import SequenceReward
from rewardsmith.rewards.models.steps import StepReward

logger = logging.getLogger(__name__)

PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
SAFE = "*.safetensors"
MEMBER = "member-"
RECORD = "training.json"
WITH_TEMPLATE: dict[str, Any] = {PAIR_FILE: PairwiseReward, REFERENCE_FILE: ReferenceReward}
"""Files with the options of a classifier that reads more than prompt and completion → its class."""


def load_reward_model(
    path_or_name: str | Path,
    *,
    reference: str | Path | None = None,
    dtype: Any = "auto",
    device: Any = None,
    trust_remote_code: bool = False,
    eos: bool | None = None,
    **options: Any,
) -> Any:
    """Load the reward model in a folder or on the hub, ready to score.

    `…ForSequenceClassification` becomes a `SequenceReward`, and `…ForTokenClassification` a `StepReward`. A folder
    that `GaussianReward.save`, `PairwiseReward.save` or `ReferenceReward.save` wrote becomes one of those, and
    `…ForCausalLM` with `reference` an `ImplicitReward`. A folder of `member-0`, `member-1`, …, as `rewardsmith
    train-reward --members` writes, becomes a `RewardEnsemble`: the mean of its unscaled members, unless
    `aggregate`, `normalize` or `scale` is given. With `HF_HUB_OFFLINE=1` the hub is not asked. Pickled weights are
    refused, because loading them runs code, and so is a model whose file lacks its head, because a fresh head
    scores at random. A model is tried on a few rows: a batch must give the scores of its own forward on each row.

    The folder's record of its training format is used: the text that ends a step, β and reference of a model trained on
    outcomes, and whether strings end with the tokenizer's end token. Without a record they do, as in TRL's
    RewardTrainer, and one log line says so.

    In a command, the folder or `owner/name` names the reward. With options, write
    `rewardsmith.rewards:load_reward_model("FOLDER", max_length=512)`.

    Args:
        reference: folder or name of the model that an implicit reward is measured against; None takes the recorded one.
        dtype: of the weights; "auto" keeps the stored one.
        device: where to put it; by default the first accelerator, if there is one.
        trust_remote_code: run Python code that comes with the model; otherwise such a model is refused.
        eos: whether strings end with the end token; None follows the record.
        options: of the class, such as `weights`, `chat`, `max_length` or `aggregate`. An ensemble passes options that
            are not its own to its members.

    Raises:
        TargetError: there is no such model, or it is of another kind; its files are broken; its weights are missing,
            pickled, incomplete, of other sizes or more than its config has; it comes with code; or its scores differ
            from those of its own forward.
    """
    where = str(path_or_name)
    if members := member_folders(where):
        loading = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code, "eos": eos}
        return _ensemble(where, members, options, reference=reference, **loading)
    try:
        import torch
        import transformers as hub
    except ImportError as error:
        raise missing_extra(f"load_reward_model: {where!r}", "trl", error) from error
    with _reading(where):
        config = hub.AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code)
        tokenizer = hub.AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
        _compare_tokens(where, tokenizer)
        kind = str(next(iter(config.architectures or []), type(config).__name__))
        own, pair, keyed, gaussian = (
            _stored(where, name) for name in (RECORD, PAIR_FILE, REFERENCE_FILE, OPTIONS_FILE)
        )
        record = {**own.get("settings", {}), **pair, **keyed, **gaussian}
    options = {"name": Path(where).name, **options}
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    load = partial(_weights, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    reward: Any
    if Path(where, OPTIONS_FILE).is_file():
        heads = [name for name in ("SequenceClassification", "TokenClassification", "CausalLM") if kind.endswith(name)]
        trunk = load(where, getattr(hub, f"AutoModelFor{heads[0]}") if heads else hub.AutoModel, headless=True)
        ended = {"eos": _ends(where, tokenizer, eos, record, options)}
        reward = _gaussian(where, trunk, tokenizer, gaussian, {**ended, **options})
    elif kind.endswith("ForSequenceClassification"):
        model = load(where, hub.AutoModelForSequenceClassification)
        ended = {"eos": _ends(where, tokenizer, eos, record, options)}
        template = {} if not {**pair, **keyed} else {"template": record["template"]}
        made = next((made for file, made in WITH_TEMPLATE.items() if Path(where, file).is_file()), SequenceReward)
        reward = made(model, tokenizer, **{**template, **ended, **options})
    elif eos is not None:
        raise TargetError(
            f"load_reward_model: {where} is a {kind}, and only a …ForSequenceClassification has a choice of end token. "
            "Leave eos, --end-token and --no-end-token out."
        )
    elif kind.endswith("ForTokenClassification"):
        ends = {name: record[name] for name in ("step_end",) if name in record}
        reward = StepReward(load(where, hub.AutoModelForTokenClassification), tokenizer, **{**ends, **options})
    elif (start := _reference(reference, own)) is not None and kind.endswith(("ForCausalLM", "LMHeadModel")):
        policy, base = (load(str(place), hub.AutoModelForCausalLM) for place in (where, start))
        known = {name: record[name] for name in ("beta",) if name in record} | options
        reward = ImplicitReward(policy, base, tokenizer, **known)
    else:
        raise TargetError(
            f"load_reward_model: {where} is a {kind}, which has no head that scores. Pass a …ForSequenceClassification "
            "or …ForTokenClassification; for a causal model trained by preferences, pass `reference`, the model it "
            "started from."
        )
    try:
        check_scores(where, reward)
    except RewardsmithError:
        raise
    except Exception as error:
        raise TargetError(
            f"load_reward_model: {where} cannot score a plain row ({_line(error)}). Its config.json, tokenizer and "
            "chat template must fit its weights: save them there together, with save_pretrained."
        ) from error
    return reward


def member_folders(where: str) -> list[Path]:
    """Return the folders of an ensemble's members in order; none if `where` is itself a model."""
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


def _reference(given: str | Path | None, record: dict[str, Any]) -> str | Path | None:
    """Return the reference of an implicit reward: the caller's, else the start of a model trained on outcomes."""
    return given or (record["start"] if record.get("kind") == "OutcomeRow" else None)


def _stored(where: str, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of the folder; {} if there is none."""
    file = Path(where, name)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _ends(where: str, tokenizer: Any, eos: bool | None, record: dict[str, Any], options: dict[str, Any]) -> bool:
    """Return whether strings end with the end token: the caller's choice, else the record's, else True as in TRL."""
    said = record.get("end_token") if eos is None else eos
    if said is None and tokenizer.eos_token is not None and not options.get("chat") and not options.get("pair"):
        logger.warning(
            "load_reward_model: %s does not record its training format, so strings end with %r, as in TRL's "
            "RewardTrainer. Pass eos=False or --no-end-token to leave it out.",
            where,
            tokenizer.eos_token,
        )
    return said is None or bool(said)


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn all errors from broken or hostile files into a `TargetError`."""
    try:
        yield
    except RewardsmithError:
        raise
    except Exception as error:
        _refuse_code(where, error)
        raise TargetError(
            f"load_reward_model: {where} holds no model and tokenizer that can be read ({_line(error)}). Give a folder "
            "with config.json, tokenizer and model.safetensors, or a hub name that is online or in the cache."
        ) from error


def _compare_tokens(where: str, tokenizer: Any) -> None:
    """Warn where transformers splits text otherwise than the folder's tokenizer.json."""
    from tokenizers import Tokenizer

    if not Path(where, "tokenizer.json").is_file():
        return
    stored = Tokenizer.from_file(str(Path(where, "tokenizer.json")))
    stored.no_truncation()
    stored.no_padding()
    for text in (*PROMPTS, *COMPLETIONS, "\n"):
        if tokenizer(text, add_special_tokens=False)["input_ids"] != stored.encode(text, add_special_tokens=False).ids:
            logger.warning(
                "load_reward_model: transformers reads %s with a %s, whose tokens for %r differ from its "
                "tokenizer.json. Its scores may be wrong: save it with the tokenizer class of its model_type.",
                *(where, type(tokenizer).__name__, text),
            )
            return


def _refuse_code(where: str, error: Exception) -> None:
    if "trust_remote_code" in str(error):
        raise TargetError(
            f"load_reward_model: {where} comes with its own Python code, which is not run by default. If you trust its "
            "publisher, pass trust_remote_code=True, or --trust-remote-code in a command."
        ) from error


def _weights(
    where: str, auto: Any, *, dtype: Any, device: Any, trust_remote_code: bool = False, headless: bool = False
) -> Any:
    """Load the model with all its weights from safetensors, in eval mode."""
    folder = Path(where)
    if folder.is_dir() and not any(folder.glob(SAFE)):
        pickled = sorted({path.name for pattern in PICKLED for path in folder.glob(pattern)})
        _refuse(where, f"holds {', '.join(pickled)}" if pickled else "holds no weights", bool(pickled))
    options = {"dtype": dtype, "trust_remote_code": trust_remote_code, "use_safetensors": True}
    try:
        model, report = auto.from_pretrained(where, **options, output_loading_info=True, ignore_mismatched_sizes=True)
    except Exception as error:
        _refuse_code(where, error)
        absent = isinstance(error, OSError | ValueError) and "safetensors" in str(error)
        _refuse(where, f"cannot be loaded ({_line(error)})", absent)
    trunk = f"{model.base_model_prefix}."
    others = []
    for entry in report.get("mismatched_keys", ()):
        key, *shapes = (entry,) if isinstance(entry, str) else entry
        sizes = f" is {tuple(shapes[0])}, and {tuple(shapes[1])} by the config" if len(shapes) == 2 else ""
        if not headless or key.startswith(trunk) or model.base_model is model:
            others.append(f"{key}{sizes}")
    if others:
        raise TargetError(
            f"load_reward_model: {where} holds weights of other sizes than its config.json: "
            f"{'; '.join(sorted(others)[:3])}. Correct num_labels or the size there, or save the model anew."
        )
    if left := _left_out(model, report.get("unexpected_keys", ())):
        raise TargetError(
            f"load_reward_model: {where} holds {len(left)} weights that its config.json leaves out, such as "
            f"{', '.join(left[:3])}, so it would score as another model. Correct the config, such as its number of "
            "layers, or save the model anew."
        )
    missing = sorted(report["missing_keys"])
    if missing and not headless:
        raise TargetError(
            f"load_reward_model: {where} lacks {', '.join(missing[:3])}, so its head would be fresh and score at "
            "random. Load the model that was trained as a reward, not the one it started from."
        )
    return model.to(device).eval()


def _left_out(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Return the unused keys of a file that belong to a module or layer of the model, in order.

    Keys of a head that is not loaded, and old buffers, do not count: the model lacks the module or its weights.
    """
    numbers, trunk = partial(re.sub, r"(?<=\.)\d+(?=\.)", "#"), f"{model.base_model_prefix}."
    names = [f".{name}" for name, _ in model.named_parameters()]
    modules = {numbers(name.rpartition(".")[0] + ".") for name in names}
    layers = {module[: module.rindex("#") + 2] for module in modules if "#" in module}
    keys = sorted(unexpected)
    found = []
    for key in keys:
        parent, _, leaf = key.rpartition(".")
        weighty = leaf == "weight" or (leaf == "bias" and f"{parent}.weight" in keys)
        for own in (f".{key}", f".{key.removeprefix(trunk)}", f".{trunk}{key}"):
            path = numbers(own).split(".")
            above = {".".join(path[:place]) + "." for place in range(2, len(path))}
            if above & modules or (weighty and above & layers):
                found.append(key)
                break
    return found


def _refuse(where: str, what: str, pickled: bool) -> Any:
    if not pickled:
        raise TargetError(
            f"load_reward_model: {where} {what}. Save the model there with save_pretrained, or check the name."
        )
    raise TargetError(
        f"load_reward_model: {where} {what} and no safetensors. Pickled weights can run any code when loaded. "
        "If you trust them, convert once: AutoModelForSequenceClassification.from_pretrained(path).save_pretrained("
        "path, safe_serialization=True), or ask the publisher for model.safetensors."
    )


def _gaussian(where: str, model: Any, tokenizer: Any, stored: dict[str, Any], options: dict[str, Any]) -> Any:
    from safetensors.torch import load_file

    from rewardsmith.rewards.models.heads import GaussianHeads

    with _reading(where):
        heads = GaussianHeads(**stored["heads"])
        heads.load_state_dict(load_file(str(Path(where, HEADS_FILE))))
        found = stored["scale"]
        scale = found and MemberScale(tuple(found["mean"]), tuple(found["std"]), found["n"])
    return GaussianReward(model, heads.to(model.device).eval(), tokenizer, **{"scale": scale, **options})


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
