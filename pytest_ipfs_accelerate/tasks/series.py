"""Tasks on time series, on tables and on decisions: numbers in, numbers or a choice out."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Classification, Row, Task


class Series(Task):
    """Shared by them: the numbers under the first of these names."""

    names: ClassVar[tuple[str, ...]]

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        found = [name for name in self.names if name in outputs]
        if not found:
            raise KeyError(f"none of {', '.join(self.names)} among the outputs {', '.join(outputs)}")
        return {found[0]: outputs[found[0]].float().numpy()}


class TimeSeriesPrediction(Series):
    """How a series goes on."""

    names = ("mean_predictions", "prediction_outputs", "full_predictions")


class TimeSeriesRegression(Series):
    """A number of a series."""

    names = ("regression_outputs",)


class TimeSeriesClassification(Classification):
    """The class of a series, best first."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        name = "prediction_outputs" if "prediction_outputs" in outputs else "prediction_logits"
        return super().decode({"logits": outputs[name]}, encoded, natural)


class Retrieval(Series):
    """Embeddings for late interaction: one for each position of a text or a page."""

    names = ("embeddings",)


class Decision(Task):
    """Which of the options: the best class of everything that is scored."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)
