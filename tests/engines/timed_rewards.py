"""Rewards that run in workers, in a module that is quick to import."""

import os


def ends_the_process(completions, **columns):
    if any("or" in text for text in completions):
        os._exit(3)
    return [float(len(text)) for text in completions]


def unscored_there(completions, **columns):
    return [None if "or" in text else float(len(text)) for text in completions]


def hangs(completions, **columns):
    while "hang" in completions:
        pass
    return [float(len(set(completions)))] * len(completions)


def of_the_state(completions, trainer_state, log_metric, **columns):
    return [float(trainer_state.global_step)] * len(completions)


def raises(completions, **columns):
    raise LookupError("no such key")


async def slowly(completions, **columns):
    return [None if "or" in text else float(len(text)) for text in completions]
