"""Checkpoint folders in diffusers' layout: a folder for each part, with its configuration and weights."""

import json
import os

import torch

from torch_sana.safetensors import read_safetensors


def read_config(checkpoint, part):
    with open(os.path.join(checkpoint, part, "config.json")) as file:
        return json.load(file)


def read_weights(checkpoint, part):
    """Tensors by name, of all the files of a part."""
    folder, tensors = os.path.join(checkpoint, part), {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(folder, name)))
    return tensors


def load(network, checkpoint, dtype):
    """A network (`Transformer`, `Decoder`, `TextEncoder`) with the weights of a checkpoint."""
    with torch.device("meta"):
        model = network(read_config(checkpoint, network.folder))
    prefix, tensors = network.prefix, read_weights(checkpoint, network.folder)
    kept = {name[len(prefix) :]: value.to(dtype) for name, value in tensors.items() if name.startswith(prefix)}
    model.load_state_dict(kept, assign=True)
    return model.eval().requires_grad_(False)
