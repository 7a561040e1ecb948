"""What every stage needs around its loop: a folder, a clock, a log, and a state to resume from."""

import json
import os
import time
from datetime import datetime, timedelta, timezone

import torch

from plot import write_plot


class Run:
    """One stage in its folder: `log.jsonl`, `log.svg`, `state.pt`.

    The learning rate follows the time that is spent of the time that is granted, over all the calls that a stage was
    trained in; granting more and calling again goes on from the state.
    """

    def __init__(self, folder, stage, minutes=0.0, until=None):
        self.folder = os.path.join(folder, stage)
        os.makedirs(self.folder, exist_ok=True)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.spent = 0.0  # seconds, before this call
        self.granted = minutes * 60
        self.until = until
        self.paused = 0.0
        self.begun = time.monotonic()

    def path(self, name):
        return os.path.join(self.folder, name)

    def state(self):
        """The state that `save` stored, or None. Call it before the loop: it sets the clock."""
        saved = None
        if os.path.exists(self.path("state.pt")):
            saved = torch.load(self.path("state.pt"), map_location=self.device, weights_only=False)
            self.spent = saved["seconds"]
        if self.until is not None:
            self.granted = self.spent + seconds_until(self.until)
        self.begun, self.paused = time.monotonic(), 0.0
        return saved

    def save(self, **state):
        """Atomic, so that an interrupted call leaves the previous state."""
        partial = self.path("state.pt.partial")
        torch.save({**state, "seconds": self.seconds()}, partial)
        os.replace(partial, self.path("state.pt"))

    def seconds(self):
        return self.spent + time.monotonic() - self.begun - self.paused

    def fraction(self):
        # The wall clock does not stop for work outside training.
        granted = self.granted - (0 if self.until is None else self.paused)
        return self.seconds() / max(granted, 1e-9)

    def aside(self):
        """Time within this context does not count as training time."""
        return _Aside(self)

    def log(self, **fields):
        line = {"minutes": round(self.seconds() / 60, 2), **fields}
        text = json.dumps(line)
        print(text, flush=True)
        with open(self.path("log.jsonl"), "a") as file:
            file.write(text + "\n")
        write_plot(self.path("log.jsonl"), self.path("log.svg"))


class _Aside:
    def __init__(self, run):
        self.run = run

    def __enter__(self):
        self.since = time.monotonic()

    def __exit__(self, *_):
        self.run.paused += time.monotonic() - self.since


def seconds_until(clock):
    """From now to the next time it is `clock`, HH:MM in UTC."""
    now = datetime.now(timezone.utc)
    hour, minute = map(int, clock.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return ((end if end > now else end + timedelta(days=1)) - now).total_seconds()
