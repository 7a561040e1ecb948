"""The linear diffusion transformer, with diffusers' parameter names (`SanaTransformer2DModel`).

The function is the reference's, on tokens throughout; one compiled function serves every block. What differs is where
training starts: the caption's norm begins at one, not at the paper's 0.01, so that text matters from the first step,
and the last projection at zero. Letters: B batch, N image tokens, L text tokens, D width, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

HEAD_DIM = 32
ATTENTION_EPSILON = 1e-15

CONFIG = dict(
    _class_name="SanaTransformer2DModel",
    in_channels=32,
    out_channels=32,
    num_attention_heads=7,
    attention_head_dim=HEAD_DIM,
    num_layers=6,
    num_cross_attention_heads=7,
    cross_attention_head_dim=HEAD_DIM,
    cross_attention_dim=224,
    caption_channels=128,
    mlp_ratio=2.5,
    dropout=0.0,
    attention_bias=False,
    sample_size=8,
    patch_size=1,
    norm_elementwise_affine=False,
    norm_eps=1e-6,
    interpolation_scale=1.0,  # fixed positions: they cost no parameters and halve the time to learn a layout
    guidance_embeds=False,
    guidance_embeds_scale=0.1,
    qk_norm=None,
    timestep_scale=1.0,
)


def linears(width, *, bias):
    attention = nn.Module()
    attention.to_q = nn.Linear(width, width, bias=bias)
    attention.to_k = nn.Linear(width, width, bias=bias)
    attention.to_v = nn.Linear(width, width, bias=bias)
    attention.to_out = nn.ModuleList([nn.Linear(width, width)])
    return attention


class Block(nn.Module):
    """Parameters only: `run_block` is the function."""

    def __init__(self, width, hidden):
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.attn1, self.attn2 = linears(width, bias=False), linears(width, bias=True)
        self.ff = nn.Module()
        self.ff.conv_inverted = nn.Conv2d(width, 2 * hidden, 1)
        self.ff.conv_depth = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.ff.conv_point = nn.Conv2d(hidden, width, 1, bias=False)


def heads(x):  # [B, N, D] -> [B, H, N, 32]
    return x.unflatten(2, (-1, HEAD_DIM)).transpose(1, 2)


def modulated(x, shift, scale):
    y = F.layer_norm(x.float(), x.shape[-1:], eps=1e-6)
    return (y * (1 + scale) + shift).to(x.dtype)


@torch.compile(dynamic=False)
def run_block(block, x, text, bias, modulation):  # Block, [B, N, D], [B, L, D], [B, 1, 1, L], [B, 6 D] -> [B, N, D]
    rows = block.scale_shift_table.to(x.dtype) + modulation.unflatten(1, (6, -1))
    shift_attn, scale_attn, gate_attn, shift_ff, scale_ff, gate_ff = rows.chunk(6, 1)

    a, y = block.attn1, modulated(x, shift_attn, scale_attn)
    q, k, v = heads(a.to_q(y)).relu().float(), heads(a.to_k(y)).relu().float(), heads(a.to_v(y)).float()
    out = q @ (k.transpose(-1, -2) @ v) / ((q * k.sum(2, keepdim=True)).sum(-1, keepdim=True) + ATTENTION_EPSILON)
    x = x + gate_attn * a.to_out[0](out.to(x.dtype).transpose(1, 2).flatten(2))

    a = block.attn2
    scores = (heads(a.to_q(x)) @ heads(a.to_k(text)).transpose(-1, -2)).float() * HEAD_DIM**-0.5 + bias
    out = scores.softmax(-1).to(x.dtype) @ heads(a.to_v(text))
    x = x + a.to_out[0](out.transpose(1, 2).flatten(2))

    ff, side = block.ff, math.isqrt(x.shape[1])
    y = modulated(x, shift_ff, scale_ff)
    y = F.silu(F.linear(y, ff.conv_inverted.weight.flatten(1), ff.conv_inverted.bias))
    y = ff.conv_depth(y.unflatten(1, (side, side)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1, 2)
    value, gate = y.chunk(2, -1)
    return x + gate_ff * F.linear(value * F.silu(gate), ff.conv_point.weight.flatten(1))


class TwoLinear(nn.Module):
    def __init__(self, size_in, width, activation):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(size_in, width), nn.Linear(width, width)
        self.activation = activation

    def forward(self, x):
        return self.linear_2(self.activation(self.linear_1(x)))


class CaptionNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5) * self.weight.float()).to(x.dtype)


def timestep_embedding(timestep):  # [B] -> [B, 256]
    frequencies = torch.exp(-math.log(10000) * torch.arange(128, device=timestep.device) / 128)
    angles = timestep[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def positions(side, width):  # -> [side * side, width]: sines and cosines of the column, then of the row
    omega = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * omega  # [side, D / 4]
    axis = torch.cat([angles.sin(), angles.cos()], -1)  # [side, D / 2]
    return torch.cat([axis.repeat(side, 1), axis.repeat_interleave(side, 0)], -1).float()


class Transformer(nn.Module):
    def __init__(self, config=CONFIG):
        super().__init__()
        width = config["num_attention_heads"] * HEAD_DIM
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(config["in_channels"], width, 1)
        self.time_embed = nn.Module()
        self.time_embed.emb = nn.Module()
        self.time_embed.emb.timestep_embedder = TwoLinear(256, width, F.silu)
        self.time_embed.linear = nn.Linear(width, 6 * width)
        self.caption_projection = TwoLinear(config["caption_channels"], width, lambda x: F.gelu(x, approximate="tanh"))
        self.caption_norm = CaptionNorm(width)
        hidden = int(config["mlp_ratio"] * width)
        self.transformer_blocks = nn.ModuleList(Block(width, hidden) for _ in range(config["num_layers"]))
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.proj_out = nn.Linear(width, config["out_channels"])
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        place = positions(config["sample_size"], width) if config["interpolation_scale"] == 1.0 else torch.zeros(1, width)
        self.register_buffer("positions", place, persistent=False)

    @torch.no_grad()
    def add_nothing_from(self, layer):
        """Makes the blocks from `layer` on pass on what they get, as added blocks do in SANA-1.5 before they learn."""
        for block in self.transformer_blocks[layer:]:
            for projection in (block.attn1.to_out[0], block.attn2.to_out[0]):
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
            nn.init.zeros_(block.ff.conv_point.weight)

    def forward(self, latents, text, timestep, mask):  # [B, 32, h, w], [B, L, 128], [B], [B, L] -> [B, 32, h, w]
        x = F.linear(
            latents.flatten(2).transpose(1, 2), self.patch_embed.proj.weight.flatten(1), self.patch_embed.proj.bias
        )
        x = x + self.positions.to(x.dtype)
        embedded = self.time_embed.emb.timestep_embedder(timestep_embedding(timestep).to(x.dtype))
        modulation = self.time_embed.linear(F.silu(embedded))
        text = self.caption_norm(self.caption_projection(text))
        bias = ((1 - mask.float()) * -10000.0)[:, None, None]
        for block in self.transformer_blocks:
            x = run_block(block, x, text, bias, modulation)
        shift, scale = (self.scale_shift_table.to(x.dtype) + embedded[:, None]).chunk(2, 1)
        x = self.proj_out(modulated(x, shift, scale))
        return x.transpose(1, 2).unflatten(2, latents.shape[2:])
