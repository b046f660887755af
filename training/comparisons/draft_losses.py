"""Compares what the draft head learns from: labels (ce) or the distribution of a plain teacher (tv, kl).

    python -m comparisons.draft_losses --data cache/data --tokenizer cache/tokenizer --cache cache/comparisons

The teacher is the base that the runs start from. It knows plain text only, so plain text is what they see.
"""

from comparisons.common import arguments_of
from comparisons.pairs import Side, compare
from pipo.batches import Mixture

if __name__ == "__main__":
    arguments = arguments_of(__doc__, steps=300, seeds=2, measured_steps=12)
    sides = [Side(name, draft_loss=name) for name in ("ce", "tv", "kl")]
    compare("draft_losses", sides, arguments, Mixture(fim=0.0))
