"""PIPO on Qwen3.5: model, data, training, evaluation, export."""
