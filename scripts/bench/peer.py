"""The torch peer as a server: one JSON command on a line of stdin, one JSON answer on a line of stdout.

A benchmark that alternates with it in one run compares like with like on a shared, noisy machine. What is timed is
what diffusers 0.40 and transformers do by default, operation by operation: as `torch_sana` writes it down in bare torch,
with networks that are random of the released shapes or those of a checkpoint, or with "library": "diffusers" diffusers'
own networks of a checkpoint.

  {"case": "denoise_step", "model": "0.6b", "size": 512, "dtype": "bf16", "threads": 2, "runs": 5, "warmup": 1}
  -> {"ms": [1083.2, ...]}

Every case takes dtype ("f32" | "bf16"), threads, runs and warmup (default 1), and optionally a "checkpoint" folder with
the "variant" of its files (for diffusers, which does not look for itself), a "device" ("cuda:0"; default "cpu") and
"compile" (true: torch.compile of the network or operator, max-autotune).

  text_encode       prompt with instruction (506 positions), then the empty negative prompt (300)
  denoise_step      model, size: guidance batch of 2, 300 text positions, guidance and solver update included
  decode            size: scaling, DC-AE decoder, rounding to 8 bits
  linear            m, n, k
  conv2d            height, width, channelsIn, channelsOut, kernel, layout ("nchw" | "channels_last")
  depthwise         height, width, channels, kernel, layout; batch (default 1), as conv2d
  linear_attention  tokens, heads; batch (default 2)
  cross_attention   tokens, textTokens, heads, headDim; batch (default 2)

  reference         computes instead of timing: stage ("text_encode" | "denoise_step" | "decode"), checkpoint, inputs
                    (a safetensors file), prefix (of its tensor names), outputs (a safetensors file to write)
                    -> {"ms": [...]}; the result is the tensor "output"
  diffusers         -> {"version": ...} of diffusers; fails where it is not installed

A command that fails answers {"error": "..."} and the server goes on; the end of stdin ends it.
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F

sys.dont_write_bytecode = True  # no cache folder in the source tree
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # of torch_sana
from peer_models import TEXT_CONFIG, VAE_CONFIG, random_weights, transformer_config
from torch_sana import layers
from torch_sana.autoencoder import Decoder
from torch_sana.checkpoint import load
from torch_sana.gemma2 import TextEncoder
from torch_sana.safetensors import read_safetensors, write_safetensors
from torch_sana.transformer import Transformer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TEXT_POSITIONS = 300
INSTRUCTION_POSITIONS = 506
PROMPT_TOKENS = 40  # of the 300 positions; the empty negative prompt has one


class Networks:
    """Keeps the last network, so that alternating blocks of one stage load it once."""

    def __init__(self):
        self.key = None
        self.network = None

    def get(self, network, config, command):
        dtype = DTYPES[command["dtype"]]
        checkpoint = command.get("checkpoint")
        setup = ("library", "checkpoint", "variant", "dtype", "device", "compile")
        key = (network, json.dumps(config), *(command.get(field) for field in setup))
        if key != self.key:
            self.key = self.network = None  # free the old one first: two may not fit
            if command.get("library") == "diffusers":
                theirs = import_diffusers()
                same = getattr(theirs, network.__name__)
                self.network = theirs.load(same, checkpoint, dtype, command.get("variant"))
            elif checkpoint is None:
                self.network = random_weights(network, config, dtype)
            else:
                self.network = load(network, checkpoint, dtype)
            self.network = compiled(self.network.to(command.get("device", "cpu")), command)
            self.key = key
        return self.network


def import_diffusers():
    import peer_diffusers  # here: it takes seconds, and is not always installed

    return peer_diffusers


def compiled(function, command):
    return torch.compile(function, mode="max-autotune") if command.get("compile") else function


networks = Networks()


def text_encode(command):
    encoder = networks.get(TextEncoder, TEXT_CONFIG, command)
    vocabulary = encoder.vocabulary
    batches = []
    for length, real in ((INSTRUCTION_POSITIONS, INSTRUCTION_POSITIONS - TEXT_POSITIONS + PROMPT_TOKENS), (TEXT_POSITIONS, 1)):
        mask = (torch.arange(length) < real).long()[None]
        batches.append((torch.randint(vocabulary, (1, length)) * mask, mask))
    return lambda: [encoder(ids, mask) for ids, mask in batches]


def denoise_step(command):
    transformer = networks.get(Transformer, transformer_config(command.get("model", "0.6b")), command)
    dtype = DTYPES[command["dtype"]]
    side = command["size"] // 32
    latents = torch.randn(1, 32, side, side)
    previous = torch.randn(1, 32, side, side)
    text = torch.randn(2, TEXT_POSITIONS, transformer.text_channels).to(dtype)
    mask = torch.stack([torch.arange(TEXT_POSITIONS) < 1, torch.arange(TEXT_POSITIONS) < PROMPT_TOKENS]).long()

    def step():
        both = torch.cat([latents] * 2).to(dtype)
        velocity = transformer(both, text, torch.full((2,), 500), mask).float()
        negative, positive = velocity.chunk(2)
        velocity = negative + 4.5 * (positive - negative)
        x0 = latents - 0.5 * velocity
        return 0.9 * latents + 0.2 * x0 + 0.05 * (x0 - previous)

    return step


def decode(command):
    decoder = networks.get(Decoder, VAE_CONFIG, command)
    side = command["size"] // 32
    latents = torch.randn(1, 32, side, side)

    def run():
        image = decoder(latents.to(DTYPES[command["dtype"]]) / decoder.scaling_factor)
        image = (image * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
        return (image * 255).round().to(torch.uint8)

    return run


def linear(command):
    x = torch.randn(command["m"], command["k"])
    weight, bias = torch.randn(command["n"], command["k"]), torch.randn(command["n"])
    x, weight, bias = (tensor.to(DTYPES[command["dtype"]]) for tensor in (x, weight, bias))
    return lambda: F.linear(x, weight, bias)


def conv2d(command):
    return convolution(command, command["channelsIn"], command["channelsOut"], 1)


def depthwise(command):
    return convolution(command, command["channels"], command["channels"], command["channels"])


def convolution(command, channels_in, channels_out, groups):
    dtype = DTYPES[command["dtype"]]
    kernel = command["kernel"]
    layouts = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    x = torch.randn(command.get("batch", 1), channels_in, command["height"], command["width"])
    weight = torch.randn(channels_out, channels_in // groups, kernel, kernel)
    x, weight = (tensor.to(dtype, memory_format=layouts[command["layout"]]) for tensor in (x, weight))
    bias = torch.randn(channels_out).to(dtype)
    return lambda: F.conv2d(x, weight, bias, padding=kernel // 2, groups=groups)


def linear_attention(command):
    heads = command["heads"]
    shape = (command.get("batch", 2), command["tokens"], heads * layers.HEAD_DIM)
    q, k, v = (torch.randn(shape).to(DTYPES[command["dtype"]]) for _ in range(3))
    split = lambda x: x.transpose(1, 2).unflatten(1, (heads, -1)).float()
    return lambda: layers.linear_attention(split(q), split(k), split(v)).flatten(1, 2).transpose(1, 2).to(q.dtype)


def cross_attention(command):
    dtype = DTYPES[command["dtype"]]
    batch, heads, text = command.get("batch", 2), command["heads"], command["textTokens"]
    width = heads * command["headDim"]
    q = torch.randn(batch, command["tokens"], width).to(dtype)
    k, v = (torch.randn(batch, text, width).to(dtype) for _ in range(2))
    mask = (torch.arange(text) < min(PROMPT_TOKENS, text)).to(dtype)
    bias = ((1 - mask) * -10000.0).expand(batch, heads, 1, text)
    split = lambda x: x.unflatten(2, (heads, -1)).transpose(1, 2)
    return lambda: (
        F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias).transpose(1, 2).flatten(2)
    )


CASES = {
    case.__name__: case
    for case in (text_encode, denoise_step, decode, linear, conv2d, depthwise, linear_attention, cross_attention)
}

NETWORKS = (text_encode, denoise_step, decode)  # compiled when they are created


def reference(command):
    device = command.get("device", "cpu")
    tensors = {name: value.to(device) for name, value in read_safetensors(command["inputs"]).items()}
    prefix = command.get("prefix", "")
    given = lambda name: tensors[prefix + name]
    dtype = DTYPES[command["dtype"]]
    stage = command["stage"]
    if stage == "text_encode":
        encoder = networks.get(TextEncoder, None, command)
        output = encoder(given("input_ids").long(), given("attention_mask"))
    elif stage == "denoise_step":
        transformer = networks.get(Transformer, None, command)
        text, mask = given("encoder_hidden_states").to(dtype), given("encoder_attention_mask")
        guidance = tensors.get(prefix + "guidance")  # of Sprint: the scale times guidance_embeds_scale
        output = transformer(given("latents").to(dtype), text, given("timestep"), mask, guidance)
    elif stage == "decode":
        output = networks.get(Decoder, None, command)(given("z").to(dtype))
    else:
        raise ValueError(f"no stage {stage!r}: text_encode, denoise_step or decode")
    write_safetensors(command["outputs"], {"output": output.cpu()})


def milliseconds(run, wait):
    wait()
    start = time.perf_counter()
    run()
    wait()
    return 1000 * (time.perf_counter() - start)


@torch.no_grad()
def answer(command):
    torch.set_num_threads(command["threads"])
    torch.manual_seed(0)
    device = command.get("device", "cpu")
    torch.set_default_device(device)
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    if command["case"] == "reference":
        return {"ms": [milliseconds(lambda: reference(command), wait)]}
    if command["case"] == "diffusers":
        return {"version": import_diffusers().VERSION}
    if command["case"] not in CASES:
        raise ValueError(f"no case {command['case']!r}: {', '.join(CASES)} or reference")
    case = CASES[command["case"]]
    run = case(command) if case in NETWORKS else compiled(case(command), command)
    for _ in range(command.get("warmup", 1)):
        run()
    return {"ms": [milliseconds(run, wait) for _ in range(command["runs"])]}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not look like an answer
    say = lambda value: print(json.dumps(value), file=answers, flush=True)
    say({"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()})
    for line in sys.stdin:
        try:
            say(answer(json.loads(line)))
        except Exception as error:  # reported to the other side; one bad command must not end the run
            say({"error": f"{type(error).__name__}: {error}"})


main()
