"""Compares the two compressors: pair fine-tuning from the same base on the same tokens.

python -m comparisons.compressors --data cache/data --tokenizer cache/tokenizer --cache cache/comparisons
"""

from comparisons.common import arguments_of
from comparisons.pairs import Side, compare
from pipo.batches import Mixture

if __name__ == "__main__":
    arguments = arguments_of(__doc__, steps=300, seeds=2, measured_steps=12)
    sides = [Side("mlp", compressor="mlp"), Side("linear", compressor="linear")]
    compare("compressors", sides, arguments, Mixture(fim=0.5))
