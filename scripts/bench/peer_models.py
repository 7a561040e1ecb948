"""The released sizes of the three networks, and random weights for them."""

import math

import torch
from torch_sana.layers import RMSNorm

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
    rms_norm_eps=1e-6,
    sliding_window=4096,
    attn_logit_softcapping=50.0,
    rope_theta=10000.0,
)


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
