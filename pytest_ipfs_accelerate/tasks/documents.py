"""Tasks on pages, tables and lines of text."""

from __future__ import annotations

from typing import Any

from .base import Row, Task


class DocumentQuestionAnswering(Task):
    """The span of a page that answers: its first and last position, and the score of each."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        ends = {name: outputs[f"{name}_logits"].float().softmax(-1).max(-1) for name in ("start", "end")}
        return {name: {"position": int(best.indices), "score": float(best.values)} for name, best in ends.items()}


class Scored(Task):
    """At every position the best of what is scored."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        scores = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
        return {"best": scores.float().argmax(-1).tolist()}


class TableQuestionAnswering(Task):
    """The cells that answer: the probability of each token of the table, and the best way to add them up."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        answer: dict[str, Any] = {"probabilities": outputs["logits"].float().sigmoid().numpy()}
        if "logits_aggregation" in outputs:
            answer["aggregation"] = int(outputs["logits_aggregation"].argmax(-1))
        return answer


class TableRecognition(Scored):
    """The structure of a table, as tokens of its markup."""


class TextRecognition(Scored):
    """The text of a line, one class a column of the picture."""
