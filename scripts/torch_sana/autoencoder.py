"""The decoder of the deep compression autoencoder, as diffusers' `AutoencoderDC` computes it.

It works on maps [B, C, height, width], upsamples before it convolves, and moves channels to the end and back for every
norm and linear layer. The classes that a module is built of are its attributes, so that a subclass can replace them.
"""

import torch
import torch.nn.functional as F
from torch import nn

from torch_sana.layers import ATTENTION_EPSILON, HEAD_DIM, GLUMBConv, RMSNorm, linear_attention


class ChannelNorm(RMSNorm):
    """Over the channels of a map."""

    def __init__(self, channels):
        super().__init__(channels, bias=True)

    def forward(self, x):  # [B, C, h, w]
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)

    def add(self, x, residual):
        return self(x) + residual

    def relu(self, x):
        return F.relu(self(x))


class ResBlock(nn.Module):
    Norm = ChannelNorm

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = self.Norm(channels)

    def forward(self, x):  # [B, C, h, w]
        return self.norm.add(self.conv2(F.silu(self.conv1(x))), x)


class MultiscaleProjection(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.proj_in = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.proj_out = nn.Conv2d(channels, channels, 1, groups=channels // HEAD_DIM, bias=False)

    def forward(self, x):
        return self.proj_out(self.proj_in(x))


class MultiscaleAttention(nn.Module):
    """ReLU linear attention over the map and over a locally aggregated copy of q, k and v."""

    Norm = ChannelNorm

    def __init__(self, channels):
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_qkv_multiscale = nn.ModuleList([MultiscaleProjection(3 * channels)])
        self.to_out = nn.Linear(2 * channels, channels, bias=False)
        self.norm_out = self.Norm(channels)

    def forward(self, x):  # [B, C, h, w]
        height, width = x.shape[-2:]
        y = x.movedim(1, -1)
        y = torch.cat([self.to_q(y), self.to_k(y), self.to_v(y)], dim=3).movedim(-1, 1)  # [B, 3 C, h, w]
        y = torch.cat([y] + [scale(y) for scale in self.to_qkv_multiscale], dim=1)  # [B, 6 C, h, w]
        linear = height * width > HEAD_DIM
        if linear:
            y = y.float()
        # A head's q, k and v are 32 consecutive channels each.
        q, k, v = y.reshape(y.shape[0], -1, 3 * HEAD_DIM, height * width).chunk(3, dim=2)
        y = linear_attention(q, k, v).to(x.dtype) if linear else quadratic_attention(q, k, v)
        y = y.reshape(y.shape[0], -1, height, width)  # [B, 2 C, h, w]
        return self.norm_out.add(self.to_out(y.movedim(1, -1)).movedim(-1, 1), x)


def quadratic_attention(q, k, v):
    """The same function for few pixels, with different rounding."""
    scores = torch.matmul(F.relu(k).transpose(-1, -2), F.relu(q)).float()  # [B, H, keys, queries]
    scores = scores / (scores.sum(dim=2, keepdim=True) + ATTENTION_EPSILON)
    return torch.matmul(v, scores.to(v.dtype))


class FeedForward(GLUMBConv):
    """With a norm and a residual."""

    Norm = ChannelNorm

    def __init__(self, channels):
        super().__init__(channels, 4 * channels)
        self.norm = self.Norm(channels)

    def forward(self, x):  # [B, C, h, w]
        return self.norm.add(super().forward(x), x)


class EfficientViTBlock(nn.Module):
    Attention, FeedForward = MultiscaleAttention, FeedForward

    def __init__(self, channels):
        super().__init__()
        self.attn = self.Attention(channels)
        self.conv_out = self.FeedForward(channels)

    def forward(self, x):
        return self.conv_out(self.attn(x))


class Upsample(nn.Module):
    """[B, C, h, w] -> [B, C', 2 h, 2 w]; the shortcut repeats channels and moves them to pixels."""

    def __init__(self, channels_in, channels_out, shortcut=True):
        super().__init__()
        self.repeats = 4 * channels_out // channels_in if shortcut else None
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x):
        y = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y if self.repeats is None else y + F.pixel_shuffle(x.repeat_interleave(self.repeats, dim=1), 2)


class Decoder(nn.Module):
    """A first stage without layers works at half resolution; the last convolution then doubles it."""

    folder, prefix = "vae", "decoder."
    Blocks = {"ResBlock": ResBlock, "EfficientViTBlock": EfficientViTBlock}
    Norm, Upsample = ChannelNorm, Upsample

    def __init__(self, config):
        super().__init__()
        widths, layers = config["decoder_block_out_channels"], config["decoder_layers_per_block"]
        self.scaling_factor = config["scaling_factor"]
        self.repeats = widths[-1] // config["latent_channels"]
        self.conv_in = nn.Conv2d(config["latent_channels"], widths[-1], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        for stage, width in enumerate(widths):
            block = self.Blocks[config["decoder_block_types"][stage]]
            up = [self.Upsample(widths[stage + 1], width)] if layers[stage] > 0 and stage + 1 < len(widths) else []
            self.up_blocks.append(nn.Sequential(*up, *(block(width) for _ in range(layers[stage]))))
        if layers[0] > 0:
            self.norm_out = self.Norm(widths[0])
            self.conv_out = nn.Conv2d(widths[0], config["in_channels"], 3, padding=1)
        else:
            self.norm_out = self.Norm(widths[1])
            self.conv_out = self.Upsample(widths[1], config["in_channels"], shortcut=False)

    def forward(self, z):  # [B, 32, h, w] -> [B, 3, 32 h, 32 w]
        x = self.conv_in(z) + z.repeat_interleave(self.repeats, dim=1)
        for stage in reversed(self.up_blocks):
            x = stage(x)
        return self.conv_out(self.norm_out.relu(x))
