"""Pictures and captions: which picture to show next, its caption, and the caption's tokens."""

import json
import os

import torch
from tokenizers import Tokenizer

KINDS = ["", "_no_colour", "_no_style", "_bare"]
SILENT = 0.13  # chance of a caption that leaves the colour out, and of one that leaves the style out
LENGTH = 24  # tokens of a caption, padded: one length, one compiled version; the longest has 22


class Captions:
    def __init__(self, folder, run, pictures):
        self.pictures = pictures
        self.texts = {kind: read(folder, f"weighted{kind}.json") for kind in KINDS}
        self.tokenizer = Tokenizer.from_file(os.path.join(run, "tokenizer", "files", "tokenizer.json"))
        self.known = {}
        self.trained_colours = [
            [i for i, colour in enumerate(pictures.colours) if colour not in concept["unseenColours"]]
            for concept in pictures.concepts
        ]
        self.white, self.fluent = pictures.colours.index("white"), pictures.styles.index("fluent")

    def key(self, concept, style, colour):
        return f"{self.pictures.concepts[concept]['slug']}.{self.pictures.styles[style]}.{self.pictures.colours[colour]}"

    def draw(self, random):
        """A picture (concept, style, colour) that training may use, and a caption of it."""
        concept = random.randrange(len(self.pictures.concepts))
        silent_colour, silent_style = random.random() < SILENT, random.random() < SILENT
        colour = self.white if silent_colour else random.choice(self.trained_colours[concept])
        style = self.fluent if silent_style else random.randrange(len(self.pictures.styles))
        kind = KINDS[silent_colour + 2 * silent_style]
        texts, chances = zip(*self.texts[kind][self.key(concept, style, colour)])
        return (concept, style, colour), random.choices(texts, chances)[0]

    def plain(self, concept, style, colour):
        """The same wording for every picture, for measurements."""
        name = self.pictures.concepts[concept]["name"]
        article = "an" if name[0] in "aeiou" else "a"
        return f"{article} {name}, {self.pictures.styles[style]} style, on a {self.pictures.colours[colour]} background"

    def tokens(self, texts, device="cpu"):
        """Ids and mask [B, T], padded on the right."""
        ids = [self.ids(text) for text in texts]
        padded, mask = torch.zeros(len(ids), LENGTH, dtype=torch.long), torch.zeros(len(ids), LENGTH)
        for i, row in enumerate(ids):
            padded[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        return padded.to(device), mask.to(device)

    def ids(self, text):
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text).ids[:LENGTH]
        return self.known[text]


def read(folder, name):
    with open(os.path.join(folder, name)) as file:
        return json.load(file)
