"""SANA's three networks in plain torch, run the way diffusers and transformers run them eagerly.

This is the peer that benchmarks alternate with and compare numbers with; it is deliberately not clever. It mimics
diffusers 0.40 (`SanaTransformer2DModel`, `AutoencoderDC`) and transformers' `Gemma2Model` with eager attention:

- the transformer computes the caption projection and every block's text keys and values in every step, and attends
  to all 300 text positions with an additive mask; to_q, to_k and to_v are separate products; linear attention
  transposes to [B, H, 32, N], casts to f32 and pads the values with a row of ones; the feed-forward is three
  convolutions on an NCHW view of the tokens; every norm, modulation, gate and residual is its own pass over memory;
- the autoencoder works on NCHW maps, upsamples before it convolves, and moves channels to the end and back for
  every norm and linear layer;
- Gemma runs all padded positions, repeats its keys for every query head and keeps the scores in memory.

Modules and parameters have the names of the released checkpoints, so that one can be loaded (`load`); otherwise the
weights are random, of the same shapes. Letters: B batch, N image tokens, L text tokens, D width, H heads.
"""

import json
import math
import mmap
import os
import struct

import torch
import torch.nn.functional as F
from torch import nn

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}

TRANSFORMERS = {
    "0.6b": dict(num_attention_heads=36, num_layers=28, num_cross_attention_heads=16),
    "1.6b": dict(num_attention_heads=70, num_layers=20, num_cross_attention_heads=20),
}


def transformer_config(model):
    return dict(TRANSFORMERS[model], in_channels=32, out_channels=32, caption_channels=2304, mlp_ratio=2.5)


VAE_CONFIG = dict(
    in_channels=3,
    latent_channels=32,
    scaling_factor=0.41407,
    decoder_block_out_channels=[128, 256, 512, 512, 1024, 1024],
    decoder_block_types=["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    decoder_layers_per_block=[3] * 6,
)

TEXT_CONFIG = dict(
    vocab_size=256000,
    hidden_size=2304,
    intermediate_size=9216,
    num_hidden_layers=26,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=256,
    query_pre_attn_scalar=256,
    sliding_window=4096,
    attn_logit_softcapping=50.0,
    rope_theta=10000.0,
)

HEAD_DIM = 32  # of linear attention, everywhere


# ---- transformer ---------------------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """As diffusers': f32 statistics, rounded to a 16-bit weight's dtype before weight and bias."""

    def __init__(self, size, eps=1e-5, bias=False):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size)) if bias else None

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
    return out[:, :, :-1] / (out[:, :, -1:] + 1e-15)


def query_key_norms(width, normed):
    """Over all heads together, as SANA-1.5 and Sprint have them."""
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


class FeedForward(nn.Module):
    """GLUMBConv; with a norm and a residual in the autoencoder."""

    def __init__(self, width, hidden, norm=False):
        super().__init__()
        self.conv_inverted = nn.Conv2d(width, 2 * hidden, 1)
        self.conv_depth = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.conv_point = nn.Conv2d(hidden, width, 1, bias=False)
        self.norm = RMSNorm(width, bias=True) if norm else None

    def forward(self, x):  # [B, C, h, w]
        y = self.conv_depth(F.silu(self.conv_inverted(x)))
        y, gate = torch.chunk(y, 2, dim=1)
        y = self.conv_point(y * F.silu(gate))
        if self.norm is None:
            return y
        return self.norm(y.movedim(1, -1)).movedim(-1, 1) + x


class Block(nn.Module):
    def __init__(self, width, heads, cross_heads, mlp_ratio, normed):
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn1 = SelfAttention(width, heads, normed)
        self.attn2 = CrossAttention(width, cross_heads, normed)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.ff = FeedForward(width, int(mlp_ratio * width))

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
    frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
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
    """Of Sprint: the guidance scale is embedded as the time is."""

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
    def __init__(self, config):
        super().__init__()
        heads = config["num_attention_heads"]
        width = heads * HEAD_DIM
        self.sample_size, self.interpolation_scale = config.get("sample_size"), config.get("interpolation_scale")
        self.patch_embed = PatchEmbed(config["in_channels"], width)
        self.time_embed = (GuidedTimeEmbed if config.get("guidance_embeds") else TimeEmbed)(width)
        self.caption_projection = TwoLinear(config["caption_channels"], width, lambda x: F.gelu(x, approximate="tanh"))
        self.text_channels = config["caption_channels"]
        self.caption_norm = RMSNorm(width)
        self.transformer_blocks = nn.ModuleList(
            Block(width, heads, config["num_cross_attention_heads"], config["mlp_ratio"], bool(config.get("qk_norm")))
            for _ in range(config["num_layers"])
        )
        self.scale_shift_table = nn.Parameter(torch.empty(2, width))
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


# ---- autoencoder ---------------------------------------------------------------------------------------------------


class ResBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = RMSNorm(channels, bias=True)

    def forward(self, x):  # [B, C, h, w]
        y = self.conv2(F.silu(self.conv1(x)))
        return self.norm(y.movedim(1, -1)).movedim(-1, 1) + x


class MultiscaleProjection(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.proj_in = nn.Conv2d(3 * channels, 3 * channels, 5, padding=2, groups=3 * channels, bias=False)
        self.proj_out = nn.Conv2d(3 * channels, 3 * channels, 1, groups=3 * channels // HEAD_DIM, bias=False)

    def forward(self, x):
        return self.proj_out(self.proj_in(x))


class MultiscaleAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_qkv_multiscale = nn.ModuleList([MultiscaleProjection(channels)])
        self.to_out = nn.Linear(2 * channels, channels, bias=False)
        self.norm_out = RMSNorm(channels, bias=True)

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
        y = self.to_out(y.movedim(1, -1))
        return self.norm_out(y).movedim(-1, 1) + x


def quadratic_attention(q, k, v):
    """The same function on few pixels, with its own roundings."""
    scores = torch.matmul(F.relu(k).transpose(-1, -2), F.relu(q)).float()  # [B, H, keys, queries]
    scores = scores / (scores.sum(dim=2, keepdim=True) + 1e-15)
    return torch.matmul(v, scores.to(v.dtype))


class EfficientViTBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.attn = MultiscaleAttention(channels)
        self.conv_out = FeedForward(channels, 4 * channels, norm=True)

    def forward(self, x):
        return self.conv_out(self.attn(x))


class Upsample(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.repeats = 4 * channels_out // channels_in
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, x):  # [B, C, h, w] -> [B, C', 2 h, 2 w]
        y = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y + F.pixel_shuffle(x.repeat_interleave(self.repeats, dim=1), 2)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels = config["decoder_block_out_channels"]
        blocks = {"ResBlock": ResBlock, "EfficientViTBlock": EfficientViTBlock}
        self.scaling_factor = config["scaling_factor"]
        self.repeats = channels[-1] // config["latent_channels"]
        self.conv_in = nn.Conv2d(config["latent_channels"], channels[-1], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        for stage, size in enumerate(channels):
            up = [Upsample(channels[stage + 1], size)] if stage + 1 < len(channels) else []
            block = blocks[config["decoder_block_types"][stage]]
            layers = config["decoder_layers_per_block"][stage]
            self.up_blocks.append(nn.Sequential(*up, *(block(size) for _ in range(layers))))
        self.norm_out = RMSNorm(channels[0], bias=True)
        self.conv_out = nn.Conv2d(channels[0], config["in_channels"], 3, padding=1)

    def forward(self, z):  # [B, 32, h, w] -> [B, 3, 32 h, 32 w]
        x = self.conv_in(z) + z.repeat_interleave(self.repeats, dim=1)
        for stage in reversed(self.up_blocks):
            x = stage(x)
        x = self.norm_out(x.movedim(1, -1)).movedim(-1, 1)
        return self.conv_out(F.relu(x))


# ---- text encoder --------------------------------------------------------------------------------------------------


class GemmaNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (y * (1.0 + self.weight.float())).type_as(x)


class GemmaAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        size, self.head_dim = config["hidden_size"], config["head_dim"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.scale = config["query_pre_attn_scalar"] ** -0.5
        self.softcap = config["attn_logit_softcapping"]
        self.q_proj = nn.Linear(size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, size, bias=False)

    def forward(self, x, cos, sin, bias):  # [B, T, C], [T, d], [T, d], [B, 1, T, T]
        split = lambda y: y.unflatten(2, (-1, self.head_dim)).transpose(1, 2)  # [B, heads, T, d]
        q, k, v = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        scores = torch.matmul(q, k.transpose(2, 3)) * self.scale
        scores = torch.tanh(scores / self.softcap) * self.softcap + bias
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        return self.o_proj(torch.matmul(weights, v).transpose(1, 2).flatten(2))


def rotate(x, cos, sin):  # [B, heads, T, d]
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class GemmaMLP(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.gate_proj = nn.Linear(size, hidden, bias=False)
        self.up_proj = nn.Linear(size, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, size, bias=False)

    def forward(self, x):
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class GemmaLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config["hidden_size"]
        self.self_attn = GemmaAttention(config)
        self.mlp = GemmaMLP(size, config["intermediate_size"])
        self.input_layernorm = GemmaNorm(size)
        self.post_attention_layernorm = GemmaNorm(size)
        self.pre_feedforward_layernorm = GemmaNorm(size)
        self.post_feedforward_layernorm = GemmaNorm(size)

    def forward(self, x, cos, sin, bias):
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), cos, sin, bias))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class TextEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.vocabulary = config, config["vocab_size"]
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(GemmaLayer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = GemmaNorm(config["hidden_size"])

    def forward(self, ids, mask):  # [B, T] both -> [B, T, C]
        x = self.embed_tokens(ids)
        x = x * torch.tensor(self.config["hidden_size"] ** 0.5, dtype=x.dtype)
        d = self.config["head_dim"]
        inverse = 1.0 / self.config["rope_theta"] ** (torch.arange(0, d, 2, dtype=torch.float32) / d)
        angles = torch.arange(ids.shape[1], dtype=torch.float32)[:, None] * inverse[None]
        angles = torch.cat([angles, angles], dim=-1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        full, sliding = self.biases(mask, x.dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, sliding if i % 2 == 0 else full)
        return self.norm(x)

    def biases(self, mask, dtype):  # [B, T] -> two of [B, 1, T, T]
        position = torch.arange(mask.shape[1])
        distance = position[:, None] - position[None]
        causal = (distance >= 0) & mask.bool()[:, None, None]
        window = causal & (distance < self.config["sliding_window"])
        lowest = torch.finfo(dtype).min
        return tuple(torch.zeros(keep.shape, dtype=dtype).masked_fill(~keep, lowest) for keep in (causal, window))


# ---- weights -------------------------------------------------------------------------------------------------------


def random_weights(network, config, dtype):
    """A network of these shapes whose values stay in range; speed does not depend on them otherwise."""
    with torch.device("meta"):
        model = network(config)
    model = model.to(dtype).to_empty(device="cpu").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = 0.02 if parameter.dim() == 1 else math.sqrt(3 / parameter[0].numel())
            parameter.uniform_(-gain, gain)
            if isinstance(model.get_submodule(name.rpartition(".")[0]), RMSNorm) and name.endswith("weight"):
                parameter.add_(0.5)
    return model


FOLDERS = {Transformer: ("transformer", ""), Decoder: ("vae", "decoder."), TextEncoder: ("text_encoder", "")}


def load(network, checkpoint, dtype):
    """The network of a checkpoint folder in diffusers' layout."""
    folder, prefix = FOLDERS[network]
    folder = os.path.join(checkpoint, folder)
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    with torch.device("meta"):
        model = network(config)
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(folder, name)))
    kept = {name[len(prefix) :]: value.to(dtype) for name, value in tensors.items() if name.startswith(prefix)}
    model.load_state_dict(kept, assign=True)
    return model.eval().requires_grad_(False)


SAFETENSORS_DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
}


def read_safetensors(path):
    """Tensors by name, mapped from the file."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        dtype = SAFETENSORS_DTYPES[entry["dtype"]]
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(data, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=8 + length + begin)
        tensors[name] = flat.view(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    """Writes f32 tensors."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.float().contiguous().numpy().tobytes())
