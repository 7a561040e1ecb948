"""Pictures to 8 x 8 latents of 32 channels and back.

Loss: L1, L1 of the differences of neighbours (outlines), L1 of 8x8 means (tone), and a pull of every latent channel
towards unit power: without it the latents grow without end. A little noise on the latents makes the decoder forgive
what the transformer leaves over. Crops train fast; the last part sees whole pictures, because the linear attention's
sums run over all of the picture.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch_sana.checkpoint import read_weights

from models.autoencoder import CONFIG, Autoencoder
from optimisation import Optimisation
from pictures import Pictures
from run import Run

CROP, CROPS = 128, 16
WHOLE = 256
WHOLE_FROM = 0.75  # of the time
NOISE = 0.08  # of the latents' deviation
EVALUATED = 48


def train(options):
    run = Run(options.run, "autoencoder", options.minutes, options.until)
    torch.manual_seed(0)
    random = np.random.default_rng(1)
    pictures = Pictures(options.data, run.device)
    trained, held_out = pictures.concepts_where(held_out=False), pictures.concepts_where(held_out=True)
    if options.all_concepts:
        trained = np.arange(len(pictures.concepts))
    evaluation = np.random.default_rng(99)
    examples = {
        "held_out": pictures.varied(evaluation, EVALUATED, held_out, WHOLE),
        "trained": pictures.varied(evaluation, EVALUATED, trained, WHOLE),
    }

    model = Autoencoder()
    if options.start is not None:
        model.load_state_dict(read_weights(options.start, "vae"))
    model.to(run.device, memory_format=torch.channels_last)
    optimisation = Optimisation(
        model, options.dtype, rate=options.rate, betas=(0.9, 0.99), muon_decay=0.1, smallest_matrix=16
    )
    saved = run.state()
    if saved is not None:
        optimisation.restore(saved["optimisation"])
        random.bit_generator.state = saved["random"]
        torch.set_rng_state(saved["noise"].cpu())

    def save():
        run.save(
            optimisation=optimisation.state(),
            random=random.bit_generator.state,
            noise=torch.get_rng_state(),
            config=CONFIG,
        )

    def evaluate(**fields):
        with run.aside(), torch.no_grad(), optimisation.averaged_weights():
            quality = {name: psnr(model, batch, options.dtype) for name, batch in examples.items()}
        run.log(
            steps=optimisation.steps,
            psnr_held_out=round(quality["held_out"], 2),
            psnr_trained=round(quality["trained"], 2),
            **fields,
        )
        save()

    per_pixel = CROP * CROP * CROPS // (WHOLE * WHOLE)
    evaluated, mean = run.seconds(), {}
    while run.fraction() < 1:
        whole = run.fraction() >= WHOLE_FROM
        window, count = (WHOLE, per_pixel) if whole else (CROP, CROPS)
        batch = pictures.varied(random, count * options.batch, trained, window)
        losses, latents = losses_of(model, batch, options.dtype)
        (losses["l1"] + 0.5 * losses["edges"] + 0.5 * losses["tone"] + 0.01 * losses["power"]).backward()
        optimisation.step(rate_factor(run.fraction()))
        for name, value in losses.items():
            mean[name] = 0.98 * mean.get(name, value.item()) + 0.02 * value.item()
        if run.seconds() - evaluated > options.evaluate_every * 60:
            deviation = latents.detach().float().std().item()
            evaluate(latent_deviation=round(deviation, 3), **{k: round(v, 5) for k, v in mean.items()})
            evaluated = run.seconds()
    evaluate()


def rate_factor(fraction):
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(fraction, 1)))


def losses_of(model, batch, dtype):
    latents = model.encoder(batch.to(dtype, memory_format=torch.channels_last))
    power = latents.float().square().mean((0, 2, 3)).clamp_min(1e-6).log().square().mean()
    noise = NOISE * latents.detach().float().std() * torch.randn(latents.shape).to(latents.device)
    difference = model.decoder(latents + noise.to(latents.dtype)).float() - batch
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    tone = F.avg_pool2d(difference, 8).abs().mean()
    return {"l1": difference.abs().mean(), "edges": across + down, "tone": tone, "power": power}, latents


def psnr(model, batch, dtype, at_once=8):
    """Mean over the pictures, in dB of the full range."""
    values = []
    for part in batch.split(at_once):
        latents = model.encoder(part.to(dtype, memory_format=torch.channels_last))
        error = (model.decoder(latents).float().clamp(-1, 1) - part).square().mean((1, 2, 3))
        values.append(10 * torch.log10(4 / error.clamp_min(1e-6)))
    return torch.cat(values).mean().item()
