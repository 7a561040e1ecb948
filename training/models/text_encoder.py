"""A small Gemma-2: the text encoder, trained with the transformer.

The function is the reference's. In bf16 it keeps what the reference rounds: attention scores are f32, and embeddings
are multiplied by the exact square root of the width.
"""

import torch
from torch import nn
from torch_sana import gemma2

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


class Attention(gemma2.Attention):
    def scores(self, q, k, mask):
        scores = (q @ k.transpose(-1, -2)).float() * self.scale
        return torch.tanh(scores / self.softcap) * self.softcap + mask


class TextEncoder(gemma2.TextEncoder):
    Attention = Attention

    def __init__(self, config=CONFIG):
        super().__init__(config)
        nn.init.normal_(self.embed_tokens.weight, std=config["hidden_size"] ** -0.5)

    def forward(self, ids, mask):  # [B, T] both, padded on the right -> [B, T, C]
        x = self.embed_tokens(ids) * self.config["hidden_size"] ** 0.5
        length, d = ids.shape[1], self.config["head_dim"]
        frequencies = self.config["rope_theta"] ** -(torch.arange(0, d, 2, device=ids.device) / d)
        angles = torch.arange(length, device=ids.device)[:, None] * frequencies
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        # Texts are shorter than the sliding window: every layer attends to all earlier tokens.
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        hidden = ~(causal & mask.bool()[:, None, None])
        added = torch.zeros(hidden.shape, device=ids.device).masked_fill(hidden, -1e9)
        for layer in self.layers:
            x = layer(x, cos, sin, added)
        return self.norm(x)
