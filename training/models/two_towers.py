"""A small contrastive model: pictures and captions as unit vectors, which are similar if they match."""

import torch
import torch.nn.functional as F
from torch import nn

from models.text_encoder import CONFIG, TextEncoder

SIZE = 128


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, 32, 64, 128, 256]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:]))
        self.from_picture = nn.Linear(widths[-1] * 16, SIZE)
        self.text = TextEncoder()
        self.from_text = nn.Linear(CONFIG["hidden_size"], SIZE)
        self.sharpness = nn.Parameter(torch.tensor(2.6))  # logarithm of what cosines are multiplied by

    def picture(self, x):  # [B, 3, 64, 64] -> [B, 128], of length 1
        for convolution in self.convolutions:
            x = F.gelu(convolution(x))
        return F.normalize(self.from_picture(x.flatten(1)), dim=-1)  # of a 4 x 4 map

    def caption(self, ids, mask):  # [B, T] -> [B, 128], of length 1
        x = self.text(ids, mask) * mask[..., None]
        return F.normalize(self.from_text(x.sum(1) / mask.sum(1, keepdim=True)), dim=-1)
