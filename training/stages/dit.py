"""The transformer and the text encoder together, by flow matching on the latents.

Training may begin with fewer blocks and go on with all of them (`--layers`): the first blocks learn at half the cost,
and those added later start as ones that change nothing. The noise is higher at first, where a picture is little more
than its words.

The text encoder starts from the one that learnt to tell captions' pictures apart, where the `score` stage has run: it
then already knows which words matter.

x = (1 - s) x0 + s e, target e - x0; s is a shifted logit-normal draw in steps of a thousandth, as the scheduler has
them. One caption in ten is empty, which is what guidance compares with.
"""

import math
import os
import random
import time

import torch
from torch import nn
from torch_sana.checkpoint import read_config, read_weights

from captions import Captions
from models.text_encoder import CONFIG as TEXT_CONFIG
from models.text_encoder import TextEncoder
from models.transformer import CONFIG, Transformer
from optimisation import Optimisation
from pictures import Pictures
from run import Run, seconds_until

BATCH = 64
SHIFT = 3.0
HIGH_UNTIL = 0.6  # of the time, in which the shift falls from twice SHIFT to SHIFT
EMPTY = 0.1
EVALUATED = 256
# Not treated as matrices: lookup tables, added vectors, and the layers next to the input and output.
BY_ADAM = ("embed_tokens", "scale_shift", "time_embed", "patch_embed", "proj_out")


class Pair(nn.Module):
    def __init__(self, layers=CONFIG["num_layers"]):
        super().__init__()
        self.transformer, self.text_encoder = Transformer({**CONFIG, "num_layers": layers}), TextEncoder()

    def forward(self, latents, ids, mask, sigma):
        text = self.text_encoder(ids, mask)
        return self.transformer(latents, text, torch.floor(1000 * sigma), mask)


def train(options):
    run = Run(options.run, "dit", options.minutes, options.until)
    torch.manual_seed(0)
    pictures = Pictures(options.data)
    captions = Captions(options.data, options.run, pictures)
    stored = torch.load(f"{options.run}/latents/state.pt", weights_only=False)
    latents = (stored["latents"].float() / stored["rms"].square().mean().sqrt()).to(run.device)
    saved = run.state()
    model = Pair(options.layers).to(run.device)
    towers = f"{options.run}/score/state.pt"
    if os.path.exists(towers):
        weights = torch.load(towers, map_location=run.device, weights_only=False)["model"]
        text = {name.removeprefix("text."): w for name, w in weights.items() if name.startswith("text.")}
        model.text_encoder.load_state_dict(text)
    if options.start is not None and saved is None:
        model.text_encoder.load_state_dict(read_weights(options.start, "text_encoder"))
        weights = read_weights(options.start, "transformer")
        take(model.transformer, weights, read_config(options.start, "transformer")["num_layers"])
    grown = saved is not None and saved["transformer_config"]["num_layers"] < options.layers
    if grown:
        weights = saved["optimisation"]["averaged"]
        model.load_state_dict(weights, strict=False)
        part = {name.removeprefix("transformer."): w for name, w in weights.items() if name.startswith("transformer.")}
        take(model.transformer, part, saved["transformer_config"]["num_layers"])
    optimisation = Optimisation(
        model,
        options.dtype,
        rate=options.rate,
        betas=(0.9, 0.98),
        muon_decay=0.0,
        smallest_matrix=32,
        by_adam=BY_ADAM,
        warm_up=60,
    )
    draw = random.Random(7)
    if saved is not None:
        if not grown:
            optimisation.restore(saved["optimisation"])
        draw.setstate(saved["draw"])
        torch.set_rng_state(saved["noise"].cpu())

    styles = len(pictures.styles)
    of = lambda chosen: latents[[c * styles + s for c, s, _ in chosen], [colour for _, _, colour in chosen]]
    examples = {name: example(captions, unseen, of, run.device) for name, unseen in (("unseen", True), ("seen", False))}

    def evaluate(**fields):
        with run.aside(), torch.no_grad(), optimisation.averaged_weights():
            losses = {}
            for name, parts in examples.items():
                batches = zip(*(part.split(BATCH) for part in parts))
                batch_losses = [loss_of(model, *batch, options.dtype).item() for batch in batches]
                losses[f"loss_{name}"] = round(sum(batch_losses) / len(batch_losses), 4)
        run.log(steps=optimisation.steps, **losses, **fields)
        run.save(
            optimisation=optimisation.state(),
            draw=draw.getstate(),
            noise=torch.get_rng_state(),
            transformer_config={**CONFIG, "num_layers": options.layers},
            text_config=TEXT_CONFIG,
        )

    evaluated, mean = run.seconds(), None
    pause = math.inf if options.pause is None else time.monotonic() + seconds_until(options.pause)
    while run.fraction() < 1 and time.monotonic() < pause:
        chosen, texts = zip(*(captions.draw(draw) for _ in range(BATCH * options.batch)))
        texts = ["" if draw.random() < EMPTY else text for text in texts]
        noise = torch.randn(len(chosen), 32, 8, 8).to(run.device)
        shift = SHIFT * (1 + max(0.0, 1 - run.fraction() / HIGH_UNTIL))
        sigma = shifted(torch.randn(len(chosen)).sigmoid(), shift).to(run.device)
        loss = loss_of(model, of(chosen), *captions.tokens(texts, run.device), noise, sigma, options.dtype)
        loss.backward()
        optimisation.step(rate_factor(run.fraction()))
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if run.seconds() - evaluated > options.evaluate_every * 60:
            evaluate(loss=round(mean, 4))
            evaluated = run.seconds()
    evaluate()


def take(transformer, weights, layers):
    """The weights of a transformer with at most as many blocks."""
    missing = transformer.load_state_dict(weights, strict=False).missing_keys
    assert all(int(name.split(".")[1]) >= layers for name in missing)
    transformer.add_nothing_from(layers)


def rate_factor(fraction):
    """Constant for two fifths of the time, then falling to a hundredth."""
    return min(1.0, max(0.0, 1 - fraction) / 0.6 + 0.01)


def shifted(u, shift=SHIFT):
    base = torch.floor(1000 * u) / 1000
    return shift * base / (1 + (shift - 1) * base)


def loss_of(model, latents, ids, mask, noise, sigma, dtype):
    s = sigma[:, None, None, None]
    velocity = model(((1 - s) * latents + s * noise).to(dtype), ids, mask, sigma).float()
    return (velocity - (noise - latents)).square().mean()


def example(captions, unseen, of, device):
    """Fixed pictures, captions and noise, for pairs of concept and colour that training sees, or never sees."""
    draw, generator = random.Random(3), torch.Generator().manual_seed(5)
    chosen = []
    for _ in range(EVALUATED):
        concept = draw.randrange(len(captions.trained_colours))
        trained = captions.trained_colours[concept]
        colours = [c for c in range(len(captions.pictures.colours)) if (c in trained) != unseen]
        chosen.append((concept, draw.randrange(len(captions.pictures.styles)), draw.choice(colours)))
    ids, mask = captions.tokens([captions.plain(*picture) for picture in chosen], device)
    noise = torch.randn(EVALUATED, 32, 8, 8, generator=generator).to(device)
    sigma = shifted(torch.randn(EVALUATED, generator=generator).sigmoid()).to(device)
    return of(chosen), ids, mask, noise, sigma
