"""A checkpoint folder in diffusers' layout, in bf16, from the stages that have been trained so far.

Weights are the averaged ones. Latents leave the autoencoder about as large as they should be for the transformer; what
is missing is the scaling factor, which the `latents` stage measured.
"""

import json
import os
import shutil

import torch
from safetensors.torch import save_file

DIFFUSERS = "0.32.0"


def train(options):
    folder = options.out
    autoencoder = load(options.run, "autoencoder")
    latents = load(options.run, "latents")
    scaling = 1.0 if latents is None else round(1 / latents["rms"].square().mean().sqrt().item(), 5)
    if autoencoder is not None:
        write(folder, "vae", {**autoencoder["config"], "scaling_factor": scaling}, autoencoder["optimisation"]["averaged"])
    dit = load(options.run, "dit")
    if dit is not None:
        weights = dit["optimisation"]["averaged"]
        part = lambda name: {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}
        write(folder, "transformer", dit["transformer_config"], part("transformer"))
        write(folder, "text_encoder", dit["text_config"], part("text_encoder"))
        shutil.copytree(os.path.join(options.run, "tokenizer", "files"), os.path.join(folder, "tokenizer"), dirs_exist_ok=True)
    write_json(folder, "scheduler/scheduler_config.json", SCHEDULER)
    write_json(folder, "model_index.json", INDEX)
    write_json(folder, "generation_config.json", GENERATION)
    with open(os.path.join(options.data, "index.json")) as file:
        index = json.load(file)
    subjects = sorted(concept["name"] for concept in index["concepts"])
    vocabulary = {"subjects": subjects, "styles": index["styles"], "backgrounds": list(index["colours"])}
    write_json(folder, "vocabulary.json", vocabulary)
    total = sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(folder) for f in files)
    print(json.dumps({"folder": folder, "megabytes": round(total / 1e6, 2), "scaling_factor": scaling}))


def load(run, stage):
    path = os.path.join(run, stage, "state.pt")
    return torch.load(path, map_location="cpu", weights_only=False) if os.path.exists(path) else None


def write(folder, part, config, weights):
    os.makedirs(os.path.join(folder, part), exist_ok=True)
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    rounded = {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}
    save_file(rounded, os.path.join(folder, part, f"{stem}.safetensors"), metadata={"format": "pt"})
    if part == "text_encoder":
        config = {**config, "torch_dtype": "bfloat16"}
    else:
        config = {**config, "_diffusers_version": DIFFUSERS}
    write_json(folder, f"{part}/config.json", config)


def write_json(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")


# Here a text determines the picture almost completely, so little guidance and few steps are needed. There is no
# instruction before the prompt, because the model was never trained with one.
GENERATION = {"num_inference_steps": 10, "guidance_scale": 1.7, "complex_human_instruction": None}

SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler",
    "_diffusers_version": DIFFUSERS,
    "algorithm_type": "dpmsolver++",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "final_sigmas_type": "zero",
    "flow_shift": 3.0,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "solver_order": 2,
    "solver_type": "midpoint",
    "timestep_spacing": "linspace",
    "use_flow_sigmas": True,
}

INDEX = {
    "_class_name": "SanaPipeline",
    "_diffusers_version": DIFFUSERS,
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "Gemma2Model"],
    "tokenizer": ["transformers", "GemmaTokenizerFast"],
    "transformer": ["diffusers", "SanaTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderDC"],
}
