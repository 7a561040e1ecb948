"""Pictures composed from the bank: an icon at any size and place on a colour."""

import json
import os

import numpy as np
import torch
import torch.nn.functional as F

SCALE = 0.86  # of an icon on its background, if the text does not mention its size


class Pictures:
    """The bank as `prepare.ts` writes it. Values of pictures are in [-1, 1]."""

    def __init__(self, folder, device="cpu"):
        with open(os.path.join(folder, "index.json")) as file:
            index = json.load(file)
        self.size, self.styles, self.concepts = index["size"], index["styles"], index["concepts"]
        self.number_of = {concept["slug"]: i for i, concept in enumerate(self.concepts)}
        self.colours = list(index["colours"])
        self.colour_values = torch.tensor(list(index["colours"].values())) / 127.5 - 1  # [12, 3]
        self.device = device
        shape = (len(self.concepts) * len(self.styles), self.size, self.size, 4)
        self.pixels = np.memmap(os.path.join(folder, "pictures.rgba"), np.uint8, "r", shape=shape)
        if device != "cpu":  # it fits, and is then read at the device's speed
            self.pixels = torch.from_numpy(np.asarray(self.pixels)).to(device)

    def concepts_where(self, held_out):
        return np.array([i for i, concept in enumerate(self.concepts) if concept["heldOut"] == held_out])

    def icons(self, numbers):  # [B] -> [B, 4, size, size]: colour times opacity, so that full transparency is 0
        if self.device == "cpu":
            pixels = torch.from_numpy(self.pixels[numbers])
        else:
            pixels = self.pixels[torch.as_tensor(numbers, device=self.device)]
        pixels = pixels.permute(0, 3, 1, 2).float() / 255
        colour, opacity = pixels[:, :3], pixels[:, 3:]
        return torch.cat([2 * colour - opacity, opacity], 1)

    def compose(self, numbers, background, scale, centre, corner, window):
        """A square window of pictures [B, 3, window, window].

        numbers [B]: concept times styles, plus style; background [B, 3]; scale [B]: of the whole picture;
        centre and corner [B, 2]: x and y in pixels of the icon's middle and of the window's first pixel.
        """
        half = np.asarray(scale)[:, None] * self.size / 2
        # From a pixel of the window in [-1, 1] to one of the icon.
        theta = torch.zeros(len(numbers), 2, 3)
        factor = torch.from_numpy(window / 2 / half).float()[:, 0]
        theta[:, 0, 0], theta[:, 1, 1] = factor, factor
        theta[:, :, 2] = torch.from_numpy((np.asarray(corner) + window / 2 - np.asarray(centre)) / half).float()
        grid = F.affine_grid(theta.to(self.device), (len(numbers), 4, window, window), align_corners=False)
        icons = F.grid_sample(self.icons(numbers), grid, align_corners=False)
        return icons[:, :3] + (1 - icons[:, 3:]) * background.to(self.device)[:, :, None, None]

    def centred(self, numbers, colours):
        """Whole pictures [B, 3, size, size] as captions describe them."""
        return self.centred_on(numbers, self.colour_values[torch.as_tensor(colours)])

    def centred_on(self, numbers, background):  # [B], [B, 3] or one value
        count, middle = len(numbers), self.size / 2
        background = torch.as_tensor(background).expand(count, 3)
        place = dict(centre=np.full((count, 2), middle), corner=np.zeros((count, 2)), window=self.size)
        return self.compose(np.asarray(numbers), background, np.full(count, SCALE), **place)

    def varied(self, random, count, concepts, window):
        """Pictures for the autoencoder: any size, place and colour; a window smaller than the picture is on the icon."""
        numbers = random.choice(concepts, count) * len(self.styles) + random.integers(len(self.styles), size=count)
        scale = random.uniform(0.6, 0.98, count)
        half = scale[:, None] * self.size / 2
        middle = self.size / 2
        centre = middle + random.uniform(-1, 1, (count, 2)) * 1.2 * (middle - half)
        corner = np.clip(centre + random.uniform(-0.8, 0.8, (count, 2)) * half - window / 2, 0, self.size - window)
        named = self.colour_values[torch.from_numpy(random.integers(len(self.colours), size=count))]
        free = torch.from_numpy(random.uniform(-1, 1, (count, 3))).float()
        is_named = torch.from_numpy(random.random(count) < 0.6)[:, None]
        return self.compose(numbers, torch.where(is_named, named, free), scale, centre, corner.round(), window)
