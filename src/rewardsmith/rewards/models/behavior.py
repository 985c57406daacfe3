"""What a model does, found by asking it about a few tokens: no class, parameter name or version decides."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rewardsmith.rewards.models.comparing import close

if TYPE_CHECKING:
    from torch import Tensor

HEAD, TAIL = 4, 8
"""Tokens of a probe that stay, and those behind them that are exchanged."""


class Cache(NamedTuple):
    """The names by which a model gives and takes what it keeps of tokens it has read.

    field: of its output. keyword: of its forward.
    """

    field: str
    keyword: str


class Behavior(NamedTuple):
    """How a model reads.

    causal: outputs depend on nothing to their right, neither on tokens nor on how many there are.
    mask: whether an attention mask may be given: "may" where one of ones changes nothing, "must" where it does or the
        model cannot do without, "never" where the model does not take it.
    positions: position_ids may be given too, and change nothing.
    uncached: a causal model takes use_cache=False, which spares it its cache.
    cache: how two rows read on from one cache of their common start; None where that does not give their outputs.
    """

    causal: bool
    mask: Literal["may", "must", "never"] = "must"
    positions: bool = False
    uncached: bool = False
    cache: Cache | None = None


def behavior_of(body: Callable[..., Tensor], trunk: Any, model: Any) -> Behavior:
    """Ask a model how it reads; one that takes token ids alone for nothing gets a mask.

    Args:
        body: input_ids (n, t), and what else there is by keyword, to (n, t, d), or to (n, 1, d) where it pools.
        trunk: the module under it that makes the cache.
        model: whose vocabulary is used, and which is put in eval mode.
    """
    import torch

    def ask(ids: Tensor, **inputs: Any) -> Tensor | None:
        with contextlib.suppress(Exception):  # a model may refuse in any way
            return body(input_ids=ids, **inputs)
        return None

    first, second = probes(model)
    with torch.inference_mode(), evaluating(model):
        plain, other, short = (ask(ids) for ids in (first, second, first[:, :HEAD]))
        if plain is None:
            return Behavior(causal=False)
        causal = plain.shape[:2] == first.shape and other is not None and short is not None
        if causal:
            far = 1e-2 if plain.dtype.itemsize < 4 else 1e-4  # of tensors of one shape, so rounding hardly differs
            head = plain[:, :HEAD]
            causal = close(head, other[:, :HEAD], far=far) and close(head, short)  # type: ignore[index, arg-type]
        masked = ask(first, attention_mask=torch.ones_like(first))
        return Behavior(
            causal,
            mask="never" if masked is None else "may" if close(masked, plain) else "must",
            positions=close(ask(first, position_ids=torch.arange(first.shape[1], device=first.device)[None]), plain),
            uncached=causal and close(ask(first, use_cache=False), plain),
            cache=_shared_cache(body, trunk, model, torch.cat([first, second])) if causal else None,
        )


def _shared_cache(body: Callable[..., Tensor], trunk: Any, model: Any, ids: Tensor) -> Cache | None:
    with contextlib.suppress(Exception):
        whole = body(input_ids=ids)
        for field, cache in fields_of(trunk(input_ids=ids[:1, :HEAD], use_cache=True)).items():
            if not hasattr(cache, "batch_select_indices"):
                continue
            known = [*inspect.signature(trunk.forward).parameters, *inspect.signature(model.forward).parameters]
            names = dict.fromkeys([field, *(name for name in known if name not in ("input_ids", "use_cache"))])
            for keyword in names:  # the argument of the field's own name first
                with contextlib.suppress(Exception):
                    if close(read_on(body, ids[:, HEAD:], keyword, cache, [0, 0]), whole[:, HEAD:]):
                        return Cache(field, keyword)
    return None


def read_on(
    body: Callable[..., Tensor], ids: Tensor, keyword: str, cache: Any, owner: list[int], **inputs: Any
) -> Tensor:
    """Return (n, t, d) outputs of rows whose first tokens `cache` holds: row i reads on from its entry owner[i]."""
    import torch

    own = copy.deepcopy(cache)
    own.batch_select_indices(torch.tensor(owner, device=ids.device))
    return body(input_ids=ids, **inputs, **{keyword: own}, use_cache=True)


def fields_of(output: Any) -> dict[str, Any]:
    """Return what a model gives, by name."""
    return dict(output.items()) if hasattr(output, "items") else dict(vars(output))


def probes(model: Any) -> tuple[Tensor, Tensor]:
    """Return two rows of ordinary tokens that begin alike, (1, t) each."""
    import torch

    config = model.config.get_text_config()
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "cls", "sep")}
    size = getattr(config, "vocab_size", None) or model.get_input_embeddings().weight.shape[0]
    wanted = HEAD + 2 * TAIL
    middle = range(size // 3, size)  # the first tokens of a vocabulary are often special, and so are the last
    known = [token for token in middle if token not in special][: 4 * wanted] or [0]
    tokens = torch.tensor([known[place % len(known)] for place in range(wanted)], device=model.device)[None]
    return tokens[:, : HEAD + TAIL], torch.cat([tokens[:, :HEAD], tokens[:, HEAD + TAIL :]], dim=1)


@contextlib.contextmanager
def evaluating(*modules: Any) -> Iterator[Callable[[], None]]:
    """Turn dropout off, and put every part of each module back in the mode that it was in.

    Yields what puts back the modules and the settings, names and switches, that a forward exchanges in its own model,
    to be called after each pass. Otherwise a row's score would depend on the rows before it: BigBird's attention
    becomes another at a short one.
    """
    parts = {whole: list(whole.modules()) for whole in modules}
    modes = {whole: [module.training for module in own] for whole, own in parts.items()}
    switched = [whole for whole in modules if any(modes[whole])]
    settings: list[tuple[dict[str, Any], str, Any]] = []
    held: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def put_back() -> None:
        for own, name, value in settings:
            if own.get(name) is not value:
                own[name] = value
        for found, before in held:
            if found != before:
                found.update(before)

    try:
        for whole in switched:  # not a model in use, where walking over it costs more than a small batch
            whole.eval()
        for module in (module for own in parts.values() for module in own):
            said = [pair for pair in vars(module).items() if isinstance(pair[1], (str, bool)) and pair[0] != "training"]
            settings += [(vars(module), *pair) for pair in said]
            held += [(module._modules, dict(module._modules))] if module._modules else []
        yield put_back
    finally:
        put_back()
        for whole in switched:
            whole.train(modes[whole][0])  # adapters may merge their weights in one mode alone
            for module, training in zip(parts[whole], modes[whole], strict=True):
                module.training = training
