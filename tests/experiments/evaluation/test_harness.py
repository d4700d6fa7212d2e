"""lm-evaluation-harness asks the five families: its numbers are ours, on task files that need no network."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import config as datasets_config
from harness_tasks import ITEMS, LONG, write_tasks
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from scored_runs import folder, four_steps

from archs import FAMILIES
from archs.batch import Batch
from archs.decoding.decoding import GREEDY
from archs.errors import UserError
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.evaluation.harness import evaluate, named, run_harness, task_files
from experiments.evaluation.harness.lengths import Window, divided, ending
from experiments.evaluation.harness.model import PentarchLM, spaced, wanted
from experiments.evaluation.scoring.scoring import score_texts
from experiments.evaluation.writing import continue_text
from experiments.runs.run import Run, restore
from experiments.storage.json_files import read_json
from objectives import OBJECTIVES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(datasets_config, "HF_HUB_OFFLINE", True)
        patch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps of every family, in a sweep's folders."""
    return four_steps(tmp_path_factory.mktemp("harness"), FAMILIES)


@pytest.fixture(scope="module")
def runs(place: Path) -> dict[str, Run]:
    return {family: restore(folder(place, family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def tokenizer(runs: dict[str, Run]) -> Tokenizer:
    return runs["decoder_ar"].corpus.tokenizer


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    """Our task files alone: reading the list of the harness's own takes seconds."""
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    return TaskManager(include_defaults=False, include_path=tasks)


def nats(run: Run, *pairs: tuple[str, str]) -> list[float]:
    return [each.nats for each in score_texts(run, pairs)]


def log_likelihoods(samples: list[dict]) -> list[list[float]]:
    return [[response[0][0] for response in sample["resps"]] for sample in samples]


@dataclass(frozen=True)
class Answered:
    """What the harness found of a run, and the rows of every batch that it was asked in."""

    run: Run
    model: PentarchLM
    results: dict[str, dict[str, float]]
    samples: dict[str, list[dict]]
    rows: dict[str, list[int]]

    def end(self, text: str, most: int) -> str:
        return ending(self.run.corpus.tokenizer, text, most)


@pytest.fixture(scope="module", params=FAMILIES)
def answered(request: pytest.FixtureRequest, runs: dict[str, Run], manager: TaskManager) -> Answered:
    """Every task of harness_tasks, asked of one family."""
    run, rows = runs[request.param], {"score": [], "generate": []}

    def counted(name: str) -> Callable:
        verb = getattr(run.family, name)

        def ask(batch: Batch, *more: Any, **named: Any) -> Any:
            rows[name].append(len(batch.tokens))
            return verb(batch, *more, **named)

        return ask

    with pytest.MonkeyPatch.context() as patch:
        for name in rows:
            patch.setattr(run.family, name, counted(name))
        model = PentarchLM(run)
        found = evaluate(model, ["both", "last_word", "documents", "answers"], manager)
    return Answered(run, model, found["results"], found["samples"], rows)


@pytest.mark.slow
def test_pairs_and_choices_are_decided_by_our_own_scores_of_the_same_strings(answered: Answered) -> None:
    pairs = [
        [("", f" {item[side]}") for side in ("sentence_good", "sentence_bad")] for item in ITEMS["agreement"]
    ]
    contexts = ["the state of our", answered.end(f"{LONG} is", 63), "growing fast"]  # 64 with one token more
    choices = [
        [(context, f" {choice}") for choice in item["choices"]]
        for context, item in zip(contexts, ITEMS["choices"], strict=True)
    ]
    labels = {"agreement": [0, 0, 0], "choices": [0, 1, 2]}
    accuracy = {}
    for task, strings in (("agreement", pairs), ("choices", choices)):
        ours = [nats(answered.run, *each) for each in strings]
        theirs = log_likelihoods(answered.samples[task])
        assert theirs == [pytest.approx([-one for one in each]) for each in ours]
        right = [each.index(min(each)) == label for each, label in zip(ours, labels[task], strict=True)]
        assert [sample["acc"] for sample in answered.samples[task]] == right
        accuracy[task] = sum(right) / 3
        assert answered.results[task]["acc,none"] == pytest.approx(accuracy[task])
    assert answered.results["both"]["acc,none"] == pytest.approx(sum(accuracy.values()) / 2)


@pytest.mark.slow
def test_a_continuation_gets_our_own_score_and_whether_it_is_greedy(answered: Answered) -> None:
    pairs = [(item["text"], f" {item['word']}") for item in ITEMS["last_word"]]
    for sample, ours in zip(answered.samples["last_word"], score_texts(answered.run, pairs), strict=True):
        assert sample["resps"] == [[(pytest.approx(-ours.nats), ours.greedy)]]
        assert sample["acc"] == ours.greedy


def test_a_document_gets_the_sum_of_our_own_scores_of_its_parts(answered: Answered) -> None:
    short, long = (item["text"] for item in ITEMS["documents"])
    parts = list(divided(answered.run.corpus.tokenizer, long, answered.model.window))
    assert len(parts) > 10
    ours = [sum(nats(answered.run, ("", short))), sum(nats(answered.run, *parts))]
    assert [sample["resps"] for sample in answered.samples["documents"]] == [
        [[pytest.approx(-each)]] for each in ours
    ]
    bits = sum(ours) / math.log(2) / len((short + long).encode())
    assert answered.results["documents"]["bits_per_byte,none"] == pytest.approx(bits)


def test_an_answer_is_what_our_own_decoder_writes_up_to_the_stop_string(answered: Answered) -> None:
    tokenizer = answered.run.corpus.tokenizer
    for sample in answered.samples["answers"]:
        prompt = answered.end(sample["doc"]["question"], answered.model.window.room(5))
        tokens = continue_text(answered.run, torch.tensor([tokenizer.encode(prompt)]), 5, GREEDY)
        written = tokenizer.decode(tokens[0].tolist()).split("the")[0]
        assert sample["resps"] == [[written]]
        assert sample["exact_match"] == (written == sample["doc"]["answer"])


def test_requests_are_asked_in_batches_and_what_did_not_fit_is_counted(answered: Answered) -> None:
    assert max(answered.rows["score"]) > 1
    assert max(answered.rows["generate"]) > 1
    counts = answered.model.counts
    assert {task: dict(+each) for task, each in counts.items() if +each} == {
        "choices": {"contexts cut": 3},
        "documents": {"documents divided": 1},
        "answers": {"contexts cut": 1},
    }


def asked(kind: Any, *arguments: Any) -> Instance:
    return Instance(kind, {}, arguments, 0, ("mine", 7, 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_continuation_is_greedy_if_the_family_s_own_decoder_writes_it(family: str, runs) -> None:
    run, context = runs[family], "the state of our"
    length = (
        1 if run.family.unit == "pll" else 3
    )  # mask-predict need not write what is likeliest in its place
    prompt = torch.tensor([run.corpus.tokenizer.encode(context)])
    tokens = continue_text(run, prompt, length, GREEDY)[0].tolist()
    text = run.corpus.tokenizer.decode(tokens)
    assert run.corpus.tokenizer.encode(text) == tokens
    other = run.corpus.tokenizer.decode([*tokens[:-1], run.corpus.tokenizer.encode(" zebra")[0]])
    requests = [asked("loglikelihood", context, each) for each in (text, other)]
    assert [greedy for _, greedy in PentarchLM(run).loglikelihood(requests)] == [True, False]


def test_the_space_that_ends_a_context_is_moved_to_the_continuation_and_both_are_tokenised_apart(
    runs,
) -> None:
    assert spaced("the state ", "of") == ("the state", " of")
    assert spaced("the state\n\n", "of") == ("the state", "\n\nof")
    assert spaced(" ", "of") == ("", " of")
    assert spaced("the state", " of ") == ("the state", " of ")
    run = runs["decoder_ar"]
    pairs = [("the state ", "of"), ("the state", " of"), ("the sta", "te")]
    told = PentarchLM(run).loglikelihood([asked("loglikelihood", *pair) for pair in pairs])
    assert told[0] == told[1]
    assert [-one for one, _ in told] == pytest.approx(nats(run, *pairs[1:2], *pairs[1:]))
    apart = run.corpus.tokenizer.encode("the sta") + run.corpus.tokenizer.encode("te")
    assert apart != run.corpus.tokenizer.encode("the state")


@pytest.mark.parametrize(
    ("name", "family", "room", "longest"),
    [
        ("causal", "decoder_ar", 5, 8),
        ("mlm", "encoder_ae", 5, 8),
        ("permutation", "permuted_lm", 5, 8),
        ("prefix", "encoder_decoder", 8, 8),  # the context alone is the source
        ("span", "encoder_decoder", 7, 7),  # beside a sentinel on either side
        ("mass", "encoder_decoder", 5, 8),  # a mask for each token of the text
    ],
)
def test_what_fits_is_what_the_objective_has_its_stacks_read(name, family, room, longest, runs) -> None:
    objective = OBJECTIVES[name](runs[family].corpus.vocabulary, runs[family].family.layout)
    window = Window(objective, 8)
    assert (window.room(3), window.longest) == (room, longest)
    assert window.room(longest + 1) == -1


def test_a_text_s_ending_has_at_most_so_many_tokens(tokenizer: Tokenizer) -> None:
    assert ending(tokenizer, "the state of our union", 2) == " our union"
    assert ending(tokenizer, "the state of our union", 5) == "the state of our union"
    assert ending(tokenizer, "the state", 0) == ""
    assert len(tokenizer.encode("😀")) == 4
    assert ending(tokenizer, "the 😀 of", 3) == " of"  # no character is cut in two


def test_a_document_is_divided_between_words_and_every_token_is_asked_once(
    runs, tokenizer: Tokenizer
) -> None:
    window = Window(runs["decoder_ar"].objective, 16)
    text = "the zebra of our union 😀 is strong and " * 3
    parts = list(divided(tokenizer, text, window))
    assert "".join(part for _, part in parts) == text
    assert [token for _, part in parts for token in tokenizer.encode(part)] == tokenizer.encode(text)
    lengths = [(len(tokenizer.encode(context)), len(tokenizer.encode(part))) for context, part in parts]
    assert lengths[0][0] == 0
    assert lengths[0][1] > 8
    assert all(part <= 8 and context + part <= 16 for context, part in lengths[1:])
    done = ""
    for context, part in parts:
        assert done.endswith(context)
        done += part
    spaceless = "ab😀" * 20
    assert "".join(part for _, part in divided(tokenizer, spaceless, window)) == spaceless
    assert list(divided(tokenizer, "", window)) == []


def test_answers_are_at_most_half_a_window_and_that_is_told(runs) -> None:
    model = PentarchLM(runs["encoder_ae"])
    (text,) = model.generate_until([asked("generate_until", "the state", {"until": []})])
    assert len(text) > 5
    assert list(model.told()) == [
        "log-likelihoods are of unit 'pll'; no two units may be compared (docs/harness.md)",
        "answers shortened to fit windows of 64 tokens: mine 1",
    ]


def test_what_a_task_wants_of_its_answers(runs) -> None:
    greedy = {"until": "\n", "max_gen_toks": 9, "do_sample": False, "temperature": 0.0, "top_p": 0.9}
    assert wanted(greedy, asked("generate_until")) == (9, ["\n"])
    assert wanted({"max_new_tokens": 3}, asked("generate_until")) == (3, [])
    assert wanted({}, asked("generate_until")) == (256, [])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"do_sample": True, "temperature": 1.0}, "task 'mine' asks for samples"),
        ({"temperature": 0.5}, "task 'mine' asks for samples"),
        ({"num_beams": 4}, "asks in generation_kwargs for num_beams; only until and max_gen_toks are read"),
        ({"stop": ["\n"]}, "asks in generation_kwargs for stop; only until"),
    ],
)
def test_a_task_that_wants_other_than_greedy_answers_is_refused_in_one_line(how, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        wanted(how, asked("generate_until"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            ("the", " of" * 65),
            "task 'mine', document 7: a continuation of 65 tokens does not fit windows of 64",
        ),
        (("the", ""), "among the harness's requests for log-likelihoods, text 1 is empty"),
    ],
)
def test_a_continuation_without_score_is_refused_in_one_line(pair, message: str, runs) -> None:
    with pytest.raises(UserError, match=message) as error:
        PentarchLM(runs["decoder_ar"]).loglikelihood([asked("loglikelihood", *pair)])
    assert "\n" not in str(error.value)


def test_a_run_without_a_language_model_is_refused(runs) -> None:
    run = runs["encoder_ae"]
    detecting = OBJECTIVES["replaced_tokens"](run.corpus.vocabulary, run.family.layout)
    with pytest.raises(UserError, match="objective 'replaced_tokens' trained no head that predicts tokens"):
        PentarchLM(replace(run, objective=detecting))


def test_names_are_patterns_too_and_an_unknown_one_is_told_with_the_nearest(manager: TaskManager) -> None:
    assert named(["a*", "both", "answers"], manager) == ["agreement", "answers", "both"]
    with pytest.raises(
        UserError, match=r"unknown task 'agrement'; the nearest of 6 are: agreement, "
    ) as error:
        named(["both", "agrement"], manager)
    assert "\n" not in str(error.value)


def test_data_that_cannot_be_read_is_one_line(runs, tmp_path: Path) -> None:
    data = "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: nowhere.jsonl\n"
    (tmp_path / "lost.yaml").write_text(f"task: lost\n{data}test_split: test\noutput_type: generate_until\n")
    tasks = TaskManager(include_defaults=False, include_path=tmp_path)
    with pytest.raises(UserError, match=r"the data of one of lost cannot be read \(.*nowhere.jsonl") as error:
        evaluate(PentarchLM(runs["decoder_ar"]), ["lost"], tasks)
    assert "\n" not in str(error.value)


def test_without_its_package_it_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.utils", None)
    with pytest.raises(UserError, match=r'pip install "pentarch\[lm-eval\]"'):
        run_harness(folder(place, "decoder_ar"), ["agreement"])


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch, pentarch: Callable) -> Callable:
    """`pentarch` in the folder of the runs: its exit code, and what it says on stdout and stderr."""
    monkeypatch.chdir(place)
    return pentarch


def test_the_example_of_the_docs_prints_the_harness_s_table_and_writes_one_file_a_task(
    place: Path, command: Callable
) -> None:
    page = (ROOT / "docs" / "harness.md").read_text(encoding="utf-8")
    (task,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (items,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^pentarch (.*--include.*)$", page, re.MULTILINE)
    (place / "my_tasks").mkdir()
    (place / "my_tasks" / "agreement.yaml").write_text(task)
    (place / "my_tasks" / "agreement.jsonl").write_text(items)
    code, out, err = command(*line.split())
    assert code == 0, err
    assert out.startswith("prefix_lm-prefix seed 0, nll\n|  Tasks  |Version|Filter|n-shot|Metric|")
    assert "log-likelihoods are of unit 'nll'" in err
    written = read_json(folder(place, "prefix_lm") / "tasks" / "lm_eval-agreement.json")
    run = restore(folder(place, "prefix_lm"))
    pairs = [json.loads(item) for item in items.splitlines()]
    ours = [nats(run, *(("", f" {pair[side]}") for side in ("good", "bad"))) for pair in pairs]
    assert log_likelihoods(written["samples"]) == [pytest.approx([-one for one in each]) for each in ours]
    accuracy = sum(good < bad for good, bad in ours) / 2
    assert written["results"]["acc,none"] == accuracy
    assert "acc_stderr,none" in written["results"]
    assert (written["unit"], written["window"], written["limit"]) == ("nll", 64, None)
    assert written["changed"] == {"contexts cut": 0, "answers shortened": 0, "documents divided": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "3"), "--include and --limit go with --lm-eval TASK"),
        (("--include", "."), "--include and --limit go with --lm-eval TASK"),
        (("--lm-eval", "a", "--include", "nowhere"), "nowhere"),
        (("--lm-eval", "a", "--limit", "0"), "--limit"),
        (("task=cola", "--lm-eval", "a"), "either --lm-eval TASK or a task of pentarch's own, not both"),
    ],
)
def test_a_mistake_is_one_line(options, message: str, place: Path, command: Callable) -> None:
    code, out, err = command("evaluate", str(folder(place, "prefix_lm")), *options)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: .*\n", err)
    assert message in err


def test_a_task_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("task: [unclosed")
    with pytest.raises(UserError, match=r"broken.yaml' is not YAML: .*line 1"):
        task_files(["any"], tmp_path)
