"""Measures a family of models side by side on packages and questions that none of them was trained on.

Writes `evaluation.json`, `evaluation.md` and, where matplotlib is installed, plots. Models are exported directories;
any of the three stages may be missing. All computation is in fp32.

    python -m pipo.evaluate --data cache/data --out cache/evaluation --plain cache/plain --sft cache/sft \\
        --opd ../models/pipo-code-9m --jobs 4
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipo.batches import read_split
from pipo.evaluation.card import update_card
from pipo.evaluation.collect import collect
from pipo.evaluation.family import Member, shared_tokenizer
from pipo.evaluation.plan import QUICK, Family, Plan, Sizes
from pipo.evaluation.report import markdown
from pipo.evaluation.work import Work


def evaluate(
    family: Family, data: Path, out: Path, sizes: Sizes, jobs: int = 1, threshold: float | None = None, device="cpu"
) -> dict:
    """The report, which is also written to `out`. `data` is a folder that `pipo.data` wrote.

    Raises ValueError for models that cannot be compared.
    """
    if family.extra and not family.main and threshold is None:
        raise ValueError("without --sft or --opd there is no model to choose a threshold on; give --default-threshold")
    tokenizer = shared_tokenizer([*family.members, *family.extra])
    work = Work(jobs)
    try:
        plan = Plan(family, tokenizer, read_split(data / "held-out.jsonl"), sizes, work, device)
        report = collect(plan, plan.run(threshold))
    finally:
        work.close()
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "evaluation.md").write_text(markdown(report), encoding="utf-8")
    draw_plots(report, out)
    return report


def draw_plots(report: dict, out: Path) -> None:
    try:
        from pipo.evaluation.plots import draw
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'pipo-training[plots]')")
        return
    draw(report, out)


def read_family(arguments: argparse.Namespace) -> Family:
    """The models that were named, under the names of their stages."""
    stages = {
        stage: Member(stage, directory)
        for stage in ("plain", "sft", "opd")
        if (directory := getattr(arguments, stage)) is not None
    }
    if wrong := [given for given in arguments.extra if "=" not in given]:
        raise SystemExit(f"--extra {wrong[0]}: expected NAME=DIR")
    extra = tuple(Member(name, Path(folder)) for name, folder in (given.split("=", 1) for given in arguments.extra))
    if not stages and not extra:
        raise SystemExit("name at least one model: --plain, --sft, --opd or --extra")
    return Family(**stages, extra=extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by pipo.data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plain", type=Path, help="plain model: regular decoding")
    parser.add_argument("--sft", type=Path, help="pair model after fine-tuning")
    parser.add_argument("--opd", type=Path, help="pair model after on-policy distillation")
    parser.add_argument(
        "--extra", action="append", default=[], metavar="NAME=DIR", help="a short row for another model"
    )
    parser.add_argument("--default-threshold", type=float, help="instead of the one that the rule chooses")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--card", type=Path, help="model card whose tables are replaced")
    parser.add_argument("--quick", action="store_true", help="few cases: rough numbers in a minute")
    parser.add_argument("--device", default="cpu", help="with another one than cpu, --jobs must stay 1")
    arguments = parser.parse_args()
    if arguments.device != "cpu" and arguments.jobs > 1:
        parser.error("processes cannot share a device; leave --jobs at 1")
    sizes = QUICK if arguments.quick else Sizes()
    family = read_family(arguments)
    evaluate(
        family, arguments.data, arguments.out, sizes, arguments.jobs, arguments.default_threshold, arguments.device
    )
    tables = (arguments.out / "evaluation.md").read_text("utf-8")
    if arguments.card:
        update_card(arguments.card, tables)
    print(tables)


if __name__ == "__main__":
    main()
