"""The networks of a checkpoint from diffusers and transformers, with the same calls as those of `torch_sana`.

Needs `pip install diffusers transformers`. Shapes as there.
"""

import diffusers
import transformers
from torch import nn


class Transformer(nn.Module):
    folder, library = "transformer", diffusers.SanaTransformer2DModel

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.text_channels = network.config.caption_channels

    def forward(self, latents, text, timestep, mask, guidance=None):
        given = {} if guidance is None else {"guidance": guidance}
        return self.network(
            latents,
            encoder_hidden_states=text,
            timestep=timestep,
            encoder_attention_mask=mask,
            return_dict=False,
            **given,
        )[0]


class Decoder(nn.Module):
    folder, library = "vae", diffusers.AutoencoderDC

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.scaling_factor = network.config.scaling_factor

    def forward(self, z):
        return self.network.decode(z, return_dict=False)[0]


class TextEncoder(nn.Module):
    folder, library = "text_encoder", transformers.Gemma2Model

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.vocabulary = network.config.vocab_size

    def forward(self, ids, mask):
        return self.network(ids, attention_mask=mask)[0]


def load(kind, checkpoint, dtype, variant):
    # By default, transformers 5 uses an attention for Gemma-2 without the soft cap that the model was trained with.
    given = {"dtype": dtype, "attn_implementation": "eager"} if kind is TextEncoder else {"torch_dtype": dtype}
    network = kind.library.from_pretrained(checkpoint, subfolder=kind.folder, variant=variant, **given)
    return kind(network).eval().requires_grad_(False)


VERSION = f"{diffusers.__version__}, transformers {transformers.__version__}"
