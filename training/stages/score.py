"""How well each caption matches its picture, as a CLIP score: 100 times a cosine.

No released CLIP is at hand, so a small one learns from the very captions that it then judges. It can: a caption that
fits many pictures cannot be near to all of them, so the vague ones end up further off.
"""

import json
import os
import random

import torch
import torch.nn.functional as F

from captions import KINDS, Captions, read
from models.two_towers import TwoTowers
from pictures import Pictures
from run import Run

BATCH = 192
RATE = 1e-3
SMALL = 64  # pixels


def train(options):
    run = Run(options.run, "score", options.minutes, options.until)
    torch.manual_seed(0)
    pictures = Pictures(options.data, run.device)
    captions = Captions(options.data, options.run, pictures)
    written = {kind: read(options.data, f"captions{kind}.json") for kind in KINDS}
    fitting = [(kind, *place(pictures, key), key) for kind, table in written.items() for key in table]
    icons = thumbnails(pictures)
    model = TwoTowers().to(run.device)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.01)
    draw, steps = random.Random(1), 0
    saved = run.state()
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        draw.setstate(saved["draw"])
        steps = saved["steps"]

    logged, mean = run.seconds(), None
    while run.fraction() < 1:
        batch = draw.sample(fitting, BATCH)
        texts = [draw.choice(list(written[kind][key].values())) for kind, _, _, key in batch]
        logits = model.picture(small(pictures, icons, batch)) @ model.caption(*captions.tokens(texts, run.device)).T
        logits = logits * model.sharpness.exp().clamp(max=100)
        right = torch.arange(BATCH, device=run.device)
        loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        optimiser.param_groups[0]["lr"] = RATE * min(1, (steps + 1) / 100) * (1.02 - run.fraction())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if run.seconds() - logged > options.evaluate_every * 60 or run.fraction() >= 1:
            right_ones = (logits.argmax(1) == right).float().mean().item()
            run.log(steps=steps, loss=round(mean, 4), found_in_batch=round(right_ones, 3))
            run.save(model=model.state_dict(), optimiser=optimiser.state_dict(), draw=draw.getstate(), steps=steps)
            logged = run.seconds()

    for kind, table in written.items():
        scores = score(model, captions, pictures, icons, kind, table, run.device)
        with open(os.path.join(options.data, f"captions{kind or '_prompt'}_clip_score.json"), "w") as file:
            json.dump(scores, file)


def place(pictures, key):
    """Icon and colour of a picture, by its key."""
    slug, style, colour = key.rsplit(".", 2)
    icon = pictures.number_of[slug] * len(pictures.styles) + pictures.styles.index(style)
    return icon, pictures.colours.index(colour)


def thumbnails(pictures, at_once=48):
    """Every icon, small and with its opacity, so that a background can be added. [icons, 4, 64, 64]"""
    count = len(pictures.concepts) * len(pictures.styles)
    shrink = lambda x: F.avg_pool2d(x, pictures.size // SMALL)
    parts = [shrink(pictures.icons(list(range(i, min(i + at_once, count))))) for i in range(0, count, at_once)]
    return torch.cat(parts)


def small(pictures, icons, batch):
    chosen = icons[[icon for _, icon, _, _ in batch]]
    colours = pictures.colour_values[[colour for _, _, colour, _ in batch]].to(chosen.device)
    return chosen[:, :3] + (1 - chosen[:, 3:]) * colours[:, :, None, None]


@torch.no_grad()
def score(model, captions, pictures, icons, kind, table, device, at_once=256):
    scores, keys = {}, list(table)
    for first in range(0, len(keys), at_once):
        part = keys[first : first + at_once]
        seen = model.picture(small(pictures, icons, [(kind, *place(pictures, key), key) for key in part]))
        texts = [(i, name, text) for i, key in enumerate(part) for name, text in table[key].items()]
        read_ones = model.caption(*captions.tokens([text for _, _, text in texts], device))
        cosines = (seen[[i for i, _, _ in texts]] * read_ones).sum(1)
        for (i, name, _), cosine in zip(texts, cosines.tolist()):
            scores.setdefault(part[i], {})[name] = round(100 * cosine, 2)
    return scores
