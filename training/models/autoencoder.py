"""The deep compression autoencoder of `torch_sana`, in the form that trains fastest, and its encoder.

The function is the reference's; three of its parts are computed another way, which on a CPU more than doubles the speed:

- doubling a map, convolving it and adding the channel-repeating shortcut is one transposed convolution of stride 2,
  whose 4x4 kernel is the 3x3 one summed with a 2x2 box, plus ones for the shortcut; halving with its shortcut is
  likewise one convolution of stride 2;
- a norm, its affine part and the residual are one compiled pass over the map, as is the gate of the feed-forward;
- q, k and v are one product.

Maps are [B, C, height, width] with the channels last in memory. A first stage without layers works at half resolution:
the convolution next to the picture then halves or doubles, as in the reference.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch_sana import autoencoder as reference
from torch_sana.layers import ATTENTION_EPSILON, HEAD_DIM, NORM_EPSILON

torch._dynamo.config.recompile_limit = 256  # one version of the small functions below per shape

CONFIG = dict(
    _class_name="AutoencoderDC",
    in_channels=3,
    latent_channels=32,
    attention_head_dim=HEAD_DIM,
    encoder_block_types=["ResBlock"] * 4 + ["EfficientViTBlock"] * 2,
    decoder_block_types=["ResBlock"] * 4 + ["EfficientViTBlock"] * 2,
    encoder_block_out_channels=[16, 16, 32, 64, 128, 256],
    decoder_block_out_channels=[16, 16, 32, 64, 128, 256],
    encoder_layers_per_block=[0, 1, 1, 1, 1, 1],
    decoder_layers_per_block=[0, 1, 1, 2, 2, 2],
    encoder_qkv_multiscales=[[], [], [], [], [5], [5]],
    decoder_qkv_multiscales=[[], [], [], [], [5], [5]],
    upsample_block_type="interpolate",
    downsample_block_type="Conv",
    decoder_norm_types="rms_norm",
    decoder_act_fns="silu",
    decoder_conv_act_fn="relu",
    encoder_out_shortcut=True,
    decoder_in_shortcut=True,
    scaling_factor=1.0,
)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def rms_norm(x, weight, bias):  # [B, h, w, C] -> f32
    y = x.float()
    return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + NORM_EPSILON) * weight.float() + bias.float()


@torch.compile(dynamic=False)
def norm_add(x, weight, bias, residual):
    return (rms_norm(x, weight, bias) + residual.float()).to(x.dtype)


@torch.compile(dynamic=False)
def norm_relu(x, weight, bias):
    return rms_norm(x, weight, bias).relu().to(x.dtype)


@torch.compile(dynamic=False)
def gate(x):  # [B, h, w, 2 C] -> [B, h, w, C]
    value, gate = x.chunk(2, -1)
    return (value.float() * F.silu(gate.float())).to(x.dtype)


class Norm(reference.ChannelNorm):
    def add(self, x, residual):
        return channels_first(norm_add(channels_last(x), self.weight, self.bias, channels_last(residual)))

    def relu(self, x):
        return channels_first(norm_relu(channels_last(x), self.weight, self.bias))


class ResBlock(reference.ResBlock):
    Norm = Norm


class MultiscaleAttention(reference.MultiscaleAttention):
    Norm = Norm

    def forward(self, x):  # [B, C, h, w]
        batch, _, height, width = x.shape
        weight = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
        qkv = F.conv2d(x, weight[:, :, None, None])
        qkv = torch.cat([qkv, self.to_qkv_multiscale[0](qkv)], 1)  # [B, 6 C, h, w]
        # A head's q, k and v are 32 consecutive channels each.
        heads = channels_last(qkv).reshape(batch, height * width, -1, 3 * HEAD_DIM).transpose(1, 2).float()
        q, k, v = heads.split(HEAD_DIM, -1)  # [B, H, N, 32] each
        v = F.pad(v, (0, 1), value=1.0)  # the column of ones carries the denominator
        out = q.relu() @ (k.relu().transpose(-1, -2) @ v)  # [B, H, N, 33]
        out = (out[..., :-1] / (out[..., -1:] + ATTENTION_EPSILON)).to(x.dtype)
        out = self.to_out(out.transpose(1, 2).reshape(batch, height, width, -1))
        return self.norm_out.add(channels_first(out), x)


class FeedForward(reference.FeedForward):
    Norm = Norm

    def gate(self, x):
        return channels_first(gate(channels_last(x)))


class EfficientViTBlock(reference.EfficientViTBlock):
    Attention, FeedForward = MultiscaleAttention, FeedForward


BLOCKS = {"ResBlock": ResBlock, "EfficientViTBlock": EfficientViTBlock}


class Upsample(reference.Upsample):
    def __init__(self, channels_in, channels_out, shortcut=True):
        super().__init__(channels_in, channels_out, shortcut)
        # The shortcut repeats every channel and moves channels to pixels; as a kernel: [C', C, 4, 4].
        kernel = torch.zeros(channels_out, channels_in, 4, 4)
        if shortcut:
            for out in range(channels_out):
                for row in range(2):
                    for column in range(2):
                        kernel[out, (4 * out + 2 * row + column) // self.repeats, row + 1, column + 1] = 1
        self.register_buffer("shortcut", kernel, persistent=False)

    def forward(self, x):
        kernel = F.pad(self.conv.weight.flip(2, 3), (1, 1, 1, 1))  # summed over a 2x2 box:
        kernel = kernel[:, :, :-1, :-1] + kernel[:, :, 1:, :-1] + kernel[:, :, :-1, 1:] + kernel[:, :, 1:, 1:]
        kernel = (kernel + self.shortcut).transpose(0, 1)
        return F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)


class Downsample(nn.Module):
    """[B, C, 2 h, 2 w] -> [B, C', h, w]"""

    def __init__(self, channels_in, channels_out, shortcut=True):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        # The shortcut moves pixels to channels and averages groups of them; as a kernel: [C', C, 3, 3].
        kernel = torch.zeros(channels_out, channels_in, 3, 3)
        if shortcut:
            group = 4 * channels_in // channels_out
            for channel in range(channels_in):
                for row in range(2):
                    for column in range(2):
                        out = (4 * channel + 2 * row + column) // group
                        kernel[out, channel, row + 1, column + 1] = 1 / group
        self.register_buffer("shortcut", kernel, persistent=False)

    def forward(self, x):
        return F.conv2d(x, self.conv.weight + self.shortcut, self.conv.bias, stride=2, padding=1)


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths, layers = config["encoder_block_out_channels"], config["encoder_layers_per_block"]
        self.latent_channels = config["latent_channels"]
        if layers[0] > 0:
            self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        else:
            self.conv_in = Downsample(config["in_channels"], widths[1], shortcut=False)
        self.down_blocks = nn.ModuleList()
        for stage, width in enumerate(widths):
            block = BLOCKS[config["encoder_block_types"][stage]]
            down = [Downsample(width, widths[stage + 1])] if layers[stage] > 0 and stage + 1 < len(widths) else []
            self.down_blocks.append(nn.Sequential(*(block(width) for _ in range(layers[stage])), *down))
        self.conv_out = nn.Conv2d(widths[-1], self.latent_channels, 3, padding=1)

    def forward(self, x):  # [B, 3, 32 h, 32 w] -> [B, 32, h, w]
        x = self.conv_in(x)
        for stage in self.down_blocks:
            x = stage(x)
        return self.conv_out(x) + x.unflatten(1, (self.latent_channels, -1)).mean(2)


class Decoder(reference.Decoder):
    Blocks, Norm, Upsample = BLOCKS, Norm, Upsample


class Autoencoder(nn.Module):
    def __init__(self, config=CONFIG):
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
