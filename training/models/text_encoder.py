"""A small Gemma-2 with transformers' parameter names (`Gemma2Model`): the text encoder, trained with the transformer."""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(
    architectures=["Gemma2Model"],
    model_type="gemma2",
    vocab_size=2560,
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    query_pre_attn_scalar=32,
    hidden_activation="gelu_pytorch_tanh",
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    sliding_window=512,
    attn_logit_softcapping=50.0,
    final_logit_softcapping=30.0,
    max_position_embeddings=512,
    attention_bias=False,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=2,
)


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))  # of 1 + weight

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + CONFIG["rms_norm_eps"])
        return (y * (1 + self.weight.float())).to(x.dtype)


def rotate(x, cos, sin):  # [B, H, T, d], [T, d] twice
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        size, self.head_dim = config["hidden_size"], config["head_dim"]
        self.repeats = config["num_attention_heads"] // config["num_key_value_heads"]
        self.scale, self.softcap = config["query_pre_attn_scalar"] ** -0.5, config["attn_logit_softcapping"]
        self.q_proj = nn.Linear(size, config["num_attention_heads"] * self.head_dim, bias=False)
        self.k_proj = nn.Linear(size, config["num_key_value_heads"] * self.head_dim, bias=False)
        self.v_proj = nn.Linear(size, config["num_key_value_heads"] * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config["num_attention_heads"] * self.head_dim, size, bias=False)

    def forward(self, x, cos, sin, kept):  # [B, T, C], [T, d] twice, [B, 1, T, T]
        q, k, v = (
            projection(x).unflatten(2, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin).repeat_interleave(self.repeats, 1)
        scores = (q @ k.transpose(-1, -2)).float() * self.scale
        scores = (torch.tanh(scores / self.softcap) * self.softcap).masked_fill(~kept, -1e9)
        out = scores.softmax(-1).to(x.dtype) @ v.repeat_interleave(self.repeats, 1)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.gate_proj = nn.Linear(size, hidden, bias=False)
        self.up_proj = nn.Linear(size, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, size, bias=False)

    def forward(self, x):
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config["hidden_size"]
        self.self_attn = Attention(config)
        self.mlp = FeedForward(size, config["intermediate_size"])
        self.input_layernorm, self.post_attention_layernorm = Norm(size), Norm(size)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = Norm(size), Norm(size)

    def forward(self, x, cos, sin, kept):
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), cos, sin, kept))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class TextEncoder(nn.Module):
    def __init__(self, config=CONFIG):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(config["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=config["hidden_size"] ** -0.5)

    def forward(self, ids, mask):  # [B, T] both, padded on the right -> [B, T, C]
        x = self.embed_tokens(ids) * self.config["hidden_size"] ** 0.5
        length, d = ids.shape[1], self.config["head_dim"]
        frequencies = self.config["rope_theta"] ** -(torch.arange(0, d, 2, device=ids.device) / d)
        angles = torch.arange(length, device=ids.device)[:, None] * frequencies
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        # Texts are shorter than the sliding window: every layer sees all that came before.
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        kept = causal & mask.bool()[:, None, None]
        for layer in self.layers:
            x = layer(x, cos, sin, kept)
        return self.norm(x)
