"""Tasks on text with one forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.processors import tokenizer_of
from ..models.samples import LONG_TEXT, OTHER_TEXT, SHORT_TEXT
from .base import Classification, Row, Task, ranked
from .inputs import padding_options


class FillMask(Task):
    """The words that may stand at the mask token."""

    def samples(self) -> tuple[Any, Any]:
        mask = tokenizer_of(self.processor).mask_token
        return SHORT_TEXT.replace("fox", mask), LONG_TEXT.replace("capital", mask, 1)

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        tokenizer = tokenizer_of(self.processor)
        positions = (encoded["input_ids"] == tokenizer.mask_token_id).nonzero().flatten().tolist()
        answers = [
            self._propose(outputs["logits"], encoded["input_ids"], at, single=len(positions) == 1) for at in positions
        ]
        return answers[0] if len(answers) == 1 else answers

    def _propose(self, logits: Tensor, input_ids: Tensor, position: int, *, single: bool) -> list[dict[str, Any]]:
        tokenizer = tokenizer_of(self.processor)
        proposals = []
        for token, score in ranked(logits[position].float().softmax(-1)):
            filled = input_ids.clone()
            filled[position] = token
            # With several masks the others must stay readable, so special tokens are kept, as the pipeline does.
            sequence = tokenizer.decode(filled, skip_special_tokens=single)
            proposals.append(
                {"score": score, "token": token, "token_str": tokenizer.decode([token]), "sequence": sequence}
            )
        return proposals


class TextClassification(Classification):
    """The label of a text; the best one alone, as the pipeline gives it."""

    top_k = 1


class TokenClassification(Task):
    """The label of each token that is not a special one."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        tokenizer = tokenizer_of(self.processor)
        spans = tokenizer(natural, return_offsets_mapping=True, return_special_tokens_mask=True)
        entities = []
        for index, (start, end) in enumerate(spans["offset_mapping"]):
            if spans["special_tokens_mask"][index]:
                continue
            best, score = ranked(outputs["logits"][index].float().softmax(-1), 1)[0]
            word = tokenizer.convert_ids_to_tokens(int(encoded["input_ids"][index]))
            label = self.label(best)
            entities.append({"entity": label, "score": score, "index": index, "word": word, "start": start, "end": end})
        return [entity for entity in entities if entity["entity"] != "O"]


class QuestionAnswering(Task):
    """The span of the context that answers the question. Natural input: ``{"question": …, "context": …}``."""

    def samples(self) -> tuple[Any, Any]:
        return (
            {"question": "what is on the sofa ?", "context": SHORT_TEXT},
            {"question": "what is the capital of italy ?", "context": LONG_TEXT},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        return super().encode([{"text": item["question"], "text_pair": item["context"]} for item in inputs], pad_to)

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        tokenizer = tokenizer_of(self.processor)
        spans = tokenizer(natural["question"], natural["context"], return_offsets_mapping=True)
        context = torch.tensor([part == 1 for part in spans.sequence_ids(0)])
        start = outputs["start_logits"].float().masked_fill(~context, -torch.inf).softmax(-1)
        end = outputs["end_logits"].float().masked_fill(~context, -torch.inf).softmax(-1)
        # score[i, j] of the span from token i to token j; the lower triangle would end before it starts.
        score = torch.triu(start[:, None] * end[None, :])
        best = int(score.flatten().argmax())
        first, last = divmod(best, score.shape[1])
        begin, finish = spans["offset_mapping"][first][0], spans["offset_mapping"][last][1]
        answer = natural["context"][begin:finish]
        return {"score": float(score.flatten()[best]), "start": begin, "end": finish, "answer": answer}


class MultipleChoice(Task):
    """Which continuation fits. Natural input: ``{"prompt": …, "choices": [two or more texts]}``; in a batch every input has
    the same number of choices."""

    def samples(self) -> tuple[Any, Any]:
        return (
            {"prompt": SHORT_TEXT, "choices": ["the dog is happy", "two birds sit on the fence in the garden"]},
            {"prompt": LONG_TEXT, "choices": [OTHER_TEXT, "yes"]},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        counts = {len(item["choices"]) for item in inputs}
        if len(counts) > 1:
            raise ValueError(f"one batch holds inputs with different numbers of choices: {sorted(counts)}")
        prompts = [item["prompt"] for item in inputs for _ in item["choices"]]
        choices = [choice for item in inputs for choice in item["choices"]]
        encoded = tokenizer_of(self.processor)(prompts, choices, return_tensors="pt", **padding_options(pad_to))
        return {name: tensor.unflatten(0, (len(inputs), counts.copy().pop())) for name, tensor in encoded.items()}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        scores = outputs["logits"].float().softmax(-1)
        best = ranked(scores, 1)[0][0]
        return {"index": best, "choice": natural["choices"][best], "scores": scores.tolist()}


class NextSentencePrediction(Task):
    """Whether the second sentence follows the first. Natural input: ``{"text": …, "text_pair": …}``."""

    def samples(self) -> tuple[Any, Any]:
        return (
            {"text": "the dog is happy", "text_pair": SHORT_TEXT},
            {"text": LONG_TEXT, "text_pair": OTHER_TEXT},
        )

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        # transformers: class 0 is "the second follows the first".
        follows = float(outputs["logits"].float().softmax(-1)[0])
        return {"is_next": follows > 0.5, "score": follows}


class Pretraining(Task):
    """The heads that a model was pretrained with: at every position the likeliest token, and any label beside it."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        tokenizer = tokenizer_of(self.processor)
        logits = outputs["prediction_logits"] if "prediction_logits" in outputs else outputs["logits"]
        answer: dict[str, Any] = {"tokens": tokenizer.convert_ids_to_tokens(logits.argmax(-1).tolist())}
        if "seq_relationship_logits" in outputs:
            answer["is_next"] = bool(outputs["seq_relationship_logits"].argmax(-1) == 0)
        return answer
