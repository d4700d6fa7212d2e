"""Sentences of the page: its scope, what it can say, and what must not be compared."""

from __future__ import annotations

from experiments.evidence import audit
from experiments.evidence.results import CHRF, NLL, ORDER_FIRST, PARTY, PLL, TARGET
from experiments.runs.reading import RunRecord, SweepRecord

TASKS = {
    PARTY: "telling the party of a president from one paragraph",
    CHRF: "filling a removed sentence-middle",
    TARGET: "the nats of a removed sentence-middle",
    ORDER_FIRST: "telling by a probe whether two pieces of text were swapped",
}
SOURCES = {
    "sotu": "State of the Union addresses (the embedded corpus; the American Presidency Project, UCSB)"
}

COMMON = " With the same seed they read a common beginning of the same stream, in the same order."


def corpus(sweep: SweepRecord) -> str:
    """The source of the text and its number of training tokens."""
    data = sweep.recipe["data"]
    text = SOURCES.get(data["source"]) or f"{data['source']} from {data['name'] or data['path']}"
    tokens = sorted({run.audit["raw_tokens_in_corpus"] for run in sweep.runs if run.audit})
    return text + (f", {tokens[0]:,} tokens for training" if tokens else "")


def scope(sweep: SweepRecord, measured: set[str], seeds: int) -> str:
    """One sentence on corpus, size, budget and tasks."""
    size, budget = sweep.recipe["size"], sweep.recipe["budget"]
    tasks = [words for metric, words in TASKS.items() if metric.name in measured]
    if {NLL.name, PLL.name} & measured:
        tasks.insert(0, "predicting the second half of held-out windows")
    return (
        f"{corpus(sweep)}; a core of {size['layers']} layers x {size['width']} with a vocabulary of "
        f"{size['vocabulary']:,} and windows of {size['length']} tokens; {audit.stops(sweep)} "
        f"a run, with {audit.MATCHES[budget['match']]} matched; "
        f"{count(seeds, 'seed')}; tasks: {'; '.join(tasks) or 'none measured yet'}."
    )


def can_say(sweep: SweepRecord) -> str:
    """What a reader may conclude from the page."""
    arms = [arm for arm in sweep.arms if any(run.done for run in sweep.of(arm))]
    if not arms:
        return "No arm has been trained and evaluated yet, so this page shows only how far each run came."
    text = (
        f"{count(len(arms), 'arm')} trained from one Transformer core on the same text"
        if len(arms) > 1
        else f"One arm, {arms[0]}, trained on this text"
    )
    deviation = audit.widest_deviation(sweep)
    if deviation is not None:
        match = sweep.recipe["budget"]["match"]
        text += f", with {audit.MATCHES[match]} within {deviation:.2%} of the same"
        doubled = audit.doubled(sweep)
        text += f" ({', '.join(doubled)}: of twice that)" if doubled else ""
    text += ". The page shows what each spent, where each ended on its own question and on the shared ones"
    checked = [run.ask("flow", "ok") for run in sweep.done if run.ask("flow") is not None]
    if checked and all(checked):
        text += ", and that in every finished run information went only where the mask lets it"
    return text + "."


def not_comparable(sweep: SweepRecord) -> list[tuple[str, str]]:
    """(name, reason) of each kind of numbers that must not be compared."""
    kinds = {run.audit["plan"]["family"] for run in sweep.runs if run.audit}
    entries = [
        (
            "Losses of different objectives.",
            "Each curve is an arm's own question: a masked word with both sides in view, the next word, a "
            "span. A lower curve is an easier question, not a better model. Only the shape of a curve, and "
            "two runs of the same objective, may be compared.",
        ),
        (
            "True and pseudo-likelihood.",
            "NLL is the chain rule's: the probabilities of a text's tokens multiply to that of the text. An "
            "encoder-AE has none; its pseudo-NLL predicts each token from all others, those after it "
            "included, on fewer windows since each token costs a pass. The two stand in separate columns "
            "and figures and are never ranked together.",
        ),
        (
            "The shared question is nearer to some arms than to others.",
            "Likelihood asks every arm for the second half of a window given the first. Decoder-AR and "
            "prefix LM were trained on such questions; a permuted LM is asked left to right where it was "
            "trained on random orders, and an encoder-decoder trained on spans for a far longer target than "
            "it ever wrote.",
        ),
    ]
    if any(run.ask("forgetting") for run in sweep.done):
        entries.append(
            (
                "Bits per byte and infill of stages.",
                "Each stage has a text of its own, and is asked its own test split: another question to each "
                "arm. The first stage's validation text and the tasks are the same question to all.",
            )
        )
    tokens = audit.read(sweep)
    stop, scales = audit.UNITS[sweep.recipe["budget"]["stop"]], audit.scales(sweep)
    same = f"Arms stop at the same {stop} and so" if len(scales) == 1 else f"Arms differ in their {stop} and"
    if (sweep.recipe["budget"]["stop"] != "tokens" or len(scales) > 1) and len(set(tokens)) > 1:
        entries.append(
            (
                "Amounts of text.",
                f"{same} read different amounts of text: from {tokens[0]:,} to {tokens[-1]:,} raw tokens."
                + (COMMON if len(audit.corpora(sweep)) == 1 else ""),
            )
        )
    shares = audit.target_shares(sweep.runs)
    if shares and shares[-1] > 1.1 * shares[0]:
        entries.append(
            (
                "Supervised targets.",
                f"Of the tokens it read an arm was asked for {between(shares, '.0%')}: a causal LM for "
                "every one, a masked or a permuted LM for about one in six. No budget makes both text and "
                "targets equal.",
            )
        )
    if "encoder_decoder" in kinds and sweep.recipe["budget"]["match"] != "none":
        entries += _of_stacks(sweep)
    return entries + _of_tasks(sweep.done)


STACKS = {
    "halves": "Matched on parameters, it splits its depth between two stacks, and a token passes through one "
    "of them. So it spends about half the FLOPs a token, takes more steps for the same FLOPs, and is "
    "shallower than the single stacks.",
    "double": "It has two stacks of a single stack's depth. A token passes through one of them, so where "
    "parameters are matched it has twice as many as the single stacks for about their FLOPs a token.",
    "shared": "Its two stacks have one set of weights and a single stack's depth. Matched on parameters, its "
    "feed-forward is narrower, for cross-attention is paid from it.",
}


def _of_stacks(sweep: SweepRecord) -> list[tuple[str, str]]:
    """How the encoder-decoders differ from single stacks, for each kind of stacks that was trained."""
    families = [
        run.recipe["family"]
        for run in sweep.runs
        if run.recipe and run.audit and run.audit["plan"]["family"] == "encoder_decoder"
    ]
    trained = {family.get("stacks") or "halves" for family in families}
    heading = "Depth of the encoder-decoder"
    return [
        (f"{heading}{f', {stacks}' if len(trained) > 1 else ''}.", reason)
        for stacks, reason in STACKS.items()
        if stacks in trained
    ]


def _of_tasks(done: list[RunRecord]) -> list[tuple[str, str]]:
    entries = []
    if any(run.ask("infill") for run in done):
        decoders = dict.fromkeys(str(run.ask("infill", "decoding")) for run in done if run.ask("infill"))
        entries.append(
            (
                "Infill.",
                "It is measured after finetuning on [source; target] pairs, with the same recipe for every "
                "arm. Encoder-AE and permuted LM write into as many blanks as the gap has tokens, so they "
                "see its length; the others write on and are cut at that length, without seeing it. "
                f"Each writes by its own decoder ({'; '.join(decoders)}), greedily.",
            )
        )
    if any(run.ask("target") for run in done):
        entries.append(
            (
                "Target of infill.",
                "Every single stack is finetuned under the prefix mask here, an encoder-decoder as it is, so "
                "these nats are true likelihoods of the same tokens and may be compared between all arms; "
                "those above they may not be compared with.",
            )
        )
    if any(run.ask("party") for run in done):
        entries.append(
            (
                "Party.",
                "No president is in both the training and the test part of the task, but pretraining may "
                "have read the test paragraphs' text, without their labels, alike for all arms. Decoder-AR "
                "reads the paragraph left to right, the others in both directions.",
            )
        )
    if any(run.ask("order") for run in done):
        entries.append(
            (
                "Order.",
                "It is read off frozen states by a linear classifier, without finetuning: 50% is chance. The "
                "own token is [cls] where rows see later ones, the last row of a decoder; only an objective "
                "that asks it something teaches it anything of its own.",
            )
        )
    return entries


def outcome(sweep: SweepRecord) -> str:
    """How many runs were declared, and how many of them finished."""
    finished = f"{count(len(sweep.done), 'run')} finished"
    if sweep.declared is None:
        return f"{finished}; no sweep.json says how many were meant."
    beyond = len(sweep.runs) - sweep.declared
    more = f" ({beyond} more than sweep.json now declares)" if beyond > 0 else ""
    return f"{finished} of {len(sweep.runs)}{more}."


def count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def between(values: list[float], form: str) -> str:
    low, high = f"{values[0]:{form}}", f"{values[-1]:{form}}"
    return low if low == high else f"{low} to {high}"
