"""Puts the tables of an evaluation into a model card, between two marks."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"


def update_card(card: Path, tables: str) -> None:
    """Replaces what stands between the marks of `card`; ValueError where they are missing."""
    text = card.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{card}: expected one line {BEGIN} and one line {END}")
    head, rest = text.split(BEGIN)
    card.write_text(f"{head}{BEGIN}\n\n{tables.strip()}\n\n{END}{rest.split(END)[1]}", "utf-8")
