"""`rewardsmith train-reward`: parse, read, train, print the figures on held-out rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rewardsmith.cli import shell

if TYPE_CHECKING:
    from rewardsmith.data.readers import ReadData

KINDS = ("pairwise", "rating", "steps", "implicit")
DataName = Annotated[
    str | None, typer.Argument(help="Preference data: a file, a folder, or a name on the hub.", show_default=False)
]
Outcomes = Annotated[
    str | None,
    typer.Option(
        help="Instead of preference data, for --kind implicit: completions with a label, true or false.",
        show_default=False,
    ),
]
OutcomeLoss = Annotated[str, typer.Option("--loss", help="Loss of outcomes: ce, or dpo, nca or kto.")]
Beta = Annotated[float, typer.Option(help="β of --kind implicit; rewards are β times a log-ratio.")]
Models = Annotated[
    list[str],
    typer.Option(
        "--model", help="Folder or name of the model to start from; repeat it for one start per member.",
        show_default=False,
    ),
]  # fmt: skip
Out = Annotated[Path, typer.Option(help="Folder for the reward model; also lets a run resume.", show_default=False)]
Kind = Annotated[str, typer.Option(help="pairwise (pairs), rating (rated answers), steps (labeled steps) or implicit.")]
SideBySide = Annotated[
    str, typer.Option(help="How members train: no (in turn), processes (one each, on the cores) or stacked (one run).")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="name=value of the schema, such as pairs=all.", show_default=False)
]
StepEnd = Annotated[str, typer.Option(help=r"Text that ends a step, for --kind steps; \\n is a line break.")]
CheckpointSteps = Annotated[int, typer.Option(min=1, help="Updates between checkpoints of an unfinished run.")]
LoraRank = Annotated[int, typer.Option(min=0, help="Rank of adapters to train with the head; 0 trains all weights.")]
LoraAlpha = Annotated[float | None, typer.Option(min=0.0, help="Scale of the adapters; twice their rank if not given.")]


def train_reward_command(
    data: DataName = None,
    *,
    model: Models,
    out: Out,
    kind: Kind = "pairwise",
    outcomes: Outcomes = None,
    loss: OutcomeLoss = "ce",
    beta: Beta = 0.05,
    members: Annotated[int, typer.Option(min=1, help="Train an ensemble of this many.")] = 1,
    subset: Annotated[float, typer.Option(min=0.05, max=1.0, help="Share of the prompts that each member sees.")] = 1.0,
    side_by_side: SideBySide = "no",
    held_out: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of the prompts to test on.")] = 0.1,
    schema: Annotated[str | None, typer.Option(help="Schema of the data, if its columns do not show it.")] = None,
    split: shell.Split = None,
    limit: shell.Limit = None,
    option: Options = None,
    strength: Annotated[str, typer.Option(help="Use of a pair's strength: ignore, weight or margin.")] = "ignore",
    epochs: Annotated[float, typer.Option(help="Passes over the rows.")] = 1.0,
    max_steps: Annotated[int, typer.Option(help="Updates instead of epochs; -1 for epochs.")] = -1,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per update and device.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Learning rate at the start; it falls linearly to 0.")] = 2e-5,
    max_length: Annotated[int, typer.Option(min=1, help="Longest row in tokens; longer ones are left out.")] = 1024,
    center: Annotated[float, typer.Option(min=0.0, help="Weight of the loss that centers the scores of pairs.")] = 0.0,
    head_only: Annotated[bool, typer.Option("--head-only", help="Train only the head.")] = False,
    lora_rank: LoraRank = 0,
    lora_alpha: LoraAlpha = None,
    step_end: StepEnd = r"\n",
    checkpoint_steps: CheckpointSteps = 500,
    trust_remote_code: shell.TrustRemoteCode = False,
    seed: Annotated[int, typer.Option(help="Seed of the first member; each further one adds 1.")] = 0,
    as_json: shell.AsJson = False,
) -> None:
    """Train a reward model, or an ensemble, on preference data, and test it on held-out prompts.

    The same command resumes an interrupted run. Exit code 2: the data, the model or an option is unusable.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with shell.explained_errors("resume with the same command", ImportError):
        from rewardsmith._check import check_choice
        from rewardsmith.data import held_out as data_held_out
        from rewardsmith.data import read_outcomes, read_preferences, read_ratings, read_steps

        check_choice("rewardsmith train-reward", "--kind", kind, KINDS)
        if (source := outcomes if kind == "implicit" else data) is None or None not in (outcomes, data):
            raise ValueError(
                "rewardsmith train-reward: give one source of rows: preference data, or, with --kind implicit, "
                "--outcomes FILE."
            )
        if kind != "implicit" and (loss, beta) != ("ce", 0.05):
            raise ValueError(
                f"rewardsmith train-reward: --loss and --beta are of --kind implicit, and this is {kind}. Leave them "
                "out, or give --kind implicit with --outcomes."
            )
        for name in model:  # before any data is read or the hub is contacted
            local = name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1
            if local and not Path(name).is_dir():
                raise ValueError(
                    f"rewardsmith train-reward: there is no folder {name}. Give a model's folder, or its name on the "
                    "hub."
                )
        options: dict[str, Any] = {}
        for name, equals, text in (given.partition("=") for given in option or ()):
            if not equals:
                raise ValueError(f"rewardsmith train-reward: --option {name} has no value. Write name=value.")
            try:
                options[name] = json.loads(text)
            except json.JSONDecodeError:
                options[name] = text
        readers = (read_preferences, read_ratings, read_steps, read_outcomes)
        reader: Any = dict(zip(KINDS, readers, strict=True))[kind]
        read: ReadData[Any] = reader(source, schema=schema, split=split, limit=limit, **options)
        if not as_json and _main_process():
            typer.echo(read.card.as_text())
        # These load for seconds, so after all checks without them.
        from rewardsmith.engines.trl import RewardFit, fit_members
        from rewardsmith.engines.trl.held_out import held_out_figures, plan_members
        from rewardsmith.engines.trl.members import quiet

        fit = RewardFit(
            strength=cast("Any", strength), epochs=epochs, max_steps=max_steps, batch_size=batch_size,
            max_length=max_length, learning_rate=learning_rate, center=center, head_only=head_only, seed=seed,
            lora_rank=lora_rank, lora_alpha=lora_alpha, step_end=step_end.replace(r"\n", "\n"),
            outcome_loss=cast("Any", loss), beta=beta, checkpoint_steps=checkpoint_steps,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
        quiet()
        train, test = data_held_out(read.rows, share=held_out, seed=seed)
        planned = plan_members(train, model, out, fit, members=members, subset=subset)
        for member in planned if _main_process() else ():
            done = (Path(member.out) / "training.json").is_file()
            size = f"{len(member.rows)} rows, from {member.model}."
            typer.echo(f"{'Found' if done else 'Training'} {member.out}: {size}", err=True)
        folders = fit_members(planned, side_by_side=cast("Any", side_by_side))
        if not _main_process():  # of several processes only the first has figures and prints
            return
        figures = held_out_figures(test, folders, **({"trust_remote_code": True} if trust_remote_code else {}))
    if as_json:
        result = {"out": str(out), "n_train": len(train), "n_held_out": len(test), "figures": figures}
        typer.echo(json.dumps(result | {"card": json.loads(read.card.as_json())}))
        return
    typer.echo(f"{len(train)} rows to train on, {len(test)} held out")
    for name, figure in figures.items():
        low, high = figure["low"], figure["high"]
        interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
        typer.echo(f"  {name}: {figure['value']:.3f}{interval}, n = {figure['n']}")
    typer.echo(f"Saved: {out}")


def _main_process() -> bool:
    """Return whether this is the only process, or the first that `accelerate launch`, torchrun or MPI started."""
    ranks = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
    return int(next((os.environ[name] for name in ranks if os.environ.get(name)), "0")) == 0
