"""`rewardsmith study`: parse, read or run a zoo of rewards, correlate, draw, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rewardsmith.cli import shell

Source = Annotated[
    str,
    typer.Argument(
        help="Scores of rewards, or systems with rm_val_acc, proxy_gain, gold_gain, …, as .jsonl or .csv; with "
        "--reward, completions with a column gold; or zoo, a world.",
        show_default=False,
    ),
]
Rewards = Annotated[list[str] | None, typer.Option("--reward", help="A reward to run; 8 at least.")]
Items = Annotated[str | None, typer.Option(help="Benchmark to run the rewards on: a file, a folder or a hub name.")]
N = Annotated[int, typer.Option(min=1, help="Candidates of best-of-n.")]
KL = Annotated[float, typer.Option("--kl", help="KL of the tilted policy to the start policy, in nats.")]
Seed = Annotated[int, typer.Option(help="Of the world.")]
Out = Annotated[Path | None, typer.Option(help="Folder for study.json and study.svg.")]


def study_command(
    source: Source,
    *,
    reward: Rewards = None,
    items: Items = None,
    n: N = 16,
    kl: KL = 1.0,
    seed: Seed = 0,
    out: Out = None,
    as_json: shell.AsJson = False,
    workers: shell.Workers = None,
    timeout: shell.Timeout = None,
) -> None:
    """Measure over many rewards what their benchmark scores foretell about policies that optimize them.

    Systems with accuracies and gains in place of scores give the report on objective mismatch.

    Exit code 0: done. 2: the source, a reward or an option is unusable, or there are fewer than 8 rewards.
    """
    with shell.explained_errors(shell.what_is_kept(out)):
        from rewardsmith._disk import replacing
        from rewardsmith._pictures import picture_svg
        from rewardsmith.auditing.render.write import strict_json
        from rewardsmith.benchmarks.study import study_figure, zoo_from
        from rewardsmith.data.records import records_of
        from rewardsmith.measures import downstream_study, objective_mismatch_report

        report = None
        with shell.stdout_kept_for_the_result():
            if reward:
                zoo = _run(source, reward, items, {"workers": 1 if workers is None else workers, "timeout": timeout})
            elif source == "zoo":
                from rewardsmith.worlds.reward_zoo import sampled_zoo

                zoo = zoo_from(sampled_zoo(seed))
            else:
                records = list(records_of("rewardsmith study", source))
                if not records or not {"scores", "score"} & set(records[0]):
                    report = objective_mismatch_report(records)
                else:
                    zoo = zoo_from(records)
        if report is not None:
            typer.echo(strict_json(_plain(report)) if as_json else report.as_text())
            raise typer.Exit(0)
        with shell.stdout_kept_for_the_result():
            study = downstream_study(zoo.benchmarks, zoo.rewards, zoo.gold, n=n, kl=kl)
        record = {"rewards": zoo.names, "n": n, "kl": kl, "benchmarks": zoo.benchmarks, **study._asdict()}
        lines = [f"{len(zoo.names)} rewards, best of {n} and KL {kl:g}"]
        for name in zoo.benchmarks:
            lines += [f"  {name} and gold, best of n: {study.best_of_n[name].as_text()}"]
            lines += [f"  {name} and gold, tilted:    {study.tilted[name].as_text()}"]
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for name, text in (
                ("study.json", strict_json(_plain(record))),
                ("study.svg", picture_svg(study_figure(zoo, study))),
            ):
                with replacing(out / name) as file:
                    file.write(f"{text}\n".encode())
            lines.append(f"Saved: {out / 'study.json'}, {out / 'study.svg'}")
        typer.echo(strict_json(_plain(record)) if as_json else "\n".join(lines))


def _run(source: str, rewards: list[str], items: str | None, options: dict[str, Any]) -> Any:
    """Run the rewards on the benchmark's items and on the completions."""
    from rewardsmith.benchmarks.study import run_zoo
    from rewardsmith.data import read_benchmark, read_rows
    from rewardsmith.scoring import load_target

    if items is None:
        raise ValueError("rewardsmith study: --reward needs --items, the benchmark to run it on. Name one.")
    read, rows = read_benchmark(items), read_rows(source)
    return run_zoo({name: load_target(name) for name in rewards}, read.rows, rows, protocol=read.card.schema, **options)


def _plain(value: Any) -> Any:
    """Return tuples with names as mappings, and arrays as lists, for JSON."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value
