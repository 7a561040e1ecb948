"""Trains the tiny SANA, one stage per command; each stage needs the results of earlier ones.

    python train.py autoencoder --data DATA --run RUN --minutes 60

Every stage goes on from its state when it is called again, with more minutes or a later clock.
"""

import argparse
import importlib
import os
import sys

# Freed memory is kept instead of returned and faulted in again, which saves a few per cent of CPU time.
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}

# torch_sana: the networks that training shares with the benchmark's torch peer.
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "scripts"))

STAGES = ["tokenizer", "autoencoder", "score", "latents", "dit", "export", "draw"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--data", default=".cache/training", help="folder that prepare.ts wrote")
    parser.add_argument("--run", default=".cache/run", help="folder for states, logs and weights")
    parser.add_argument("--out", default=".cache/tiny-sana", help="folder that export writes")
    parser.add_argument("--start", help="checkpoint folder to take the first weights from, where there is no state yet")
    parser.add_argument("--minutes", type=float, default=60, help="of training in all, earlier calls included")
    parser.add_argument("--until", help="train to this time instead, HH:MM in UTC")
    parser.add_argument("--pause", help="end this call of `dit` at HH:MM in UTC already, to go on from later")
    parser.add_argument("--evaluate-every", type=float, default=2, help="minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rate", type=float, default=1.5e-3, help="AdamW's learning rate; Muon's is ten times it")
    parser.add_argument("--batch", type=int, default=1, help="multiplies the batch, for a GPU")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--layers", type=int, default=6, help="of `dit`; more than before adds blocks to those trained")
    parser.add_argument("--steps", type=int, default=10, help="of `draw`")
    parser.add_argument("--guidance", type=float, default=1.7, help="of `draw`")
    parser.add_argument("--all-concepts", action="store_true", help="hold no concept out of the autoencoder")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    options.dtype = getattr(torch, options.dtype)
    importlib.import_module(f"stages.{options.stage}").train(options)


if __name__ == "__main__":
    if any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    main()
