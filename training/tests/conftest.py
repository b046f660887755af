"""Settings for every test."""

import torch

# The models are tiny: on a busy machine, threads that wait for each other cost minutes and gain nothing.
torch.set_num_threads(1)
