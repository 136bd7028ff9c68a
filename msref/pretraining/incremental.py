"""Train a little, add a module, train on: a memory that grows with training.

Each stage between two growths is a fit of its own, with its own checkpoint;
what a stage hands to the next follows from it alone. So a run that was killed
goes through its finished stages again without training, and on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from msref.architectures.base import check_sizes
from msref.arrays import Array, Arrays
from msref.pretraining.growth import (
    CROP,
    embedded,
    first_module,
    grow,
    modules_of,
)
from msref.training.divergence import DivergedError
from msref.training.fitting import Fit, fit
from msref.training.model import AnyPair, Model
from msref.training.optimisers import Optimiser
from msref.training.states import Record


@dataclass(frozen=True)
class IncrementalTraining:
    """The schedule of the MultiScale LMN (Carta, Sperduti & Bacciu, 2020).

    Procedure
        1. lay the first module on the untrained functional layer
        2. train all parameters for ``every`` epochs
        3. add a module; the optimiser goes on, with moments of zero for the
           new weights
        4. repeat 2 and 3 until there are ``n_modules``; train on

    Attributes
        n_modules: modules at the end.
        every: epochs between two growths; 50 in the authors' code for
            handwriting.
        begin: do 1; otherwise start from the modules as they are.
        crop: as in ``grow``.
        refit: fit the read-out to the targets by least squares after 1 and
            each 3. The output then changes. Off in what the released code
            can run.
        ridge: strength that holds such a read-out to zero.
        fill: draw the input weights of units that the LAES cannot fill, from
            the fit's ``rng``; see ``grow``. The authors' code leaves them at
            zero, where they stay.

    Conventions
        The optimiser's count of updates goes on, too: Adam takes the moments
        of a new weight, which are zero, for those of a gradient that was
        always zero, and its first step is about 0.1 / sqrt(0.001), or 3, of
        the learning rate, not 1.

        ``patience`` counts in the last stage alone: it cannot end a training
        before the last module. The authors' code lets it, since its patience
        equals the interval of 50. The best epoch is one of the last stage
        too, the only one with parameters of all modules.

    Source
        From the authors' code, where it stops with an error at the first
        growth, for want of the hook that should update the read-out.
    """

    n_modules: int
    every: int
    begin: bool = True
    crop: int | None = CROP
    refit: bool = False
    ridge: float = 0.0
    fill: bool = True

    def __post_init__(self) -> None:
        check_sizes(n_modules=self.n_modules, every=self.every)
        if self.crop is not None:
            check_sizes(crop=self.crop)
        if not self.ridge >= 0:
            raise ValueError(f"ridge is {self.ridge}, expected 0 or above")

    def fit(
        self,
        model: Model,
        params: Arrays,
        train: Sequence[AnyPair],
        valid: Sequence[AnyPair],
        *,
        optimiser: Optimiser,
        rng: np.random.Generator,
        n_epochs: int,
        patience: int | None = None,
        checkpoint: Path | str | None = None,
        report: Callable[[Record], None] | None = None,
        **options: Any,
    ) -> tuple[Model, Fit]:
        """Train, growing on the way.

        Arguments
            model: a core that ``grow`` takes, with fewer modules than at the
                end; of one module, to ``begin``.
            n_epochs: of all stages together.
            checkpoint: a folder, with one file for each stage.
            report: called with the record of each epoch, which also says
                ``n_modules``, and counts epochs over all stages.
            other arguments: as those of ``msref.training.fit``, but for
                ``optimiser_state`` and ``title``.

        Returns
            the grown model, and what came out, as from ``fit``, with the
            history of all stages.

        Warns
            GrowthWarning: as ``grow``.

        Raises
            TypeError, ValueError, OSError: as ``grow`` and ``fit``; epochs
                that end before the last module; checkpoints of another
                schedule.
            DivergedError: as ``fit``; the message says at how many modules.
        """
        ours = sorted({"optimiser_state", "title"} & set(options))
        if ours:
            raise TypeError(f"{ours[0]} came as an argument, but is our own")
        g = modules_of(model)
        n_growths = self.n_modules - g
        if n_growths < 0:
            raise ValueError(
                f"the model has {g} modules, expected at most"
                f" n_modules={self.n_modules}"
            )
        if n_epochs <= n_growths * self.every:
            raise ValueError(
                f"n_epochs is {n_epochs}, expected more than {n_growths} times"
                f" every={self.every}: the last module comes after these"
            )
        if checkpoint is not None:
            Path(checkpoint).mkdir(parents=True, exist_ok=True)
        if self.begin:
            params = first_module(model, params, **self._data(train, rng))
        moments: Arrays | None = None
        history: tuple[Record, ...] = ()
        seconds = 0.0
        for stage in range(n_growths + 1):
            if stage > 0:
                larger, params = grow(model, params, **self._data(train, rng))
                assert moments is not None
                moments = embedded(model, larger, moments)
                model = larger
            is_last = stage == n_growths
            done, now = len(history), g + stage
            n_now = n_epochs - done if is_last else self.every
            try:
                found = fit(
                    model,
                    params,
                    train,
                    valid,
                    optimiser=optimiser,
                    optimiser_state=moments,
                    rng=rng,
                    n_epochs=n_now,
                    patience=patience if is_last else None,
                    checkpoint=_file(checkpoint, now),
                    report=_counted(report, done, now),
                    title=f"fit, {now} of {self.n_modules} modules",
                    **options,
                )
            except DivergedError as error:
                raise DivergedError(
                    f"with {now} modules, after {done} epochs: {error}"
                ) from error
            _check_stage(_file(checkpoint, now), len(found.history), n_now)
            params, moments = found.last, found.optimiser
            history += tuple(_record(r, done, now) for r in found.history)
            seconds += found.seconds
        return model, replace(
            found,
            history=history,
            best_epoch=done + found.best_epoch,
            seconds=seconds,
        )

    def _data(
        self, train: Sequence[AnyPair], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return what a growth is fitted to."""
        targets: list[Array] | None = None
        if self.refit:
            targets = [np.asarray(target) for _, target in train]
        return {
            "sequences": [np.asarray(x) for x, _ in train],
            "crop": self.crop,
            "targets": targets,
            "ridge": self.ridge,
            "rng": rng if self.fill else None,
        }


def _file(folder: Path | str | None, n_modules: int) -> Path | None:
    if folder is None:
        return None
    return Path(folder) / f"modules-{n_modules}.safetensors"


def _check_stage(path: Path | None, n_found: int, n_epochs: int) -> None:
    """Refuse a checkpoint that another schedule wrote.

    Patience can end a stage early, but none has more epochs than it was told.
    """
    if n_found > n_epochs:
        raise ValueError(
            f"{path} holds {n_found} epochs, expected at most {n_epochs}: it"
            " belongs to another schedule"
        )


def _record(record: Record, done: int, n_modules: int) -> Record:
    """Count an epoch of a stage in the whole training."""
    return record | {"epoch": record["epoch"] + done, "n_modules": n_modules}


def _counted(
    report: Callable[[Record], None] | None, done: int, n_modules: int
) -> Callable[[Record], None] | None:
    if report is None:
        return None
    return lambda record: report(_record(record, done, n_modules))
