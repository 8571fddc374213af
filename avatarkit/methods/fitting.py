"""The loop around a fit's iterations: looks at held-out frames, checkpoints, previews, reports, Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from avatarkit.files.errors import AvatarkitError
from avatarkit.methods.best import Best, Trainable
from avatarkit.methods.registry import Progress
from avatarkit.methods.session import deferred_interrupt

# Seconds between two previews, and between two reports.
PREVIEW_EVERY, REPORT_EVERY = 20.0, 0.5


class Paced:
    """What a trainer's ``config``, ``step`` and ``seconds`` of training say of how far it is."""

    config: Any
    step: int
    seconds: float

    @property
    def share(self) -> float:
        """How much of the fit is done, by iterations or by time, whichever is further."""
        done: float = self.step / self.config.steps
        return max(done, self.seconds / 60 / self.config.minutes) if self.config.minutes else done

    @property
    def finished(self) -> bool:
        """Whether iterations or time are used up."""
        return self.share >= 1


def run(
    trainer: Trainable,
    best: Best,
    config: Any,
    progress: Progress,
    *,
    look: Callable[[], float],
    looks: int,
    save: Callable[[], None] | None = None,
    preview: Callable[[], None] | None = None,
    patience: int = 0,
) -> None:
    """Advance ``trainer`` to its end, however often it was resumed.

    Args:
        trainer: the fit.
        best: is offered the trainer after each look.
        config: has ``steps``, ``minutes`` and ``checkpoint_every``.
        progress: see the registry.
        look: mean PSNR (dB) on frames that are watched, called ``looks`` times in the course of the fit. By steps,
            where no time is set: looks decide what is kept.
        save: writes a checkpoint: when it is due, and when Ctrl-C was pressed, which is then raised.
        preview: draws the fit as it stands, every ``PREVIEW_EVERY`` seconds.
        patience: iterations without a better look after which the fit ends (0: never).

    Raises AvatarkitError when the fit diverges, and KeyboardInterrupt.
    """
    every = max(config.steps // looks, 1)
    now = time.perf_counter()
    reported, shown, first, first_samples = now - REPORT_EVERY, now, trainer.seconds, trainer.samples
    with deferred_interrupt() as interrupted:
        while not (trainer.finished or best.stale(trainer.step, patience)):
            before = trainer.share
            value = trainer.advance()
            if not np.isfinite(value):
                raise AvatarkitError(
                    f"the fit diverged at iteration {trainer.step}: lower --learning-rate, or try another --seed"
                )
            turn = (
                int(trainer.share * looks) > int(before * looks)
                if config.minutes
                else trainer.step % every == 0
            )
            if turn or trainer.finished:
                best.offer(trainer, look())
            due = config.checkpoint_every and trainer.step % config.checkpoint_every == 0
            if save is not None and (interrupted() or due):
                save()
            if interrupted():
                raise KeyboardInterrupt
            now = time.perf_counter()
            if preview is not None and now - shown > PREVIEW_EVERY:
                preview()
                shown = time.perf_counter()
            if now - reported > REPORT_EVERY or trainer.finished:
                reported = now
                spent = max(trainer.seconds - first, 1e-9)
                share = max(trainer.share, 1e-9)
                progress(
                    {
                        "stage": "fitting", "step": trainer.step, "steps": config.steps, "loss": value,
                        "heldout_psnr": best.last, "samples_per_second": (trainer.samples - first_samples) / spent,
                        "seconds": trainer.seconds, "seconds_left": max(trainer.seconds * (1 - share) / share, 0.0),
                    }
                )  # fmt: skip
