"""Task files as a user of lm-evaluation-harness writes them, with their items beside them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

LONG = " ".join(["the state of our union is strong and growing fast with people"] * 40)

# As lm_eval/tasks/blimp/_template_yaml, with items of its own.
AGREEMENT = {
    "output_type": "multiple_choice",
    "doc_to_text": "",
    "doc_to_target": 0,
    "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
    "num_fewshot": 0,
    "metric_list": [{"metric": "acc"}],
    "metadata": {"version": 1.0},
}
CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_target": "label",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
LAST_WORD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{text}} ",
    "doc_to_target": "{{word}}",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc"}],
}
DOCUMENTS = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
}
ANSWERS = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["the", "\n\n"], "max_gen_toks": 5},
    "metric_list": [{"metric": "exact_match"}],
}
TASKS = {
    "agreement": AGREEMENT,
    "choices": CHOICES,
    "last_word": LAST_WORD,
    "documents": DOCUMENTS,
    "answers": ANSWERS,
}
ITEMS = {
    "agreement": [
        {
            "sentence_good": "the people of our union growing",
            "sentence_bad": "people the our of union growing",
        },
        {"sentence_good": "our union is strong", "sentence_bad": "our is union strong"},
        {"sentence_good": "strong and growing fast", "sentence_bad": "strong growing and fast"},
    ],
    "choices": [
        {"question": "the state of our", "choices": ["union", "fast", "the people"], "label": 0},
        {"question": f"{LONG} is", "choices": ["with", "strong", "and"], "label": 1},
        {"question": "growing fast", "choices": ["of", "is", "with"], "label": 2},
    ],
    "last_word": [
        {"text": "the state of our", "word": "union"},
        {"text": "union is strong", "word": "and"},
        {"text": "growing fast", "word": "people"},
    ],
    "documents": [{"text": "the state of our union"}, {"text": LONG}],
    "answers": [
        {"question": " the state", "answer": " "},
        {"question": " our people", "answer": " is strong"},
        {"question": LONG, "answer": ""},
    ],
}


def write_tasks(folder: Path) -> Path:
    """One YAML file and one JSONL file a task, and a group of two."""
    for name, task in TASKS.items():
        items = folder / f"{name}.jsonl"
        items.write_text("".join(json.dumps(item) + "\n" for item in ITEMS[name]))
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(items)}}}
        written = {"task": name, "test_split": "test", **data, **task}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(written))
    both = {"group": "both", "task": ["agreement", "choices"], "aggregate_metric_list": [{"metric": "acc"}]}
    (folder / "both.yaml").write_text(yaml.safe_dump(both))
    return folder
