"""Draws prompts from given noise with the weights of a checkpoint, in f32, as a reference for `evaluate.ts`.

Reads `prompts.json` and `noise.safetensors` in the folder of `--out`, and writes `drawn.safetensors` there: the latents
[N, 32, 8, 8] that Euler steps end at, and the pictures [N, 3, 256, 256] in [-1, 1].
"""

import json
import os

import torch
from safetensors.torch import load_file, save_file
from torch_sana.checkpoint import read_config, read_weights

from captions import Captions
from models.autoencoder import Autoencoder
from pictures import Pictures
from stages.dit import SHIFT, Pair

AT_ONCE = 32


@torch.no_grad()
def train(options):
    captions = Captions(options.data, options.run, Pictures(options.data))
    model = Pair(read_config(options.start, "transformer")["num_layers"]).eval()
    model.transformer.load_state_dict(read_weights(options.start, "transformer"))
    model.text_encoder.load_state_dict(read_weights(options.start, "text_encoder"))
    autoencoder = Autoencoder().to(memory_format=torch.channels_last)
    autoencoder.load_state_dict(read_weights(options.start, "vae"))
    scaling = read_config(options.start, "vae")["scaling_factor"]
    with open(os.path.join(options.out, "prompts.json")) as file:
        prompts = json.load(file)
    noise = load_file(os.path.join(options.out, "noise.safetensors"))["noise"]
    latents = torch.cat(
        [
            sample(model, captions, prompts[i : i + AT_ONCE], noise[i : i + AT_ONCE], options.steps, options.guidance)
            for i in range(0, len(prompts), AT_ONCE)
        ]
    )
    decoded = [autoencoder.decoder(part / scaling).clamp(-1, 1) for part in latents.split(AT_ONCE)]
    tensors = {"latents": latents, "pictures": torch.cat(decoded).contiguous()}
    save_file(tensors, os.path.join(options.out, "drawn.safetensors"))


def sample(model, captions, prompts, noise, steps, guidance):
    """Euler steps from noise to latents, with guidance away from the empty prompt, at the scheduler's sigmas."""
    shifted = lambda sigma: SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
    sigmas = [*shifted(torch.linspace(1, shifted(1 / 1000), steps)).tolist(), 0.0]
    ids, mask = captions.tokens([*prompts, *[""] * len(prompts)])
    text, z = model.text_encoder(ids, mask), noise
    for now, then in zip(sigmas, sigmas[1:]):
        velocity = model.transformer(torch.cat([z, z]), text, torch.full((2 * len(prompts),), 1000 * now), mask)
        told, empty = velocity.chunk(2)
        z = z + (then - now) * (empty + guidance * (told - empty))
    return z
