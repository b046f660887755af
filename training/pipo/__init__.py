"""PIPO on Qwen3.5, Qwen2, Qwen3 and Llama: model, data, training, evaluation, export."""
