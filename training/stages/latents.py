"""Every picture that a caption can describe, as latents: the transformer then trains without the autoencoder."""

import torch
from safetensors.torch import save_file

from models.autoencoder import Autoencoder
from pictures import Pictures
from run import Run

AT_ONCE = 12  # pictures: the colours of one icon


def train(options):
    run = Run(options.run, "latents")
    pictures = Pictures(options.data, run.device)
    autoencoder = torch.load(f"{options.run}/autoencoder/state.pt", map_location=run.device, weights_only=False)
    model = Autoencoder(autoencoder["config"]).to(run.device, memory_format=torch.channels_last)
    model.load_state_dict(autoencoder["optimisation"]["averaged"])
    model.to(options.dtype)
    icons, colours = len(pictures.concepts) * len(pictures.styles), len(pictures.colours)
    saved = run.state()
    if saved is None or saved["autoencoder_steps"] != autoencoder["optimisation"]["steps"]:
        saved = {"latents": torch.zeros(icons, colours, 32, 8, 8, dtype=torch.bfloat16), "done": 0}
    latents, done = saved["latents"], saved["done"]

    def save():
        rms = latents[:done].float().square().mean((0, 1, 3, 4)).sqrt()
        steps = autoencoder["optimisation"]["steps"]
        run.save(latents=latents, done=done, rms=rms, autoencoder_steps=steps)
        run.log(pictures=done * colours, rms=round(rms.square().mean().sqrt().item(), 4))

    with torch.no_grad():
        while done < icons:
            batch = pictures.centred([done] * colours, list(range(colours)))
            latents[done] = model.encoder(batch.to(options.dtype, memory_format=torch.channels_last)).bfloat16().cpu()
            done += 1
            if done % 500 == 0 or done == icons:
                save()
    save_file({"latents": latents}, run.path("latents.safetensors"))  # [icons, colours, 32, 8, 8], for evaluate.ts
