"""Every shipped task reads files with exactly the columns that its source has on Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from experiments.evidence.metrics import METRICS
from experiments.recipe.groups.task import TaskConfig
from experiments.recipe.presets import configs_dir, preset
from experiments.tasks.kinds import KINDS
from experiments.tasks.rows import examples, load
from experiments.tasks.sources import EMBEDDED

NAMES = sorted(file.stem for file in (configs_dir() / "task").glob("*.yaml"))
COPIES = 100  # enough for a tenth of them to be one or more
Row = dict[str, Any]


@dataclass(frozen=True)
class Real:
    """row: one of the source's, whole; read: the example made of it; varied: a column, of text or of several
    texts by name, that tells copies apart; splits: the source's; hidden: what stands in its test in place of
    answers."""

    row: Row
    read: Row
    varied: str
    splits: tuple[str, ...] = ("train", "validation", "test")
    hidden: Row | None = None


SECRET = {"label": -1}
NO_TEST = ("train", "validation")

ROWS = {
    "cola": Real(
        {"sentence": "Bill sighed himself.", "label": 0, "idx": 3},
        {"text": "Bill sighed himself.", "label": 0},
        "sentence",
        hidden=SECRET,
    ),
    "sst2": Real(
        {"idx": 4, "sentence": "on the worst revenge-of-the-nerds clichés ", "label": 0},
        {"text": "on the worst revenge-of-the-nerds clichés ", "label": 0},
        "sentence",
        hidden=SECRET,
    ),
    "mrpc": Real(
        {"sentence1": "He said so .", "sentence2": "That is what he said .", "label": 1, "idx": 0},
        {"text": "He said so .", "text_pair": "That is what he said .", "label": 1},
        "sentence1",
    ),
    "qqp": Real(
        {"question1": "How are you?", "question2": "How old are you?", "label": 0, "idx": 7},
        {"text": "How are you?", "text_pair": "How old are you?", "label": 0},
        "question1",
        hidden=SECRET,
    ),
    "stsb": Real(
        {"sentence1": "A plane takes off.", "sentence2": "An air plane takes off.", "label": 5.0, "idx": 0},
        {"text": "A plane takes off.", "text_pair": "An air plane takes off.", "label": 5.0},
        "sentence1",
        hidden={"label": -1.0},
    ),
    "mnli": Real(
        {"premise": "He left.", "hypothesis": "He stayed.", "label": 2, "idx": 0},
        {"text": "He left.", "text_pair": "He stayed.", "label": 2},
        "premise",
        ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"),
    ),
    "qnli": Real(
        {"question": "When?", "sentence": "In 1912.", "label": 0, "idx": 0},
        {"text": "When?", "text_pair": "In 1912.", "label": 0},
        "sentence",
        hidden=SECRET,
    ),
    "rte": Real(
        {"sentence1": "Oil prices fall back.", "sentence2": "Oil prices rise.", "label": 1, "idx": 1},
        {"text": "Oil prices fall back.", "text_pair": "Oil prices rise.", "label": 1},
        "sentence1",
        hidden=SECRET,
    ),
    "wnli": Real(
        {"sentence1": "It fell on it.", "sentence2": "The cup fell on it.", "label": 1, "idx": 0},
        {"text": "It fell on it.", "text_pair": "The cup fell on it.", "label": 1},
        "sentence1",
        hidden=SECRET,
    ),
    "boolq": Real(
        {"question": "is it so", "passage": "It is so.", "idx": 0, "label": 1},
        {"text": "is it so", "text_pair": "It is so.", "label": 1},
        "passage",
        hidden=SECRET,
    ),
    "cb": Real(
        {"premise": "A: I know it rains.", "hypothesis": "it rains", "idx": 0, "label": 2},
        {"text": "A: I know it rains.", "text_pair": "it rains", "label": 2},
        "premise",
        hidden=SECRET,
    ),
    "copa": Real(
        {
            "premise": "My body cast a shadow over the grass.",
            "choice1": "The sun was rising.",
            "choice2": "The grass was cut.",
            "question": "cause",
            "idx": 0,
            "label": 0,
        },
        {
            "text": "My body cast a shadow over the grass. What was the cause?",
            "text_pair": "The sun was rising. Or: The grass was cut.",
            "label": 0,
        },
        "premise",
        hidden=SECRET,
    ),
    "multirc": Real(
        {
            "paragraph": "Sent 1: Animated history of the US.",
            "question": "Of what?",
            "answer": "The US",
            "idx": {"paragraph": 0, "question": 0, "answer": 0},
            "label": 1,
        },
        {"text": "Sent 1: Animated history of the US.", "text_pair": "Of what? The US", "label": 1},
        "paragraph",
        hidden=SECRET,
    ),
    "record": Real(
        {
            "passage": "Tracy Morgan left.\n@highlight\nMorgan, 45, was hurt",
            "query": "@placeholder was hurt",
            "entities": ["Tracy Morgan", "Morgan"],
            "entity_spans": {"text": ["Tracy Morgan", "Morgan"], "start": [0, 30], "end": [12, 36]},
            "answers": ["Morgan"],
            "idx": {"passage": 0, "query": 0},
        },
        {
            "context": "Tracy Morgan left.\n@highlight\nMorgan, 45, was hurt",
            "question": "@placeholder was hurt",
            "answers": ["Morgan"],
            "spans": [[6, 12]],
        },
        "passage",
        hidden={"answers": []},
    ),
    "superglue_rte": Real(
        {"premise": "Oil prices fall back.", "hypothesis": "Oil prices rise.", "idx": 1, "label": 1},
        {"text": "Oil prices fall back.", "text_pair": "Oil prices rise.", "label": 1},
        "premise",
        hidden=SECRET,
    ),
    "wic": Real(
        {
            "word": "place",
            "sentence1": "Do you want to come over to my place?",
            "sentence2": "A political system with no place for women.",
            "start1": 31,
            "start2": 27,
            "end1": 36,
            "end2": 32,
            "idx": 0,
            "label": 0,
        },
        {
            "text": "place: Do you want to come over to my place?",
            "text_pair": "A political system with no place for women.",
            "label": 0,
        },
        "sentence1",
        hidden=SECRET,
    ),
    "wsc": Real(
        {
            "text": "Mark told Pete many lies about himself.",
            "span1_index": 0,
            "span2_index": 6,
            "span1_text": "Mark",
            "span2_text": "himself",
            "idx": 0,
            "label": 1,
        },
        {"text": "Mark told Pete many lies about himself.", "text_pair": "himself: Mark", "label": 1},
        "text",
        hidden=SECRET,
    ),
    "mr": Real({"text": "a joy .", "label": 1}, {"text": "a joy .", "label": 1}, "text"),
    "snli": Real(
        {"premise": "A man sleeps.", "hypothesis": "A man is awake.", "label": 2},
        {"text": "A man sleeps.", "text_pair": "A man is awake.", "label": 2},
        "premise",
    ),
    "wnut17": Real(
        {"id": "0", "tokens": ["@paulwalk", "at", "Empire", "State"], "ner_tags": [0, 0, 7, 8]},
        {"tokens": ["@paulwalk", "at", "Empire", "State"], "tags": ["O", "O", "B-location", "I-location"]},
        "id",
    ),
    "conll2003": Real(
        {
            "id": "0",
            "tokens": ["EU", "rejects"],
            "pos_tags": [22, 42],
            "chunk_tags": [11, 21],
            "ner_tags": [3, 0],
        },
        {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        "id",
    ),
    "squad": Real(
        {
            "id": "5733be28",
            "title": "University_of_Notre_Dame",
            "context": "A golden statue, the “Virgin”, stands atop.",
            "question": "Who stands atop?",
            "answers": {"text": ["Virgin"], "answer_start": [22]},
        },
        {
            "context": "A golden statue, the “Virgin”, stands atop.",
            "question": "Who stands atop?",
            "answers": ["Virgin"],
            "spans": [[22, 28]],
        },
        "context",
        NO_TEST,
    ),
    "squad_v2": Real(
        {
            "id": "5ad39d53",
            "title": "Normans",
            "context": "The Normans gave their name to Normandy.",
            "question": "Who gave their name in 1000?",
            "answers": {"text": [], "answer_start": []},
        },
        {
            "context": "The Normans gave their name to Normandy.",
            "question": "Who gave their name in 1000?",
            "answers": [],
            "spans": [],
        },
        "context",
        NO_TEST,
    ),
    "e2e_nlg": Real(
        {
            "meaning_representation": "name[The Eagle], eatType[coffee shop], near[Burger King]",
            "human_reference": "The Eagle is a coffee shop near Burger King.",
        },
        {
            "source": "name[The Eagle], eatType[coffee shop], near[Burger King]",
            "references": ["The Eagle is a coffee shop near Burger King."],
        },
        "meaning_representation",
    ),
    "xsum": Real(
        {"document": "Clean-up is under way.\nRoads are shut.", "summary": "A flood.", "id": "35232142"},
        {"source": "Clean-up is under way.\nRoads are shut.", "references": ["A flood."]},
        "document",
    ),
    "cnn_dailymail": Real(
        {
            "article": "LONDON -- He is 18.",
            "highlights": "He turns 18 .\nNo plans .",
            "id": "42c0",
        },
        {"source": "LONDON -- He is 18.", "references": ["He turns 18 .\nNo plans ."]},
        "article",
    ),
    "scitldr": Real(
        {
            "source": ["We study masks.", "They matter."],
            "source_labels": [0, 1],
            "rouge_scores": [0.25, 0.5],
            "paper_id": "SysEexbRb",
            "target": ["Masks matter.", "A study of masks."],
        },
        {"source": "We study masks. They matter.", "references": ["Masks matter.", "A study of masks."]},
        "source",
    ),
    "wmt14_de_en": Real(
        {"translation": {"de": "Gutach: Mehr Sicherheit", "en": "Gutach: More safety"}},
        {"source": "Gutach: Mehr Sicherheit", "references": ["Gutach: More safety"]},
        "translation",
    ),
    "wmt16_ro_en": Real(
        {"translation": {"ro": "Șeful ONU", "en": "UN Chief"}},
        {"source": "Șeful ONU", "references": ["UN Chief"]},
        "translation",
    ),
    "wmt16_de_en": Real(
        {"translation": {"de": "Obama empfängt Netanjahu", "en": "Obama receives Netanyahu"}},
        {"source": "Obama empfängt Netanjahu", "references": ["Obama receives Netanyahu"]},
        "translation",
    ),
    "multi30k_de_en": Real(
        {"de": "Ein Hund rennt.", "en": "A dog runs."},
        {"source": "Ein Hund rennt.", "references": ["A dog runs."]},
        "de",
    ),
    "scan": Real(
        {"commands": "jump left", "actions": "I_TURN_LEFT I_JUMP"},
        {"source": "jump left", "references": ["I_TURN_LEFT I_JUMP"]},
        "commands",
        ("train", "test"),
    ),
    "blimp": Real(
        {
            "sentence_good": "Who should Derek hug after shocking Richard?",
            "sentence_bad": "Who should Derek hug Richard after shocking?",
            "field": "syntax",
            "linguistics_term": "island_effects",
            "UID": "adjunct_island",
            "simple_LM_method": True,
            "one_prefix_method": False,
            "two_prefix_method": False,
            "lexically_identical": True,
            "pair_id": 0,
        },
        {
            "good": "Who should Derek hug after shocking Richard?",
            "bad": "Who should Derek hug Richard after shocking?",
            "field": "syntax",
            "phenomenon": "island_effects",
            "paradigm": "adjunct_island",
        },
        "sentence_good",
        ("train",),
    ),
    "lambada": Real(
        {"text": "He gave her the key."},
        {"text": "He gave her the key.", "before": "He gave her the", "word": " key."},
        "text",
        ("test",),
    ),
}


def task_of(name: str, **changes: str) -> TaskConfig:
    return TaskConfig.model_validate(preset("task", name) | changes)


def real(name: str) -> Real:
    assert name in ROWS, f"configs/task/{name}.yaml needs a literal row of its source in ROWS"
    return ROWS[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_names_its_paper_a_kind_and_metrics_that_exist(name: str) -> None:
    first = (configs_dir() / "task" / f"{name}.yaml").read_text().split("\n")[0]
    assert first.startswith("# ")
    task = task_of(name)
    assert task.name == name
    assert task.kind in KINDS
    assert set(task.metrics) <= set(METRICS)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not str(task_of(name).source).startswith(EMBEDDED)]
)
def test_a_row_of_its_source_becomes_an_example(name: str) -> None:
    task, given = task_of(name), real(name)
    assert examples(task, KINDS[task.kind], "train", [given.row]) == ([given.read], [])


def copied(text: Any, mark: str) -> Any:
    """The text, or each of several, told from other copies of it."""
    if isinstance(text, str):
        return f"{text} {mark}"
    if isinstance(text, list):
        return [f"{each} {mark}" for each in text]
    return {name: f"{each} {mark}" for name, each in text.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_the_columns_of_its_source_can_be_read(name: str, tmp_path: Path) -> None:
    """Where the source keeps its test's answers secret, the validation split is the test."""
    task = task_of(name)
    if str(task.source).startswith(EMBEDDED):
        data = load(task, KINDS[task.kind], training=True)
        assert all((data.train, data.validation, data.test))
        return
    given = real(name)
    for split in given.splits:
        row = given.row | (given.hidden or {} if split.startswith("test") else {})
        copies = [
            row | {given.varied: copied(row[given.varied], f"{split} {copy}")} for copy in range(COPIES)
        ]
        parquet.write_table(pyarrow.Table.from_pylist(copies), tmp_path / f"{split}.parquet")
    training = task.kind not in ("minimal_pairs", "cloze")
    data = load(task_of(name, path=str(tmp_path)), KINDS[task.kind], training=training)
    assert len(data.test) == COPIES
    if training and {"validation", "test"} <= set(given.splits) and given.hidden is None:
        assert (len(data.train), len(data.validation)) == (COPIES, COPIES)
    elif training:
        assert len(data.train) + len(data.validation) == COPIES
    assert len(data.apart) == (COPIES if "apart" in task.splits else 0)
    if given.hidden is not None and "test" not in task.splits:
        assert data.notes[0] == "test is the split validation: the source has no labelled test split"
