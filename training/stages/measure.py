"""What the trained parts draw, against the pictures that the prompts describe.

- background: the colour that the picture's border is nearest to is the one that was asked for;
- concept: of all icons, small and on the same background, the nearest is of the concept; `style`: and of the style;
- psnr: to the true picture, in dB; what the autoencoder alone reaches is its limit.

For pairs of concept and colour that training never saw, in the plain wording; then for the prompts that leave colour,
style or both out, which stand for white and fluent.
"""

import random

import torch
import torch.nn.functional as F

from captions import Captions
from models.autoencoder import Autoencoder
from pictures import Pictures
from run import Run
from stages.dit import SHIFT, Pair

PICTURES = 300
STEPS, GUIDANCE = 20, 1.7
BORDER = 8  # pixels
AT_ONCE = 30


@torch.no_grad()
def train(options):
    run = Run(options.run, "measure")
    pictures = Pictures(options.data, run.device)
    captions = Captions(options.data, options.run, pictures)
    load = lambda stage: torch.load(f"{options.run}/{stage}/state.pt", map_location=run.device, weights_only=False)
    model = Pair().to(run.device).eval()
    model.load_state_dict(load("dit")["optimisation"]["averaged"])
    saved, latents = load("autoencoder"), load("latents")
    autoencoder = Autoencoder(saved["config"]).to(run.device, memory_format=torch.channels_last)
    autoencoder.load_state_dict(saved["optimisation"]["averaged"])
    scale = latents["rms"].square().mean().sqrt().item()
    icons = F.avg_pool2d(centred_icons(pictures), 2)  # [icons, 4, 32, 32]

    draw = random.Random(30)
    for name, chosen, texts in tasks(captions, draw):
        totals = dict(background=0, concept=0, style=0, psnr=0.0, limit=0.0)
        for first in range(0, len(chosen), AT_ONCE):
            part = chosen[first : first + AT_ONCE]
            z = sample(model, captions, texts[first : first + AT_ONCE], run.device, seed=first)
            drawn = autoencoder.decoder(z * scale).clamp(-1, 1)
            numbers = [concept * len(pictures.styles) + style for concept, style, _ in part]
            truth = pictures.centred(numbers, [colour for _, _, colour in part])
            again = autoencoder.decoder(autoencoder.encoder(truth)).clamp(-1, 1)
            totals["psnr"] += decibels(drawn, truth).sum().item()
            totals["limit"] += decibels(again, truth).sum().item()
            for picture, number, (concept, _, colour) in zip(drawn, numbers, part):
                totals["background"] += nearest_colour(pictures, picture) == colour
                found = nearest_icon(pictures, icons, picture, colour)
                totals["concept"] += found // len(pictures.styles) == concept
                totals["style"] += found == number
        run.log(prompts=name, pictures=len(chosen), **{k: round(v / len(chosen), 4) for k, v in totals.items()})


def tasks(captions, draw):
    """Name, pictures and prompts of each measurement."""
    concepts, styles = len(captions.trained_colours), len(captions.pictures.styles)
    everyone = range(len(captions.pictures.colours))
    unseen = [
        (c, draw.randrange(styles), draw.choice([k for k in everyone if k not in captions.trained_colours[c]]))
        for c in (draw.randrange(concepts) for _ in range(PICTURES))
    ]
    yield "unseen pairs", unseen, [captions.plain(*picture) for picture in unseen]
    no_style = [(c, captions.fluent, colour) for c, _, colour in unseen]
    cut = lambda picture, words: captions.plain(*picture).replace(words, "")
    yield "no style", no_style, [cut(picture, ", fluent style,") for picture in no_style]
    no_colour = [(c, style, captions.white) for c, style, _ in unseen]
    yield "no colour", no_colour, [cut(picture, ", on a white background") for picture in no_colour]
    bare = [(c, captions.fluent, captions.white) for c, _, _ in unseen]
    yield "neither", bare, [cut(picture, ", fluent style, on a white background") for picture in bare]


def sample(model, captions, texts, device, seed):
    """Euler steps from noise, with guidance."""
    z = torch.randn(len(texts), 32, 8, 8, generator=torch.Generator().manual_seed(seed)).to(device)
    line = torch.linspace(1, 0, STEPS + 1)
    sigmas = (SHIFT * line / (1 + (SHIFT - 1) * line)).to(device)
    ids, mask = captions.tokens([*texts, *[""] * len(texts)], device)
    for now, then in zip(sigmas, sigmas[1:]):
        velocity = model(torch.cat([z, z]), ids, mask, now.expand(2 * len(texts)))
        told, empty = velocity.chunk(2)
        z = z + (then - now) * (empty + GUIDANCE * (told - empty))
    return z


def centred_icons(pictures, at_once=48):
    """Every icon as captioned pictures have it, small, with its opacity. [icons, 4, 64, 64]"""
    count = len(pictures.concepts) * len(pictures.styles)
    parts = []
    for first in range(0, count, at_once):
        numbers = list(range(first, min(first + at_once, count)))
        on = [F.avg_pool2d(pictures.centred_on(numbers, value), 4) for value in (0.0, 1.0)]
        parts.append(torch.cat([on[0], 1 - (on[1] - on[0])[:, :1]], 1))
    return torch.cat(parts)


def decibels(a, b):
    return 10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)).clamp_min(1e-6))


def nearest_colour(pictures, picture):
    edges = [picture[:, :BORDER], picture[:, -BORDER:], picture[:, :, :BORDER], picture[:, :, -BORDER:]]
    border = torch.cat([edge.flatten(1) for edge in edges], 1).median(1)[0].cpu()
    return (pictures.colour_values - border).square().sum(1).argmin().item()


def nearest_icon(pictures, icons, picture, colour):
    background = pictures.colour_values[colour].to(icons.device)[None, :, None, None]
    candidates = icons[:, :3] + (1 - icons[:, 3:]) * background
    small = F.avg_pool2d(picture[None], picture.shape[-1] // icons.shape[-1])
    return (candidates - small).square().mean((1, 2, 3)).argmin().item()
