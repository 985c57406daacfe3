"""What a model does, found by asking it about a few tokens: no class, parameter name or version decides."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

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


def looks_left(body: Callable[..., Tensor], model: Any) -> bool:
    """Return whether outputs depend on nothing to their right, neither on tokens nor on how many there are.

    Args:
        body: input_ids (n, t) to (n, t, d).
        model: whose vocabulary is used, and which is put in eval mode.
    """
    import torch

    first, second = probes(model)
    with torch.inference_mode(), evaluating(model):
        try:
            one, other, short = (body(input_ids=ids) for ids in (first, second, first[:, :HEAD]))
        except Exception:  # it wants a mask, so it gets one
            return False
    if one.shape[:2] != first.shape:
        return False
    far = 1e-2 if one.dtype.itemsize < 4 else 1e-4  # of tensors of one shape, so rounding hardly differs
    return close(one[:, :HEAD], other[:, :HEAD], far=far) and close(one[:, :HEAD], short)


def taken(body: Callable[..., Tensor], model: Any, inputs: Mapping[str, Callable[[Tensor], Any]]) -> dict[str, bool]:
    """Return which inputs, made from a row's ids, may be given too, and whether outputs are those that come without.

    A model that cannot do without them takes all.

    Args:
        body: input_ids (n, t) to (n, t, d), or to (n, 1, d) where it pools.
    """
    import torch

    ids, _ = probes(model)
    found = {}
    with torch.inference_mode(), evaluating(model):
        try:
            plain = body(input_ids=ids)
        except Exception:
            return dict.fromkeys(inputs, False)
        for name, made in inputs.items():
            with contextlib.suppress(Exception):
                found[name] = close(body(input_ids=ids, **{name: made(ids)}), plain)
    return found


def shared_cache(body: Callable[..., Tensor], trunk: Any, model: Any) -> Cache | None:
    """Return how two rows read on from one cache of their common start; None where that does not give their outputs.

    Args:
        body: input_ids (n, t) and the cache to (n, t, d).
        trunk: the module under it that makes the cache.
    """
    import torch

    first, second = probes(model)
    both = torch.cat([first, second])
    with torch.inference_mode(), evaluating(model):
        try:
            whole = body(input_ids=both)
            given = fields_of(trunk(input_ids=first[:, :HEAD], use_cache=True))
        except Exception:
            return None
        for field, cache in given.items():
            if hasattr(cache, "batch_select_indices"):
                for keyword in _keywords(field, trunk, model):
                    with contextlib.suppress(Exception):
                        if close(read_on(body, both[:, HEAD:], keyword, cache, [0, 0]), whole[:, HEAD:]):
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


def close(left: Tensor, right: Tensor, *, of: Tensor | None = None, far: float | None = None) -> bool:
    """Return whether two outputs agree as far as rounding lets them, measured by the largest number in the second.

    Args:
        of: other numbers whose largest is the measure.
        far: the largest difference; by default what passes of another shape may differ by.
    """
    import torch

    if left.shape != right.shape:
        return False
    if far is None:
        far = 5e-2 if left.dtype.itemsize < 4 else 1e-4
    finite = torch.isfinite(right)
    if not bool((torch.isfinite(left) == finite).all()):
        return False
    a, b = (torch.where(finite, values, 0).double() for values in (left, right))
    size = b if of is None else torch.where(torch.isfinite(of), of, 0).double()
    return not a.numel() or bool((a - b).abs().max() <= far * size.abs().max())


def probes(model: Any) -> tuple[Tensor, Tensor]:
    """Two rows of ordinary tokens that begin alike, (1, t) each."""
    import torch

    config = model.config.get_text_config()
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "cls", "sep")}
    size = getattr(config, "vocab_size", None) or model.get_input_embeddings().weight.shape[0]
    wanted = HEAD + 2 * TAIL
    middle = range(size // 3, size)  # the first tokens of a vocabulary are often special, and so are the last
    known = [token for token in middle if token not in special][: 4 * wanted] or [0]
    tokens = [known[place % len(known)] for place in range(wanted)]
    start = tokens[:HEAD]
    rows = [[*start, *tokens[HEAD : HEAD + TAIL]], [*start, *tokens[HEAD + TAIL :]]]
    return torch.tensor(rows[:1], device=model.device), torch.tensor(rows[1:], device=model.device)


def _keywords(field: str, trunk: Any, model: Any) -> list[str]:
    """The arguments that may take a cache, the one of its own name first."""
    known = [*inspect.signature(trunk.forward).parameters, *inspect.signature(model.forward).parameters]
    return list(dict.fromkeys([field, *(name for name in known if name not in ("input_ids", "use_cache"))]))


@contextlib.contextmanager
def evaluating(*modules: Any) -> Iterator[None]:
    """Dropout off, and each module as it was afterwards."""
    were = [module.training for module in modules]
    try:
        with contextlib.ExitStack() as kept:
            for module in modules:
                kept.enter_context(unswitched(module))
                module.eval()
            yield
    finally:
        for module, training in zip(modules, were, strict=True):
            module.train(training)


@contextlib.contextmanager
def unswitched(model: Any) -> Iterator[None]:
    """Put back the modules and the settings, names and switches, that a forward exchanges in its own model.

    Otherwise a row's score would depend on the rows before it: BigBird's attention becomes another at a short one.
    """
    before = [(module, _settings(module), dict(module._modules)) for module in model.modules()]
    try:
        yield
    finally:
        for module, settings, parts in before:
            vars(module).update({name: value for name, value in settings.items() if vars(module).get(name) != value})
            if any(module._modules.get(name) is not part for name, part in parts.items()):
                module._modules.update(parts)


def _settings(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, str | bool) and name != "training"}
