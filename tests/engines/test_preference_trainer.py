"""Our PreferenceTrainer is TRL's DPOTrainer until a column or an option asks for more, and each does what it says."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import trl
from datasets import Dataset
from torch.nn import functional as F
from trl import DPOConfig

from rewardsmith.engines.trl import Anchor, PreferenceTrainer, TokenRegularizer, with_contrast_rewards
from rewardsmith.objectives import dynamic_beta
from tests.engines.helpers import logged, on_cpu, parameters

pytestmark = pytest.mark.slow

NAN = float("nan")
BETA = 0.3


def rows(n=6, **columns):
    generator = torch.Generator().manual_seed(3)
    made = []
    for i in range(n):
        a, b = torch.randint(9, (2,), generator=generator).tolist()
        more = {name: values[i % len(values)] for name, values in columns.items()}
        made.append({"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": f"maybe {a} or {b}", **more})
    return Dataset.from_list(made)


def make(trainer_class, world, dataset, *, config=None, model=None, ref_model=None, **options):
    settings = {"per_device_train_batch_size": 3, "learning_rate": 1e-3, "max_steps": 2, "beta": BETA, **(config or {})}
    return trainer_class(
        model or world.reload().model,
        ref_model,
        args=DPOConfig(**on_cpu(**settings)),
        train_dataset=dataset,
        processing_class=copy.deepcopy(world.tokenizer),
        **options,
    )


@pytest.fixture(scope="module")
def policy(world):
    """A policy that is no longer its reference."""
    trainer = make(trl.DPOTrainer, world, rows(), config={"learning_rate": 1e-2})
    trainer.train()
    return trainer.model


def first_loss(world, policy, dataset, **options):
    """The loss of one batch with every row, before any step, and the trainer."""
    trainer = make(PreferenceTrainer, world, dataset, model=copy.deepcopy(policy), **options)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(dataset))])
    return trainer.compute_loss(trainer.model, batch), trainer


def token_logps(world, model, prompt, completion):
    """log π of each token of the completion with its end token, one text at a time, in float64, by full softmax."""
    model = copy.deepcopy(model).double().eval()
    start = len(world.tokenizer(prompt)["input_ids"])
    ids = world.tokenizer(prompt + completion + "<eos>", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logps = type(model).forward(model, input_ids=ids).logits[0, :-1].log_softmax(dim=-1)
    return logps.gather(-1, ids[0, 1:, None])[start - 1 :, 0]


def slow_loss(world, policy, dataset, *, terms=lambda row, h, logps: 0.0):
    """The documented loss, row by row."""
    ref = world.reload().model
    weights = [row.get("weight", 1.0) for row in dataset]
    total = 0.0
    for row, w in zip(dataset, weights, strict=True):
        sides = ("chosen", "rejected")
        logps = {side: token_logps(world, policy, row["prompt"], row[side]) for side in sides}
        refs = {side: token_logps(world, ref, row["prompt"], row[side]) for side in sides}
        ratio = {side: float((logps[side] - refs[side]).sum()) for side in sides}
        beta, t = row.get("beta", BETA), row.get("target", 1.0)
        h = beta * (ratio["chosen"] - ratio["rejected"])
        loss = t * math.log1p(math.exp(-h)) + (1 - t) * math.log1p(math.exp(h))
        total += w / (sum(weights) / len(weights)) * (loss + terms(row, h, (logps, refs)))
    return total / len(dataset)


def with_token_rewards(world, dataset):
    generator = torch.Generator().manual_seed(1)

    def draw(text):
        n = len(world.tokenizer(text + "<eos>")["input_ids"])
        return (torch.rand(n, generator=generator) - 0.5).tolist()

    return dataset.map(lambda row: {f"{side}_token_rewards": draw(row[side]) for side in ("chosen", "rejected")})


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"loss_type": ["ipo"]},
        {"precompute_ref_log_probs": True},
        {"max_length": 6, "gradient_accumulation_steps": 2},
    ],
    ids=["sigmoid", "ipo", "precomputed", "truncated"],
)
def test_with_no_option_training_is_trls_bit_for_bit(world, config):
    theirs, ours = (
        make(kind, world, rows(unrelated=[1.0]), config=config) for kind in (trl.DPOTrainer, PreferenceTrainer)
    )
    theirs.train()
    ours.train()
    names = ("loss", "rewards/margins", "logps/chosen", "entropy", "mean_token_accuracy", "grad_norm")
    assert {name: logged(ours, name) for name in names} == {name: logged(theirs, name) for name in names}
    assert torch.equal(parameters(ours), parameters(theirs))
    assert not torch.equal(parameters(ours), torch.cat([p.flatten() for p in world.reload().model.parameters()]))


def test_neutral_columns_change_the_loss_by_rounding_alone(world, policy):
    plain, _ = first_loss(world, policy, rows())
    neutral, _ = first_loss(world, policy, rows(target=[None], beta=[None], weight=[None]))
    assert float(neutral) == pytest.approx(float(plain), rel=1e-6)


def test_columns_give_the_loss_of_a_slow_loop(world, policy):
    columns = {"target": [1.0, 0.5, 0.8, 0.0], "beta": [0.1, 0.5], "weight": [1.0, 2.0, 0.0]}
    for chosen in (columns, *({name: values} for name, values in columns.items())):
        dataset = rows(**chosen)
        got, _ = first_loss(world, policy, dataset)
        assert float(got) == pytest.approx(slow_loss(world, policy, dataset), rel=1e-5)


def test_dynamic_beta_trains_as_mm_dpo_and_its_own_betas_are_logged(world):
    margins = torch.tensor([2.0, 0.1, 0.5, 1.0, -3.0, 0.0])
    betas = dynamic_beta(margins, beta=BETA)
    dataset = rows().add_column("beta", betas.tolist())
    start = torch.cat([p.flatten() for p in world.reload().model.parameters()])
    trainer = make(
        PreferenceTrainer, world, dataset, anchor=Anchor(0.25, "mean"),
        config={"per_device_train_batch_size": 6, "max_steps": 12},
    )  # fmt: skip
    trainer.train()
    assert trainer.args.beta == trainer.beta == BETA
    assert not torch.equal(parameters(trainer), start)
    got, trained = first_loss(world, trainer.model, dataset, anchor=Anchor(0.25, "mean"))
    expected = slow_loss(
        world, trainer.model, dataset, terms=lambda row, h, logps: -0.25 * float(logps[0]["chosen"].mean())
    )
    assert float(got) == pytest.approx(expected, rel=1e-5)
    models = ((trainer.model, 1), (world.reload().model, -1))
    gaps = [
        sum(
            sign * side_sign * float(token_logps(world, model, row["prompt"], row[side]).sum())
            for model, sign in models
            for side, side_sign in (("chosen", 1), ("rejected", -1))
        )
        for row in dataset
    ]
    margins = [beta * gap for beta, gap in zip(betas.tolist(), gaps, strict=True)]
    assert trained._metrics["train"]["rewards/margins"] == [pytest.approx(sum(margins) / 6, rel=1e-4)]
    assert logged(trainer, "loss")[-1] < logged(trainer, "loss")[0]


@pytest.mark.parametrize("source", ["chosen", "rejected", "reference"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_an_anchor_adds_the_negative_log_likelihood_of_its_completion(world, policy, source, reduction):
    dataset = rows(reference=["so 4", "the answer is 12"])

    def nll(row, h, logps):
        found = token_logps(world, policy, row["prompt"], row[source])
        return -0.05 * float(found.sum() if reduction == "sum" else found.mean())

    got, trainer = first_loss(world, policy, dataset, anchor=Anchor(0.05, reduction, source))
    assert float(got) == pytest.approx(slow_loss(world, policy, dataset, terms=nll), rel=1e-5)
    plain, _ = first_loss(world, policy, dataset)
    assert trainer._metrics["train"]["anchor_nll"] == [pytest.approx(float(got) - float(plain), rel=1e-4)]


def test_an_anchor_goes_with_another_loss_and_with_trls_own_sft_term_where_all_lengths_are_one(world, policy):
    dataset = rows(4)
    ipo, _ = first_loss(world, policy, dataset, config={"loss_type": ["ipo"]})
    both, trainer = first_loss(world, policy, dataset, config={"loss_type": ["ipo"]}, anchor=Anchor(0.2, "mean"))
    assert float(both - ipo) == pytest.approx(trainer._metrics["train"]["anchor_nll"][0], rel=1e-4)
    # TRL's mean is over the batch's tokens, ours over each completion's: the same where each has two, number and end.
    sft = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}
    theirs, _ = first_loss(world, policy, dataset, config=sft)
    ours, _ = first_loss(world, policy, dataset, anchor=Anchor(0.2, "mean"))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("form", ["linear", "squared"])
@pytest.mark.parametrize("on_errors", [False, True])
def test_token_rewards_give_the_term_of_a_slow_loop(world, policy, form, on_errors):
    dataset = with_token_rewards(world, rows(weight=[1.0, 3.0]))

    def term(row, h, logps):
        total = 0.0
        for side in ("chosen", "rejected"):
            for p, q, r in zip(
                logps[0][side].tolist(), logps[1][side].tolist(), row[f"{side}_token_rewards"], strict=True
            ):
                total += -r * p if form == "linear" else (BETA * (p - q) - r) ** 2
        return 0.1 * total / (1 + math.exp(h) if on_errors else 1)

    got, _ = first_loss(world, policy, dataset, token_regularizer=TokenRegularizer(0.1, form, on_errors))
    assert float(got) == pytest.approx(slow_loss(world, policy, dataset, terms=term), rel=1e-5)


def test_contrast_rewards_are_the_squashed_log_ratio_of_two_instructions_at_every_token(world, policy):
    dataset = with_contrast_rewards(
        rows(5), policy, world.tokenizer, better="so ".__add__, worse="maybe or ".__add__, batch_size=2
    )
    for row in dataset:
        for side in ("chosen", "rejected"):
            up, down = (token_logps(world, policy, said + row["prompt"], row[side]) for said in ("so ", "maybe or "))
            expected = [1 / (1 + math.exp(b - a)) - 0.5 for a, b in zip(up.tolist(), down.tolist(), strict=True)]
            assert row[f"{side}_token_rewards"] == pytest.approx(expected, abs=1e-5)


def test_conversations_are_read_as_the_texts_that_their_template_makes_of_them(world, policy):
    texts = rows(4, reference=["so 4"])
    chats = texts.map(
        lambda row: {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            **{side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")},
        }
    )
    chatty = copy.deepcopy(world)
    chatty.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}"
    )
    options = {"anchor": Anchor(0.1, "sum", "reference"), "token_regularizer": TokenRegularizer(0.1)}
    plain = with_contrast_rewards(texts, policy, world.tokenizer, better="so ".__add__, worse="or ".__add__)

    def asked(word):
        return lambda prompt: [{"role": "user", "content": word + prompt[0]["content"]}]

    chat = with_contrast_rewards(chats, policy, chatty.tokenizer, better=asked("so "), worse=asked("or "))
    assert chat["chosen_token_rewards"] == plain["chosen_token_rewards"]
    losses = [first_loss(w, policy, dataset, **options)[0] for w, dataset in ((world, plain), (chatty, chat))]
    assert float(losses[0]) == float(losses[1])


@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_token_rewards_are_cut_with_their_tokens(world, policy, mode):
    """The reward of a token is its id, so that each number in the batch names the token that it belongs to."""
    dataset = rows()
    ids = {
        s: [list(map(float, world.tokenizer(r[s] + "<eos>")["input_ids"])) for r in dataset]
        for s in ("chosen", "rejected")
    }
    for side, values in ids.items():
        dataset = dataset.add_column(f"{side}_token_rewards", values)
    config = {"max_length": 6, "truncation_mode": mode}
    _, trainer = first_loss(world, policy, dataset, token_regularizer=TokenRegularizer(0.1), config=config)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(dataset))])
    assert torch.equal(batch["token_rewards"], (batch["input_ids"] * batch["completion_mask"]).float())
    assert int(batch["attention_mask"].sum(dim=1).max()) == 6


def test_a_pair_with_nan_does_not_count_and_all_nan_is_no_step(world, policy):
    option = {"token_regularizer": TokenRegularizer(0.1, on_errors=True)}
    kept = with_token_rewards(world, rows(3, target=[0.9], beta=[0.2], weight=[1.0]))
    expected, _ = first_loss(world, policy, Dataset.from_list([kept[0], kept[1]]), **option)
    for name in ("target", "beta", "weight"):
        dataset = Dataset.from_list([kept[0], kept[1], kept[2] | {name: NAN}])
        got, trainer = first_loss(world, policy, dataset, **option)
        assert float(got) == pytest.approx(float(expected), rel=1e-6)
        got.backward()
        assert all(p.grad.isfinite().all() for p in trainer.model.parameters())
    trainer = make(PreferenceTrainer, world, rows(target=[NAN]))
    trainer.train()
    assert torch.equal(parameters(trainer), torch.cat([p.flatten() for p in world.reload().model.parameters()]))


def test_an_unknown_token_reward_leaves_out_the_term_of_its_pair(world, policy):
    kept = with_token_rewards(world, rows(3))
    nothing = {
        f"{side}_token_rewards": [0.0] * len(kept[2][f"{side}_token_rewards"]) for side in ("chosen", "rejected")
    }
    some, whole = [None, *kept[2]["chosen_token_rewards"][1:]], None
    losses = [
        first_loss(
            world,
            policy,
            Dataset.from_list([kept[0], kept[1], kept[2] | third]),
            token_regularizer=TokenRegularizer(0.1),
        )
        for third in ({"chosen_token_rewards": some}, {"chosen_token_rewards": whole}, nothing)
    ]
    for loss, trainer in losses[:2]:
        assert float(loss) == pytest.approx(float(losses[2][0]), rel=1e-6)
        loss.backward()
        assert all(p.grad.isfinite().all() for p in trainer.model.parameters())


def test_an_evaluation_and_a_stream_read_the_columns_too(world, policy):
    columns = {"target": [0.7, 0.9], "weight": [2.0], "reference": ["so 4"]}
    dataset = with_token_rewards(world, rows(**columns))
    options = {"anchor": Anchor(0.1, "sum", "reference"), "token_regularizer": TokenRegularizer(0.1)}
    expected, trainer = first_loss(world, policy, dataset, eval_dataset=dataset, **options)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert trainer.evaluate(dataset)["eval_loss"] == pytest.approx(float(expected), rel=1e-5)
    stream = make(PreferenceTrainer, world, dataset.to_iterable_dataset(), **options)
    stream.train()
    assert stream.weight_scale == 1.0
    assert len(logged(stream, "loss")) == len(logged(stream, "anchor_nll")) == 2


def test_low_rank_adapters_have_the_model_below_as_reference(world):
    from peft import LoraConfig

    dataset = with_token_rewards(world, rows(target=[0.8]))
    adapters = {"peft_config": LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)}
    option = {"token_regularizer": TokenRegularizer(0.1, "squared")}
    trainer = make(PreferenceTrainer, world, dataset, **option, **adapters)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(dataset))])
    got = trainer.compute_loss(trainer.model, batch)
    merged = copy.deepcopy(trainer.model).merge_and_unload()

    def term(row, h, logps):
        return 0.1 * sum(
            (BETA * (p - q) - r) ** 2
            for side in ("chosen", "rejected")
            for p, q, r in zip(*(x[side].tolist() for x in logps), row[f"{side}_token_rewards"], strict=True)
        )

    assert float(got) == pytest.approx(slow_loss(world, merged, dataset, terms=term), rel=1e-4)


def test_kept_reference_log_probabilities_are_taken_again_and_refused_for_another_prompt_or_reference(
    world, policy, monkeypatch
):
    config = {"precompute_ref_log_probs": True}
    first = make(PreferenceTrainer, world, rows(weight=[1.0, 2.0]), config=config)
    kept = first.train_dataset
    different = set(zip(kept["prompt"], kept["chosen"], kept["rejected"], strict=True))
    assert len(set(kept["ref_digest"])) == len(different) > 1
    monkeypatch.setattr(PreferenceTrainer, "compute_ref_log_probs", None)  # nothing is computed again
    again = make(PreferenceTrainer, world, kept, config=config)
    assert again.train_dataset["ref_chosen_logps"] == kept["ref_chosen_logps"]
    refused = r"PreferenceTrainer: {} of 6 rows of the train set have log-probabilities of another .* Remove"
    with_goal = kept.map(lambda row, i: {"prompt": "maybe " * (i == 2) + row["prompt"]}, with_indices=True)
    with pytest.raises(ValueError, match=refused.format(1)):
        make(PreferenceTrainer, world, with_goal, config=config)
    with pytest.raises(ValueError, match=refused.format(6)):
        make(PreferenceTrainer, world, kept, config=config, ref_model=copy.deepcopy(policy))
    with pytest.raises(ValueError, match=refused.format(6)):
        make(PreferenceTrainer, world, kept.remove_columns("ref_digest"), config=config)


def test_precomputed_references_give_the_loss_of_live_ones(world, policy):
    dataset = with_token_rewards(world, rows(target=[0.7, 0.9]))
    options = {"token_regularizer": TokenRegularizer(0.1), "ref_model": world.reload().model}
    live, _ = first_loss(world, policy, dataset, **options)
    kept, _ = first_loss(world, policy, dataset, config={"precompute_ref_log_probs": True}, **options)
    assert float(kept) == pytest.approx(float(live), rel=1e-5)


def test_a_large_vocabulary_gives_the_loss_and_the_gradient_of_full_logits():
    from transformers import LlamaConfig, LlamaForCausalLM

    from rewardsmith.worlds.arithmetic_lm import make_tokenizer

    tokenizer = make_tokenizer()
    config = LlamaConfig(vocab_size=128_000, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, tie_word_embeddings=True, initializer_range=0.3)  # fmt: skip
    torch.manual_seed(0)
    model, ref = LlamaForCausalLM(config), LlamaForCausalLM(config)
    ids = torch.randint(1000, 128_000, (4, 6), generator=torch.Generator().manual_seed(0))
    scores = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) - 0.5
    dataset = Dataset.from_list([{"prompt": "1", "chosen": "2", "rejected": "3"}] * 2)
    trainer = PreferenceTrainer(
        model, ref, args=DPOConfig(**on_cpu(max_steps=1, beta=BETA)), train_dataset=dataset.map(
            lambda row: {f"{side}_token_rewards": [0.1, 0.1] for side in ("chosen", "rejected")}
        ), processing_class=tokenizer, token_regularizer=TokenRegularizer(0.5, "squared"),
    )  # fmt: skip
    mask = torch.tensor([[0, 0, 1, 1, 1, 1]] * 4)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}
    batch["token_rewards"] = scores
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    got = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()

    def plain(module):
        logits = type(module).forward(module, input_ids=ids).logits[:, :-1]
        return logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])[..., 0] * mask[:, 1:]

    with torch.no_grad():
        ref_logps = plain(ref)
    ratio = plain(model) - ref_logps
    chosen, rejected = ratio.sum(dim=1).chunk(2)
    squares = ((BETA * ratio - scores[:, 1:]) ** 2 * mask[:, 1:]).sum(dim=1)
    expected = (-F.logsigmoid(BETA * (chosen - rejected)) + 0.5 * (squares[:2] + squares[2:])).mean()
    expected.backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("columns", "config", "options", "message"),
    [
        ({"beta": [0.1]}, {"loss_type": ["ipo"]}, {}, "the column beta changes the sigmoid loss, and"),
        ({"target": [1.5]}, {}, {}, r"target is 1.5, and a probability lies in \[0, 1\]. Clamp it"),
        ({"target": ["0.9"]}, {}, {}, "target is '0.9'. Pass a finite number; NaN for"),
        ({"beta": [math.inf]}, {}, {}, "beta is inf. Pass a finite number; NaN for"),
        ({"weight": [-1.0]}, {}, {}, "weight is -1.0. Pass a finite number, at least 0; NaN for"),
        ({"weight": [math.inf]}, {}, {}, "weight is inf. Pass a finite number, at least 0; NaN for"),
        ({}, {"max_length": 2}, {}, "no pair of the train set is left, .* longer than max_length .2."),
        ({}, {}, {"anchor": Anchor(1.0, "sum", "teacher")}, "the data set has no column teacher, which an"),
        ({"teacher": [None]}, {}, {"anchor": Anchor(1.0, "sum", "teacher")}, "teacher, .* is None in a row. Give each"),
        ({}, {}, {"token_regularizer": TokenRegularizer(0.1)}, "the data set has no column chosen_token_rewards"),
        (
            {"chosen_token_rewards": [[0.1]], "rejected_token_rewards": [[0.1]]},
            {},
            {"token_regularizer": TokenRegularizer(0.1)},
            "chosen_token_rewards has 1 numbers for 2 tokens, the end token included",
        ),
        (
            {"chosen_token_rewards": [[0.1]], "rejected_token_rewards": [[0.1]]},
            {"precompute_ref_log_probs": True},
            {"token_regularizer": TokenRegularizer(0.1, "squared")},
            "the .squared. token_regularizer needs the reference at every token, and precompute_ref_log_probs keeps",
        ),
        (
            {"teacher": ["so 4"]},
            {},
            {"anchor": Anchor(1.0, "sum", "teacher"), "data_collator": list},
            "token rewards, and an anchor from another column, need TRL's collator of texts. Leave out data_collator",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(world, columns, config, options, message):
    with pytest.raises(ValueError, match=f"PreferenceTrainer: {message}"):
        make(PreferenceTrainer, world, rows(**columns), config=config, **options)


def test_columns_that_only_the_evaluation_has_are_read(world, policy):
    own = rows(target=[0.2], weight=[1.0])
    expected, _ = first_loss(world, policy, own)
    for held in (own, {"own": own}):
        trainer = make(PreferenceTrainer, world, rows(), model=copy.deepcopy(policy), eval_dataset=held)
        found = trainer.evaluate()
        assert found.get("eval_loss", found.get("eval_own_loss")) == pytest.approx(float(expected), rel=1e-5)


def test_a_pair_weighs_the_same_beside_pairs_that_do_not_count(world, policy):
    """Two batches of three, accumulated: the mean over all five known pairs, wherever the pair of NaN stands."""
    dataset = rows(6, target=[0.9])
    kept = [row | ({"target": NAN} if k == 1 else {}) for k, row in enumerate(dataset)]
    expected, _ = first_loss(world, policy, Dataset.from_list([row for k, row in enumerate(kept) if k != 1]))
    _, trainer = first_loss(world, policy, Dataset.from_list(kept))
    batches = [[trainer.train_dataset[i] for i in part] for part in (range(3), range(3, 6))]
    losses = [float(trainer.compute_loss(trainer.model, trainer.data_collator(batch))) for batch in batches]
    assert sum(losses) / 2 == pytest.approx(float(expected), rel=1e-5)


def test_an_anchor_needs_a_prompt_to_follow(world):
    bare = rows(teacher=["so 4"]).remove_columns("prompt")
    with pytest.raises(ValueError, match="an anchor from another column needs a column prompt, and the rows"):
        make(PreferenceTrainer, world, bare, anchor=Anchor(1.0, "sum", "teacher"))


def test_rows_in_memory_are_not_precomputed_by_several_processes(world):
    trainer = make(PreferenceTrainer, world, rows())
    trainer.accelerator = SimpleNamespace(num_processes=2)
    with pytest.raises(ValueError, match=r"the train set is in memory, and TRL shares .* Save it with save_to_disk"):
        trainer._precompute_ref_logps(trainer.train_dataset, "train", 2)
