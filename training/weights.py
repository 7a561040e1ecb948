"""Weights of a checkpoint that `export` wrote, to go on training from."""

import json
import os

from safetensors.torch import load_file


def read_weights(folder, part):
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    return {name: w.float() for name, w in load_file(os.path.join(folder, part, f"{stem}.safetensors")).items()}


def read_config(folder, part):
    with open(os.path.join(folder, part, "config.json")) as file:
        return json.load(file)
