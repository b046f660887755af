"""The report in words and tables, as GitHub shows Markdown; ready to stand in a model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipo.evaluation.cursors import KIND_NAMES, KINDS

DASH = "–"
MODES = {"plain": "regular", "pairs": "pairs", "single": "first tokens only"}
SIGNALS = {
    "lowestConfidence": "lowest gate confidence of its steps",
    "meanConfidence": "mean gate confidence of its steps",
    "tokenProbability": "geometric mean of its tokens' probabilities",
}
MAX_CELL = 90  # characters of a line in a table of examples


def markdown(report: dict) -> str:
    parts = [introduction(report), perplexity(report), completion(report)]
    if report["chosenThreshold"] is not None:
        parts.append(f"**Default threshold {report['chosenThreshold']}:** {report['thresholdReason']}")
    if "suggestions" in report:
        parts.append(suggestions(report))
    parts += [copying(report), answers(report)]
    if report["gates"]:
        parts += [gate(report), prompt_rows(report)]
    parts += [pre_gate(report), extra(report), examples(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def percent(row: dict, name: str = "exactMatch") -> str:
    """A share in per cent with its standard error."""
    value, error = row[name], row["standardError"]
    return DASH if value is None else f"{100 * value:.1f} ± {100 * error:.1f}"


def label(model: str, threshold: float | None) -> str:
    return model if threshold is None else f"{model}, threshold {threshold:g}"


def introduction(report: dict) -> str:
    s = report["settings"]
    cursors = ", ".join(f"{s['cursorsPerLanguage'][kind]} × {KIND_NAMES[kind]}" for kind in KINDS)
    models = ", ".join(f"{m['name']} ({m['parameters'] / 1e6:.1f} M parameters)" for m in report["models"])
    return (
        f"Models: {models}; {s['precision']}. Measured on packages that none of them was trained on "
        f"({', '.join(s['heldOutPackages'])}). Cursors stand at any character, inside words, too; per language: "
        f"{cursors}; prompts of up to {s['promptTokens']} tokens, greedy decoding. ± is one standard error. "
        "Tokens per step are 1 + accepted / steps, the step that ends the text included; they are no speed-up: "
        "draft head, gate and the second output row take time, too."
    )


def perplexity(report: dict) -> str:
    """Models and ways of reading in columns."""
    rows = report["perplexity"]
    columns = list(dict.fromkeys((row["model"], row["mode"]) for row in rows))
    values = {(row["part"], row["language"], row["model"], row["mode"]): row for row in rows}
    names = {"text": "plain text", "middle": "middles"}
    body = []
    for part, language in dict.fromkeys((row["part"], row["language"]) for row in rows):
        found = [values[part, language, model, mode] for model, mode in columns]
        tokens = found[0]["tokens"]
        body.append([f"{names[part]}, {language}", str(tokens), *(number(row["perplexity"], 2) for row in found)])
    return (
        "**Perplexity per token**, each token predicted once. *Pairs*: first and second tokens. *First tokens only*: "
        "every pair is a token and PAD, as at threshold 1.\n\n"
        + table(["", "tokens", *(f"{model}, {MODES[mode]}" for model, mode in columns)], body)
    )


def completion(report: dict) -> str:
    rows = [row for row in report["completion"] if row["draftSeesPrompt"]]
    if not rows:
        return ""
    found: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        found.setdefault((row["model"], row["threshold"], row["gate"]), {})[row["kind"]] = row
    body = [_completion_row(key, by_kind) for key, by_kind in found.items()]
    head = ["", *(f"{KIND_NAMES[kind]}: {what}" for kind in KINDS for what in ("exact %", "similarity"))]
    first = next(iter(found.values()))
    counts = ", ".join(f"{first[kind]['count']} × {KIND_NAMES[kind]}" for kind in KINDS)
    return (
        f"**Completion** ({counts}). Threshold 1 writes one token per step. The random gate accepts as many drafts "
        "as the gate does at the default threshold. How many lines are asked for, only the text behind the "
        "cursor tells; a middle that ends early counts as it is.\n\n"
        + table([*head, "accepted", "tokens per step"], body)
        + "\n\nAccepted drafts and tokens per step are those of the rest-of-line cursors."
    )


def _completion_row(key: tuple, by_kind: dict[str, dict]) -> list[str]:
    model, threshold, decider = key
    name = f"{model}, random gate" if decider == "random" else label(model, threshold)
    cells = [name]
    for kind in KINDS:
        row = by_kind.get(kind)
        cells += [percent(row), number(row["editSimilarity"])] if row else [DASH, DASH]
    line = by_kind["line"]
    return [*cells, number(line["acceptanceRate"]), number(line["tokensPerStep"], 2)]


def suggestions(report: dict) -> str:
    """Exact match of the first suggested line, and its height by what the suggestion says about itself."""
    rows = report["suggestions"]
    head = [
        "language",
        "cursors",
        "exactly right %",
        "plain model %",
        "nothing suggested",
        "similarity",
        "tokens per step",
    ]
    body = [
        [
            r["language"], str(r["count"]), percent(r), percent(r["plain"]) if r["plain"] else DASH, str(r["empty"]),
            number(r["editSimilarity"]), number(r["tokensPerStep"], 2),
        ]
        for r in rows
    ]  # fmt: skip
    everything = rows[-1]["sureness"]
    buckets = next(iter(everything.values()))["buckets"]
    signal_head = ["exactly right % (suggestions), by", *(f"{b['from']:.1f}–{b['to']:.1f}" for b in buckets), "ranking"]
    signals = [
        [SIGNALS[name], *(_bucket(b) for b in signal["buckets"]), number(signal["rankingQuality"])]
        for name, signal in everything.items()
    ]
    return (
        f"**The first suggested line** ({label(rows[0]['model'], rows[0]['threshold'])}).\n\n{table(head, body)}\n\n"
        f"{table(signal_head, signals)}\n\n"
        "Ranking: how often an exactly right line has the higher value than another one (0.5 is chance)."
    )


def _bucket(bucket: dict) -> str:
    return DASH if not bucket["count"] else f"{percent(bucket)} ({bucket['count']})"


def copying(report: dict) -> str:
    rows = report["copy"]
    if not rows:
        return ""
    found: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        found.setdefault((row["model"], row["threshold"]), {})[row["names"]] = row
    body = [
        [label(*key), *(percent(by_name[name]) for name in ("original", "renamed"))] for key, by_name in found.items()
    ]
    return (
        f"**Identifier copy** ({rows[0]['count']} names of 8 characters and more that stand in the prompt, one to "
        "three characters typed again). *Renamed*: the name is a random one, exchanged in the whole file.\n\n"
        + table(["", "original names, exact %", "renamed, exact %"], body)
    )


def answers(report: dict) -> str:
    rows = report["answers"]
    if not rows:
        return ""
    samples = report["settings"]["samplesPerQuestion"]
    body = [
        [
            label(r["model"], r["threshold"]), r["group"], str(r["count"]), number(r["greedyPass1"]),
            f"{r['pass1']:.3f} ± {r['standardError']:.3f}", number(r[f"pass{samples}"]), number(r["slots"], 0),
            number(r["steps"], 0), number(r["tokensPerStep"], 2),
        ]
        for r in rows
    ]  # fmt: skip
    head = ["", "questions", "n", "greedy", "pass@1", f"pass@{samples}", "slots", "steps", "tokens per step"]
    return (
        f"**Generated questions**, none seen in training; {samples} replies each at temperature 0.6 and top_p 0.95, "
        "and a greedy one. Slots count PADs.\n\n" + table(head, body)
    )


def gate(report: dict) -> str:
    """The table of each pair model, then its calibration."""
    parts = []
    for g in (g for g in report["gates"] if g["draftSeesPrompt"]):
        precisions = ("precision", "randomPrecision", "oraclePrecision", "rightDraftsAccepted")
        body = [
            [f"{r['threshold']:.1f}", number(r["acceptanceRate"]), number(r["tokensPerStep"], 2)]
            + [number(r[name]) for name in precisions]
            for r in g["table"]
        ]
        head = [
            "threshold", "accepted", "tokens per step", "right among accepted", "random gate", "oracle",
            "right drafts kept",
        ]  # fmt: skip
        quality = g["rankingQuality"]
        parts.append(
            f"**Gate of {g['model']}**, over {g['pairs']} pairs of true text. Random gate and oracle accept the same "
            f"share.\n\n{table(head, body)}\n\n"
            f"Expected calibration error of the confidence: {g['calibrationError']:.3f} against the probability of the "
            f"true token, {g['calibrationErrorOfRightness']:.3f} against right drafts. Right drafts above wrong ones "
            f"(ROC-AUC): confidence {number(quality['confidence'])}, probability of the draft "
            f"{number(quality['draftProbability'])}, of the first token {number(quality['firstProbability'])}."
        )
    return "\n\n".join(parts)


def prompt_rows(report: dict) -> str:
    """What the prompt's rows in the draft head are worth."""
    decoded = {
        (row["model"], row["draftSeesPrompt"]): row
        for row in report["completion"]
        if row["kind"] == "line" and row["gate"] == "confidence" and row["threshold"] == report["chosenThreshold"]
    }
    body = []
    for g in report["gates"]:
        row = decoded[g["model"], g["draftSeesPrompt"]]
        body.append(
            [
                g["model"], "yes" if g["draftSeesPrompt"] else "no", number(g["draftRight"]),
                number(g["atDefault"]["acceptanceRate"]), number(g["atDefault"]["precision"]), percent(row),
                number(row["tokensPerStep"], 2),
            ]
        )  # fmt: skip
    head = [
        "",
        "sees the prompt",
        "drafts right",
        "accepted",
        "right among accepted",
        "line exact %",
        "tokens per step",
    ]
    return (
        f"**Draft head with and without the prompt's rows**, at threshold {report['chosenThreshold']:g}; the first "
        "three numbers over true text, the others decoded.\n\n" + table(head, body)
    )


def pre_gate(report: dict) -> str:
    body = [
        [g["model"], name, number(found["rankingQuality"]), *(number(row["share"]) for row in found["avoided"])]
        for g in report["gates"]
        if g["draftSeesPrompt"]
        for name, found in (g.get("preGate") or {}).items()
    ]
    if not body:
        return ""
    kept = next(g["preGate"]["preGate"]["avoided"] for g in report["gates"] if g.get("preGate"))
    names = {"preGate": "pre-gate", "firstProbability": "probability of the first token"}
    body = [[model, names[name], *rest] for model, name, *rest in body]
    head = ["", "decides by", "ROC-AUC", *(f"drafts avoided, {100 * row['kept']:.0f} % kept" for row in kept)]
    return (
        f"**Deciding before the draft step**: which drafts the gate will accept at threshold "
        f"{report['chosenThreshold']:g}, and how many draft steps that saves while so many of the accepted drafts are "
        "kept.\n\n" + table(head, body)
    )


def extra(report: dict) -> str:
    if not report["extra"]:
        return ""
    head = ["", "drafts right", "line exact %", "similarity", "tokens per step"]
    body = [
        [label(r["model"], r["threshold"]), number(r.get("draftRight")), percent(r), number(r["editSimilarity"]),
         number(r["tokensPerStep"], 2)]
        for r in report["extra"]
    ]  # fmt: skip
    return f"**Other models**\n\n{table(head, body)}"


def examples(report: dict) -> str:
    if not report.get("examples"):
        return ""
    body = [
        [r["language"], code(r["typed"].strip()), code(r["suggested"].strip()), code(r["expected"].strip())]
        for r in report["examples"]
    ]
    return (
        f"**Suggestions at threshold {report['chosenThreshold']:g}**, good or bad, at evenly chosen cursors\n\n"
        + table(["", "typed", "suggested", "really there"], body)
    )


def code(text: str) -> str:
    """Code in a table cell: a bar would end the cell, a backtick the code."""
    shown = text.replace("|", "\\|").replace("`", "ˋ").replace("\n", "⏎")
    return f"`{shown[:MAX_CELL]}`" if shown else "(nothing)"
