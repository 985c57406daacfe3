"""A recipe as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rewardsmith.describe import describe
from rewardsmith.recipes.terms import Applied, Column, StepSource, Term
from rewardsmith.recipes.wording import operation, weights_of
from rewardsmith.types import Scope, traits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1.68, 0.62  # of a box, where columns are 2.5 apart and rows 1
COLUMN = 2.5
COLORS: dict[Scope, str] = {"row": "#e7eef7", "prompt": "#fdebc8", "batch": "#f9d3c5", "run": "#e6d8ef"}
SEES: dict[Scope, str] = {"row": "one row", "prompt": "a prompt's group", "batch": "the batch", "run": "the run so far"}


@dataclass(eq=False)
class Box:
    """One box: its label, its scope, its input boxes, and its position."""

    label: str
    scope: Scope
    inputs: list[tuple[Box, str]]
    faint: bool = False
    source: bool = False
    x: float = 0.0
    y: float = 0.0


def draw(
    terms: Sequence[Term], roots: Mapping[str, Term], after: Mapping[str, Callable[..., Any]], faint: set[int]
) -> Figure:
    """Draw a recipe, sources on the left, advantage and filter on the right; the color of a box shows its scope.

    Args:
        terms: inputs first.
        roots: the terms that the advantage or filter reads, by the name on their arrow.
        after: by label, the advantage and the filter, if any.
        faint: by identity, the terms that the advantage cancels, in dashed boxes.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, Patch

    made: dict[int, Box] = {}
    for term in terms:
        if isinstance(term, Applied):
            weights = weights_of(term.function) or [1.0] * len(term.parts)
            names = ["" if weight == 1 else f"{weight:g}·".replace("-", "−") for weight in weights]
            inputs = [(made[id(part)], name) for part, name in zip(term.parts, names, strict=False)]
            inputs += [(made[id(part)], name) for name, part in term.given.items()]
            scope = traits_of(term.function).scope
            made[id(term)] = Box(operation(term.function), scope, inputs, faint=id(term) in faint)
        else:
            note = {StepSource: "\n(steps)", Column: "\n(column)"}.get(type(term), "")
            made[id(term)] = Box(f"{term}{note}", "row", [], source=True)
    boxes = list(made.values())
    feeding = [(made[id(root)], name) for name, root in roots.items()]
    for label, part in after.items():
        boxes.append(Box(f"{label}\n{describe(part)}", "prompt", feeding))
        feeding = [(boxes[-1], "")]
    # Columns by the longest way from a source; rows: one per source, others at the mean of their inputs.
    for row, box in enumerate(box for box in boxes if not box.inputs):
        box.y = float(row)
    taken: dict[float, list[float]] = {}
    for box in boxes:
        if box.inputs:
            box.x = max(start.x for start, _ in box.inputs) + COLUMN
            box.y = sum(start.y for start, _ in box.inputs) / len(box.inputs)
            while any(abs(box.y - other) < 0.95 for other in taken.get(box.x, [])):
                box.y += 0.5
        taken.setdefault(box.x, []).append(box.y)
    depth, rows = max(box.x for box in boxes) / COLUMN, max(box.y for box in boxes)
    figure = Figure(figsize=(1.5 * (depth + 1) + 0.2, 0.85 * (rows + 1) + 0.8), layout="constrained")
    axes = figure.subplots()
    for box in boxes:
        style: dict[str, Any] = {"linestyle": "--", "edgecolor": "#9a9a9a"} if box.faint else {"edgecolor": "#4a5568"}
        corner = (box.x - WIDTH / 2, box.y - HEIGHT / 2)
        shape = "round,pad=0.02,rounding_size=0.28" if box.source else "round,pad=0.02,rounding_size=0.06"
        face = "white" if box.source else COLORS[box.scope]
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=shape, facecolor=face, zorder=2, **style))
        size, letters = (7.5, 18) if box.label.count("\n") < 3 else (6.0, 20)  # a long name breaks at "_"
        lines = [fill(line.replace("_", "_ "), letters).replace("_ ", "_") for line in box.label.split("\n")]
        label = "\n".join(lines) + ("\n(cancels)" if box.faint else "")
        font: Any = {"fontsize": size, "color": "#777" if box.faint else "#1a202c"}
        axes.text(box.x, box.y, label, ha="center", va="center", zorder=3, **font)
        for start, name in box.inputs:
            _draw_arrow(axes, start, box, name, boxes)
    seen = {box.scope for box in boxes if not box.source}
    handles = [Patch(facecolor=COLORS[s], edgecolor="#4a5568", label=f"sees {SEES[s]}") for s in COLORS if s in seen]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=7.5)
    axes.set(xlim=(-WIDTH / 2 - 0.1, depth * COLUMN + WIDTH / 2 + 0.1), ylim=(rows + 0.6, -0.65 - 0.12 * depth))
    axes.set_axis_off()
    return figure


def _draw_arrow(axes: Axes, start: Box, end: Box, name: str, boxes: list[Box]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    tail, head = (start.x + WIDTH / 2 + 0.02, start.y), (end.x - WIDTH / 2 - 0.02, end.y)
    route, middle = [tail, head], ((tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2)
    if any(_in_the_way(box, tail, head) for box in boxes):  # drawn above the boxes between
        tail, head = (start.x, start.y - HEIGHT / 2 - 0.02), (end.x, end.y - HEIGHT / 2 - 0.02)
        top = min(tail[1], head[1]) - 0.3 - 0.15 * (end.x - start.x) / COLUMN
        route = [tail, (tail[0] + 0.3, top), (head[0] - 0.3, top), head]
        middle = ((tail[0] + head[0]) / 2, (tail[1] + 6 * top + head[1]) / 8)
    path = Path(route, [Path.MOVETO, *[Path.CURVE4 if len(route) > 2 else Path.LINETO] * (len(route) - 1)])
    reads = name and not name.endswith("·")  # a tensor that a transform reads in addition to its rewards
    style: Any = (0, (3, 2)) if reads else "-"
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=9, color="#4a5568", linewidth=0.9, linestyle=style, zorder=1
        )
    )
    if name:
        around = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        font: dict[str, Any] = {"fontsize": 6.0, "style": "italic", "color": "#4a5568", "bbox": around}
        axes.text(*middle, name, ha="center", va="center", zorder=4, **font)


def _in_the_way(box: Box, tail: tuple[float, float], head: tuple[float, float]) -> bool:
    """Return whether a straight arrow would cross a box."""
    if not tail[0] < box.x < head[0]:
        return False
    share = (box.x - tail[0]) / (head[0] - tail[0])
    return abs(tail[1] + share * (head[1] - tail[1]) - box.y) < HEIGHT / 2 + 0.1
