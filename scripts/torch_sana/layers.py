"""What the transformer and the autoencoder have in common. Letters: B batch, N tokens or pixels, C channels, H heads."""

import torch
import torch.nn.functional as F
from torch import nn

HEAD_DIM = 32  # of linear attention, everywhere
NORM_EPSILON, ATTENTION_EPSILON = 1e-5, 1e-15


class RMSNorm(nn.Module):
    """As diffusers': f32 statistics, rounded to a 16-bit weight's dtype before weight and bias."""

    def __init__(self, size, eps=NORM_EPSILON, bias=False):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x):  # [..., C]
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        if self.weight.dtype != torch.float32:
            x = x.to(self.weight.dtype)
        x = x * self.weight
        return x if self.bias is None else x + self.bias


def linear_attention(q, k, v):
    """ReLU linear attention on [B, H, 32, N] f32 maps: the row of ones carries the denominator."""
    v = F.pad(v, (0, 0, 0, 1), value=1.0)  # [B, H, 33, N]
    state = torch.matmul(v, F.relu(k).transpose(-1, -2))  # [B, H, 33, 32]
    out = torch.matmul(state, F.relu(q))  # [B, H, 33, N]
    return out[:, :, :-1] / (out[:, :, -1:] + ATTENTION_EPSILON)


class GLUMBConv(nn.Module):
    """The feed-forward part of a block: a gated inverted bottleneck with a depthwise convolution."""

    def __init__(self, width, hidden):
        super().__init__()
        self.conv_inverted = nn.Conv2d(width, 2 * hidden, 1)
        self.conv_depth = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.conv_point = nn.Conv2d(hidden, width, 1, bias=False)

    def gate(self, x):  # [B, 2 C, h, w] -> [B, C, h, w]
        x, gate = torch.chunk(x, 2, dim=1)
        return x * F.silu(gate)

    def forward(self, x):  # [B, C, h, w]
        return self.conv_point(self.gate(self.conv_depth(F.silu(self.conv_inverted(x)))))
