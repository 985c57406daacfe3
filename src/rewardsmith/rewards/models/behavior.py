"""Measure how a model behaves by running it on a few tokens; no class, parameter name or version decides."""

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
"""The number of a probe's first tokens, which stay the same, and of the tokens after them, which change."""


class Cache(NamedTuple):
    """The names under which a model returns and accepts its cache of past tokens.

    field: in its output. keyword: in its forward.
    """

    field: str
    keyword: str


class Behavior(NamedTuple):
    """Properties of a model's forward.

    causal: an output depends neither on the tokens to its right nor on their number.
    mask: whether to pass an attention mask: "may" if a mask of ones changes nothing, "must" if it does or the model
        fails without one, "never" if the model does not accept it.
    positions: position_ids are accepted too, and change nothing.
    uncached: a causal model accepts use_cache=False, which saves the cache.
    cache: the cache's names, if two rows can continue from one cache of their common start; else None.
    """

    causal: bool
    mask: Literal["may", "must", "never"] = "must"
    positions: bool = False
    uncached: bool = False
    cache: Cache | None = None


def behavior_of(body: Callable[..., Tensor], trunk: Any, model: Any) -> Behavior:
    """Find a model's properties by test runs; a model that cannot read bare token ids gets a mask.

    Args:
        body: input_ids (n, t) and keyword inputs to (n, t, d), or to (n, 1, d) for a pooled output.
        trunk: the module inside it that builds the cache.
        model: the model, for its vocabulary; it is put in eval mode.
    """
    import torch

    def ask(ids: Tensor, **inputs: Any) -> Tensor | None:
        with contextlib.suppress(Exception):  # a model may fail in any way
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
    """Return (n, t, d) outputs of rows whose first tokens are in `cache`; row i continues its entry owner[i]."""
    import torch

    own = copy.deepcopy(cache)
    own.batch_select_indices(torch.tensor(owner, device=ids.device))
    return body(input_ids=ids, **inputs, **{keyword: own}, use_cache=True)


def fields_of(output: Any) -> dict[str, Any]:
    """Return a model's output fields by name."""
    return dict(output.items()) if hasattr(output, "items") else dict(vars(output))


def probes(model: Any) -> tuple[Tensor, Tensor]:
    """Return two rows of ordinary tokens with the same start, (1, t) each."""
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
    """Turn dropout off, and afterwards restore the training mode of every submodule.

    Yields a function that restores the modules, names and switches that a forward replaces in its own model, to call
    after each pass. Otherwise scores would depend on earlier rows: BigBird changes its attention after a short one.
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
        for whole in switched:  # not a model that is in use: walking over it costs more than a small batch
            whole.eval()
        for module in (module for own in parts.values() for module in own):
            said = [pair for pair in vars(module).items() if isinstance(pair[1], (str, bool)) and pair[0] != "training"]
            settings += [(vars(module), *pair) for pair in said]
            held += [(module._modules, dict(module._modules))] if module._modules else []
        yield put_back
    finally:
        put_back()
        for whole in switched:
            whole.train(modes[whole][0])  # adapters may merge their weights in one mode only
            for module, training in zip(parts[whole], modes[whole], strict=True):
                module.training = training
