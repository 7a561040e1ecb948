"""The text encoder, as transformers' `Gemma2Model` computes it with eager attention.

It runs all padded positions, repeats its keys for every query head and keeps the scores in memory. Letters: B batch,
T positions, C width, d channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.eps = config["rms_norm_eps"]
        self.weight = nn.Parameter(torch.zeros(config["hidden_size"]))  # of 1 + weight

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * (1.0 + self.weight.float())).type_as(x)


def rotate(x, cos, sin):  # [B, heads, T, d], [T, d] twice
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class Attention(nn.Module):
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

    def scores(self, q, k, mask):  # [B, heads, T, d] twice, [B, 1, T, T] added -> [B, heads, T, T]
        scores = torch.matmul(q, k.transpose(2, 3)) * self.scale
        return torch.tanh(scores / self.softcap) * self.softcap + mask

    def forward(self, x, cos, sin, mask):  # [B, T, C], [T, d] twice, [B, 1, T, T]
        split = lambda y: y.unflatten(2, (-1, self.head_dim)).transpose(1, 2)  # [B, heads, T, d]
        q, k, v = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        weights = F.softmax(self.scores(q, k, mask), dim=-1, dtype=torch.float32).to(q.dtype)
        return self.o_proj(torch.matmul(weights, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.gate_proj = nn.Linear(size, hidden, bias=False)
        self.up_proj = nn.Linear(size, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, size, bias=False)

    def forward(self, x):
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config, attention):
        super().__init__()
        self.self_attn = attention(config)
        self.mlp = FeedForward(config["hidden_size"], config["intermediate_size"])
        self.input_layernorm = Norm(config)
        self.post_attention_layernorm = Norm(config)
        self.pre_feedforward_layernorm = Norm(config)
        self.post_feedforward_layernorm = Norm(config)

    def forward(self, x, cos, sin, mask):
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), cos, sin, mask))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class TextEncoder(nn.Module):
    folder, prefix = "text_encoder", ""
    Attention = Attention

    def __init__(self, config):
        super().__init__()
        self.config, self.vocabulary = config, config["vocab_size"]
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config, self.Attention) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(config)

    def forward(self, ids, mask):  # [B, T] both -> [B, T, C]
        x = self.embed_tokens(ids)
        x = x * torch.tensor(self.config["hidden_size"] ** 0.5, dtype=x.dtype)
        d = self.config["head_dim"]
        inverse = 1.0 / self.config["rope_theta"] ** (torch.arange(0, d, 2, dtype=torch.float32) / d)
        angles = torch.arange(ids.shape[1], dtype=torch.float32)[:, None] * inverse[None]
        angles = torch.cat([angles, angles], dim=-1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        full, sliding = self.masks(mask, x.dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, sliding if i % 2 == 0 else full)
        return self.norm(x)

    def masks(self, mask, dtype):  # [B, T] -> two of [B, 1, T, T], to be added
        position = torch.arange(mask.shape[1])
        distance = position[:, None] - position[None]
        causal = (distance >= 0) & mask.bool()[:, None, None]
        window = causal & (distance < self.config["sliding_window"])
        lowest = torch.finfo(dtype).min
        return tuple(torch.zeros(keep.shape, dtype=dtype).masked_fill(~keep, lowest) for keep in (causal, window))
