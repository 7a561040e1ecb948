"""The linear diffusion transformer of `torch_sana`, in the form that trains fastest.

The function is the reference's, on tokens throughout; one compiled function serves every block. What differs is where
training starts: the caption's norm begins at one, not at the paper's 0.01, so that text matters from the first step,
and the last projection at zero. Letters: B batch, N image tokens, L text tokens, D width, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch_sana import transformer as reference
from torch_sana.layers import ATTENTION_EPSILON, HEAD_DIM, RMSNorm

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


class CaptionNorm(RMSNorm):
    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * self.weight.float()).to(x.dtype)


class Transformer(reference.Transformer):
    CaptionNorm = CaptionNorm

    def __init__(self, config=CONFIG):
        super().__init__(config)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        width, side = self.proj_out.in_features, self.sample_size
        place = torch.zeros(1, width)
        if self.interpolation_scale is not None:
            place = reference.position_embedding(side, side, width, side, self.interpolation_scale)
        self.register_buffer("positions", place, persistent=False)

    @torch.no_grad()
    def add_nothing_from(self, layer):
        """Makes the blocks from `layer` on the identity, like the added blocks of SANA-1.5 at the start of training."""
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
        modulation, embedded = self.time_embed(timestep, None, x.dtype)
        text = self.caption_norm(self.caption_projection(text))
        bias = ((1 - mask.float()) * -10000.0)[:, None, None]
        for block in self.transformer_blocks:
            x = run_block(block, x, text, bias, modulation)
        shift, scale = (self.scale_shift_table.to(x.dtype) + embedded[:, None]).chunk(2, 1)
        x = self.proj_out(modulated(x, shift, scale))
        return x.transpose(1, 2).unflatten(2, latents.shape[2:])
