"""Training in bf16 with f32 copies: the model computes with rounded weights, the optimiser moves exact ones.

Matrices are moved by Muon, which learns these small networks several times faster than AdamW does; everything else,
and what is no matrix in spirit (embeddings, tables), by AdamW. The weights that are kept are a moving average.
"""

import math

import torch

from muon import Muon

MUON_PER_ADAM = 10  # ratio of the two learning rates


class Optimisation:
    def __init__(self, model, dtype, *, rate, betas, muon_decay, smallest_matrix, by_adam=(), average=0.998, warm_up=100):
        self.names, self.rounded = zip(*model.named_parameters())
        self.exact = [
            p.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for p in self.rounded
        ]
        model.to(dtype)  # the parameters stay the same objects
        self.averaged = [p.detach().clone() for p in self.exact]
        self.average, self.warm_up, self.steps = average, warm_up, 0
        matrices = [
            p
            for name, p in zip(self.names, self.exact)
            if p.ndim >= 2
            and min(p.shape[0], p[0].numel()) >= smallest_matrix
            and not any(part in name for part in by_adam)
        ]
        chosen = {id(p) for p in matrices}
        # Muon needs matrices: views of the convolution kernels, in the same memory.
        self.matrices = [(p, torch.nn.Parameter(p.detach().view(p.shape[0], -1))) for p in matrices]
        self.optimisers = [
            torch.optim.AdamW(
                [p for p in self.exact if id(p) not in chosen], rate, betas=betas, weight_decay=0, fused=True
            ),
            Muon([view for _, view in self.matrices], rate * MUON_PER_ADAM, weight_decay=muon_decay),
        ]
        self.rates = [rate, rate * MUON_PER_ADAM]

    @torch.no_grad()
    def step(self, factor):
        """Applies and clears the gradients at `factor` of the learning rates. Returns the norm of the gradients."""
        gradients = [torch.zeros_like(e) if p.grad is None else p.grad.float() for p, e in zip(self.rounded, self.exact)]
        norm = torch.nn.utils.get_total_norm(gradients).item()
        for p in self.rounded:
            p.grad = None
        if not math.isfinite(norm):
            return norm
        for p, gradient in zip(self.exact, gradients):
            p.grad = gradient.mul_(min(1.0, 1.0 / (norm + 1e-6)))
        for p, view in self.matrices:
            view.grad = p.grad.reshape(view.shape)
        factor *= min(1.0, (self.steps + 1) / self.warm_up)
        for optimiser, rate in zip(self.optimisers, self.rates):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
        self.steps += 1
        torch._foreach_copy_(self.rounded, self.exact)
        weight = min(self.average, self.steps / (self.steps + 50))
        torch._foreach_lerp_(self.averaged, [p.detach() for p in self.exact], 1 - weight)
        return norm

    def averaged_weights(self):
        """Within this context the model computes with the averaged weights."""
        return _Swapped(self)

    def state(self):
        return {
            "steps": self.steps,
            "exact": dict(zip(self.names, (p.detach() for p in self.exact))),
            "averaged": dict(zip(self.names, self.averaged)),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    @torch.no_grad()
    def restore(self, state):
        self.steps = state["steps"]
        for name, rounded, exact, averaged in zip(self.names, self.rounded, self.exact, self.averaged):
            exact.copy_(state["exact"][name])
            rounded.copy_(exact)
            averaged.copy_(state["averaged"][name])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)


class _Swapped:
    def __init__(self, optimisation):
        self.optimisation = optimisation

    def __enter__(self):
        torch._foreach_copy_([p.data for p in self.optimisation.rounded], self.optimisation.averaged)

    def __exit__(self, *_):
        exact = [p.detach() for p in self.optimisation.exact]
        torch._foreach_copy_([p.data for p in self.optimisation.rounded], exact)
