"""best.pt, the weights of the best evaluation: verified when used, rebuilt if possible."""

from __future__ import annotations

import logging

from crate.train.archive.history import History
from crate.train.checkpoints.checkpoint import CheckpointError, Checkpoints, read
from crate.train.checkpoints.content import Content, weights_of_ema
from crate.train.state import TrainState

logger = logging.getLogger("crate")


class Best:
    """The best weights of a run; `described` are values that each of its checkpoints also holds."""

    def __init__(self, checkpoints: Checkpoints, history: History, described: Content) -> None:
        self.checkpoints, self.history, self.described = checkpoints, history, described

    def save(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Save the present weights, with the metrics of their evaluation."""
        self.checkpoints.save_best(self._of_model(state, metrics))

    def load(self, state: TrainState) -> Content | None:
        """Return the values of best.pt, after rebuilding it if it is damaged or missing.

        Warn and return None if no other checkpoint has its weights. A best.pt of a later step than
        the state's is accepted: the run was killed after that evaluation, and will repeat it.
        """
        try:
            return self._verified(state)
        except CheckpointError as error:
            values, source = self._from_elsewhere(state)
            if values is None:
                logger.warning("%s; no other checkpoint has the best weights", error.given)
                return None
            logger.warning("%s; rebuilt from %s", error.given, source)
            self.checkpoints.save_best(values)
            return values

    def _verified(self, state: TrainState) -> Content:
        """Return the values of best.pt; raise CheckpointError if they are not the best ones."""
        values, signature = self.checkpoints.best(), self.checkpoints.signature
        file = self.checkpoints.folder / "best.pt"
        if values.get("signature", signature) != signature:
            raise CheckpointError(f"{file} is of another configuration")
        step = values.get("step")
        if step != state.best_step and not (isinstance(step, int) and step > state.step):
            raise CheckpointError(
                f"{file} is of step {step}, and the best is step {state.best_step}"
            )
        return values

    def _from_elsewhere(self, state: TrainState) -> tuple[Content | None, str]:
        """Return the contents of best.pt from another source, and the name of that source."""
        metrics = self.history.evaluation(state.best_step)
        if state.step == state.best_step:
            return self._of_model(state, metrics), "the model"
        file = self.checkpoints.file(state.best_step)
        try:
            values = read(file)
        except CheckpointError:
            return None, ""
        if values.get("signature") != self.checkpoints.signature:
            return None, ""
        rebuilt = {"model": values["model"], "step": state.best_step, "metrics": metrics}
        if (ema := weights_of_ema(values)) is not None:
            rebuilt["ema"] = ema
        return self.described | rebuilt, file.name

    def _of_model(self, state: TrainState, metrics: dict[str, float]) -> Content:
        ema = state.learner.ema
        averaged = {} if ema is None else {"ema": ema.module.state_dict()}
        model = {"model": state.learner.model.state_dict(), **averaged}
        return self.described | model | {"step": state.step, "metrics": metrics}
