"""The decoder alone, after the autoencoder: the encoder stays, and with it every latent that the transformer learns from,
so that both can train at the same time."""

import torch

from models.autoencoder import Autoencoder
from stages.autoencoder import fit


def train(options):
    autoencoder = torch.load(f"{options.run}/autoencoder/state.pt", map_location="cpu", weights_only=False)
    model = Autoencoder(autoencoder["config"])
    model.load_state_dict(autoencoder["optimisation"]["averaged"])
    model.encoder.requires_grad_(False)
    fit(options, "decoder", model, model.decoder)
