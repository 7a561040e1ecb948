"""The linear diffusion transformer, as diffusers' `SanaTransformer2DModel` computes it.

The caption projection and every block's text keys and values are computed in every step, and all text positions are
attended to with an additive mask; to_q, to_k and to_v are separate products; linear attention transposes to
[B, H, 32, N], casts to f32 and pads the values with a row of ones; the feed-forward is three convolutions on an NCHW
view of the tokens; every norm, modulation, gate and residual is its own pass over memory.

Letters: B batch, N image tokens, L text tokens, D width, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from torch_sana.layers import HEAD_DIM, GLUMBConv, RMSNorm, linear_attention


def query_key_norms(width, normed):
    """Over all heads together, as in SANA-1.5 and Sprint."""
    return (RMSNorm(width), RMSNorm(width)) if normed else (nn.Identity(), nn.Identity())


class SelfAttention(nn.Module):
    def __init__(self, width, heads, normed):
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k = query_key_norms(width, normed)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def split(self, x):  # [B, N, D] -> [B, H, 32, N] f32
        return x.transpose(1, 2).unflatten(1, (self.heads, -1)).float()

    def forward(self, x):  # [B, N, D]
        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(x)), self.to_v(x)
        out = linear_attention(self.split(q), self.split(k), self.split(v))
        return self.to_out[0](out.flatten(1, 2).transpose(1, 2).to(x.dtype))


class CrossAttention(nn.Module):
    def __init__(self, width, heads, normed):
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k = query_key_norms(width, normed)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def split(self, x):  # [B, N, D] -> [B, heads, N, D / heads]
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, text, bias):  # [B, N, D], [B, L, D], [B, 1, L]
        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(text)), self.to_v(text)
        q, k, v = self.split(q), self.split(k), self.split(v)
        bias = bias.repeat_interleave(self.heads, dim=0).view(x.shape[0], self.heads, 1, -1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.to_out[0](out.transpose(1, 2).flatten(2).to(x.dtype))


class Block(nn.Module):
    def __init__(self, width, heads, cross_heads, mlp_ratio, normed):
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn1 = SelfAttention(width, heads, normed)
        self.attn2 = CrossAttention(width, cross_heads, normed)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.ff = GLUMBConv(width, int(mlp_ratio * width))

    def forward(self, x, text, bias, modulation, height, width):  # [B, N, D], [B, L, D], [B, 1, L], [B, 6 D]
        rows = self.scale_shift_table[None] + modulation.reshape(x.shape[0], 6, -1)
        shift_attn, scale_attn, gate_attn, shift_ff, scale_ff, gate_ff = rows.chunk(6, dim=1)
        y = self.norm1(x) * (1 + scale_attn) + shift_attn
        x = x + gate_attn * self.attn1(y.to(x.dtype))
        x = self.attn2(x, text, bias) + x
        y = self.norm2(x) * (1 + scale_ff) + shift_ff
        y = self.ff(y.unflatten(1, (height, width)).permute(0, 3, 1, 2))
        return x + gate_ff * y.flatten(2, 3).permute(0, 2, 1)


class TwoLinear(nn.Module):
    def __init__(self, size_in, width, activation):
        super().__init__()
        self.linear_1 = nn.Linear(size_in, width)
        self.linear_2 = nn.Linear(width, width)
        self.activation = activation

    def forward(self, x):
        return self.linear_2(self.activation(self.linear_1(x)))


def timestep_embedding(timestep):  # [B] -> [B, 256] f32
    frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32, device=timestep.device) / 128)
    angles = timestep[:, None].float() * frequencies[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class TimeEmbed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.emb = nn.Module()
        self.emb.timestep_embedder = TwoLinear(256, width, F.silu)
        self.linear = nn.Linear(width, 6 * width)

    def forward(self, timestep, guidance, dtype):  # [B], None -> [B, 6 D], [B, D]
        embedded = self.emb.timestep_embedder(timestep_embedding(timestep).to(dtype))
        return self.linear(F.silu(embedded)), embedded


class GuidedTimeEmbed(nn.Module):
    """For Sprint: the guidance scale is embedded like the time."""

    def __init__(self, width):
        super().__init__()
        self.timestep_embedder = TwoLinear(256, width, F.silu)
        self.guidance_embedder = TwoLinear(256, width, F.silu)
        self.linear = nn.Linear(width, 6 * width)

    def forward(self, timestep, guidance, dtype):  # [B], [B] -> [B, 6 D], [B, D]
        embedded = self.timestep_embedder(timestep_embedding(timestep).to(dtype))
        embedded = embedded + self.guidance_embedder(timestep_embedding(guidance).to(dtype))
        return self.linear(F.silu(embedded)), embedded


def position_embedding(height, width, channels, base, scale):  # -> [N, D] f32, x in the first half
    frequencies = 1 / 10000 ** (torch.arange(channels // 4, dtype=torch.float64) / (channels / 4))

    def waves(count):  # [count, D / 2]
        angles = (torch.arange(count, dtype=torch.float32) / (count / base) / scale).double()[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    x = waves(width)[None].expand(height, -1, -1)
    y = waves(height)[:, None].expand(-1, width, -1)
    return torch.cat([x, y], dim=-1).flatten(0, 1).float()


class PatchEmbed(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, 1)

    def forward(self, x):  # [B, 32, h, w] -> [B, N, D]
        return self.proj(x).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    folder, prefix = "transformer", ""
    CaptionNorm = RMSNorm

    def __init__(self, config):
        super().__init__()
        heads = config["num_attention_heads"]
        width = heads * HEAD_DIM
        self.sample_size, self.interpolation_scale = config.get("sample_size"), config.get("interpolation_scale")
        self.patch_embed = PatchEmbed(config["in_channels"], width)
        self.time_embed = (GuidedTimeEmbed if config.get("guidance_embeds") else TimeEmbed)(width)
        self.caption_projection = TwoLinear(config["caption_channels"], width, lambda x: F.gelu(x, approximate="tanh"))
        self.text_channels = config["caption_channels"]
        self.caption_norm = self.CaptionNorm(width)
        self.transformer_blocks = nn.ModuleList(
            Block(width, heads, config["num_cross_attention_heads"], config["mlp_ratio"], bool(config.get("qk_norm")))
            for _ in range(config["num_layers"])
        )
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.norm_out = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.proj_out = nn.Linear(width, config["out_channels"])

    # [B, 32, h, w], [B, L, 2304], [B], [B, L], of Sprint [B] -> [B, 32, h, w]
    def forward(self, latents, text, timestep, mask, guidance=None):
        height, width = latents.shape[-2:]
        bias = ((1 - mask.to(latents.dtype)) * -10000.0).unsqueeze(1)  # [B, 1, L]
        x = self.patch_embed(latents)
        if self.interpolation_scale is not None:
            positions = position_embedding(height, width, x.shape[-1], self.sample_size, self.interpolation_scale)
            x = (x.float() + positions).to(x.dtype)
        modulation, embedded = self.time_embed(timestep, guidance, x.dtype)
        text = self.caption_norm(self.caption_projection(text))
        for block in self.transformer_blocks:
            x = block(x, text, bias, modulation, height, width)
        shift, scale = (self.scale_shift_table[None] + embedded[:, None]).chunk(2, dim=1)
        x = self.proj_out(self.norm_out(x) * (1 + scale) + shift)  # [B, N, 32]
        return x.unflatten(1, (height, width)).permute(0, 3, 1, 2).contiguous()
