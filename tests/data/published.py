"""Records in the form in which the public sets are published, a few of each, with the flaws that occur in them."""

ULTRAFEEDBACK = [
    {
        "source": "evol_instruct",
        "instruction": "Name a river.",
        "models": ["a", "b", "c"],
        "completions": [
            {"model": "a", "response": "The Rhine.", "overall_score": 1.0, "fine-grained_score": 4.5,
             "annotations": {"helpfulness": {"Rating": "5", "Rationale": ""}, "honesty": {"Rating": "4"}}},
            {"model": "b", "response": "Rhine", "overall_score": 10.0, "fine-grained_score": 1.5,
             "annotations": {"helpfulness": {"Rating": "2"}, "honesty": {"Rating": "1"}}},
            {"model": "c", "response": "The Alps.", "fine-grained_score": 1.0,
             "annotations": {"helpfulness": {"Rating": "N/A"}, "honesty": {"Rating": "1"}}},
        ],
        "correct_answers": ["None"],
    },
    {
        "source": "sharegpt",
        "instruction": "Say hi.",
        "completions": [
            {"response": "Hi", "annotations": {"helpfulness": {"Rating": "3"}}},
            {"response": "Hey", "annotations": {"helpfulness": {"Rating": "3"}}},
        ],
    },
]  # fmt: skip

BINARIZED = [
    {
        "prompt": "Say hi.",
        "prompt_id": "f00",
        "chosen": [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "Hi!"}],
        "rejected": [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "No."}],
        "messages": [],
        "score_chosen": 8.5,
        "score_rejected": 7.0,
    },
    {
        "prompt": "Say bye.",
        "prompt_id": "f01",
        "chosen": [{"role": "user", "content": "Say bye."}, {"role": "assistant", "content": "Bye."}],
        "rejected": [{"role": "user", "content": "Say bye."}, {"role": "assistant", "content": "Farewell."}],
        "messages": [],
        "score_chosen": 7.0,
        "score_rejected": 7.0,
    },
]

HH = [
    {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A river?\n\nAssistant: The Rhine.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A river?\n\nAssistant: The Alps.",
    },
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant:"},
    {
        "chosen": "\n\nHuman: Hi\n\nAssistant: A\n\nHuman: B\n\nAssistant: C",
        "rejected": "\n\nHuman: Hi\n\nAssistant: D",
    },
]

HELPSTEER2 = [
    {"prompt": "A river?", "response": "The Rhine.", "helpfulness": 4, "correctness": 4, "coherence": 4,
     "complexity": 1, "verbosity": 1},
    {"prompt": "A river?", "response": "The Alps.", "helpfulness": 1, "correctness": 0, "coherence": 4,
     "complexity": 1, "verbosity": 1},
    {"prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye", "response": "Bye", "helpfulness": 2,
     "correctness": 2, "coherence": 4, "complexity": 0, "verbosity": 0},
    {"prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye", "response": "So long", "helpfulness": 2,
     "correctness": 3, "coherence": 4, "complexity": 0, "verbosity": 0},
]  # fmt: skip

HELPSTEER2_PREFERENCE = [
    {"split": "train", "prompt": "A river?", "response_1": "The Rhine.", "response_2": "The Alps.",
     "preference_strength": -3, "preference_statement": "", "preference_elaboration": "",
     "three_most_similar_preferences": [{"strength": -3}, {"strength": -3}, {"strength": -2}]},
    {"split": "validation", "prompt": "A hill?", "response_1": "The Rhine.", "response_2": "The Alps.",
     "preference_strength": 1, "three_most_similar_preferences": [{"strength": 3}, {"strength": 1}, {"strength": -1}]},
]  # fmt: skip

HELPSTEER3 = [
    {"domain": "general", "language": "english", "context": [{"role": "user", "content": "A river?"}],
     "response1": "The Alps.", "response2": "The Rhine.", "overall_preference": 2,
     "individual_preference": [{"score": 2, "reasoning": ""}, {"score": 2}, {"score": 3}]},
    {"domain": "code", "language": "python", "context": [{"role": "user", "content": "One?"}], "response1": "1",
     "response2": "one", "overall_preference": 0, "individual_preference": [{"score": 0}]},
]  # fmt: skip

NECTAR = [
    {
        "prompt": "\n\nHuman: A river?\n\nAssistant: ",
        "answers": [
            {"answer": "The Alps.", "model": "a", "rank": 3.0},
            {"answer": "The Rhine.", "model": "b", "rank": 1.0},
            {"answer": "Rhine", "model": "c", "rank": 2.0},
        ],
        "turns": 1,
        "num_responses": 3,
        "source": ["sharegpt"],
        "good_natured": True,
    }
]

SKYWORK = [
    {
        "chosen": [{"content": "1+1?", "role": "user"}, {"content": "2", "role": "assistant"}],
        "rejected": [{"content": "1+1?", "role": "user"}, {"content": "3", "role": "assistant"}],
        "source": "magpie_ultra",
    },
    {
        "chosen": [{"content": "1+1?", "role": "user"}, {"content": "2", "role": "assistant"}],
        "rejected": [{"content": "1+1?", "role": "user"}, {"content": "2", "role": "assistant"}],
        "source": "magpie_ultra",
    },
]

RPR = [
    {
        "prompt": "A city?",
        "response_a": "Ulm",
        "response_b": "Rome",
        "criteria_x": "small",
        "criteria_y": "old",
        "scenario_x": "You need quiet.",
        "scenario_y": "You study ruins.",
    }
]

MATH_SHEPHERD = [
    {
        "input": "What is 1+2? Step 1: 1+2=3. ки\nStep 2: The answer is: 4 ки",
        "label": "What is 1+2? Step 1: 1+2=3. +\nStep 2: The answer is: 4 -",
        "task": "GSM8K",
    },
    {
        "input": "What is 2+2? Step 1: 2+2=4. ки",
        "label": "What is 2+2? Step 1: 2+2=5. +",
        "task": "MATH",
    },
]

PRM800K = [
    {
        "labeler": "x",
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": "1+2+3?", "ground_truth_answer": "6"},
        "label": {
            "steps": [
                {
                    "completions": [
                        {"text": "1+2=3", "rating": 1, "flagged": None},
                        {"text": "1+2=4", "rating": -1, "flagged": None},
                    ],
                    "human_completion": None,
                    "chosen_completion": 0,
                },
                {
                    "completions": [{"text": "Let us go on", "rating": 0, "flagged": None}],
                    "human_completion": None,
                    "chosen_completion": 0,
                },
                {
                    "completions": [{"text": "3+3=7", "rating": -1, "flagged": None}],
                    "human_completion": None,
                    "chosen_completion": None,
                },
            ],
            "finish_reason": "found_error",
        },
    },
    {
        "is_quality_control_question": True,
        "is_initial_screening_question": False,
        "question": {"problem": "?"},
        "label": {"steps": []},
    },
    {
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": "2+2?"},
        "label": {
            "steps": [
                {
                    "completions": [{"text": "2+2=5", "rating": -1}, {"text": "hm", "rating": None}],
                    "human_completion": {"text": "2+2=4", "rating": None},
                    "chosen_completion": None,
                }
            ],
            "finish_reason": "solution",
        },
    },
]

STEPWISE = [
    {"prompt": "1+2?", "completions": ["1+2=3", "So 4"], "labels": [True, False]},
    {"prompt": "2+2?", "completions": ["2+2=4"], "labels": [True, False]},
]

REWARDBENCH = [
    {
        "prompt": "A river?",
        "chosen": "The Rhine.",
        "chosen_model": "a",
        "rejected": "",
        "rejected_model": "b",
        "subset": "alpacaeval-easy",
        "id": 7,
    }
]

REWARDBENCH2 = [
    {
        "id": "17",
        "prompt": "A river?",
        "chosen": ["The Rhine."],
        "num_correct": 1,
        "rejected": ["The Alps.", "No.", "42"],
        "num_incorrect": 3,
        "total_completions": 4,
        "models": ["a", "b", "c", "d"],
        "subset": "Factuality",
        "additional_metadata": None,
    },
    {
        "id": "tied:0",
        "prompt": "A color of the rainbow?",
        "chosen": ["Red", "Blue"],
        "num_correct": 2,
        "rejected": ["Brown"],
        "num_incorrect": 1,
        "total_completions": 3,
        "models": [],
        "subset": "Ties",
        "additional_metadata": {},
    },
    {
        "id": "bad",
        "prompt": "?",
        "chosen": ["a"],
        "num_correct": 2,
        "rejected": ["b"],
        "num_incorrect": 1,
        "subset": "Math",
    },
]

RM_BENCH = [
    {
        "id": "chat/1",
        "prompt": "A river?",
        "chosen": ["Rhine", "The Rhine is one.", "**The Rhine** is one."],
        "rejected": ["Alps", "The Alps are one.", "**The Alps** are one."],
        "domain": "chat",
        "error_key": "",
    }
]
