"""Classification by labels that come with the input: a contrastive model scores each against the picture or sound."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ..models.samples import picture, sound
from ..parity import differences, ranked_differences
from .base import Row, Task, ranked
from .inputs import padding_options

LABELS = ["a cat", "a dog on a sofa", "two birds on the fence"]


class ZeroShot(Task):
    """Shared by them. Natural input: ``{<medium>: …, "candidate_labels": […]}``; the inputs of a batch share their labels, so
    that the model encodes each label once.
    """

    shares_text = True
    medium: ClassVar[str]
    scores: ClassVar[str]
    """Name of the output that scores medium × labels."""
    hypothesis: ClassVar[str]
    """The sentence that the pipeline makes of a label."""

    @abstractmethod
    def media(self, items: Sequence[Any]) -> dict[str, Tensor]:
        """The tensors of a batch of pictures or sounds."""

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        labels = inputs[0]["candidate_labels"]
        sentences = [self.hypothesis.format(label) for label in labels]
        if any(item["candidate_labels"] != labels for item in inputs):
            raise ValueError("one batch holds inputs with different candidate labels")
        texts = self.processor.tokenizer(sentences, return_tensors="pt", **padding_options(pad_to))
        encoded = {**self.media([item[self.medium] for item in inputs]), **texts}
        return {name: tensor for name, tensor in encoded.items() if name in self.forward_arguments}

    def rows(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[Row]:
        size = next(iter(encoded.values())).shape[0]
        return [{self.scores: tensors[self.scores][index]} if self.scores in tensors else {} for index in range(size)]

    def unassigned(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[str]:
        return [name for name in tensors if name != self.scores]

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        scores = outputs[self.scores].float().softmax(-1)
        labels = natural["candidate_labels"]
        return [{"score": score, "label": labels[index]} for index, score in ranked(scores, len(labels))]

    def read(self, outputs: Row) -> Any:
        """The best of the texts, and its score, where the model gives scores at all."""
        if self.scores not in outputs:
            return super().read(outputs)
        return [{"score": score, "label": index} for index, score in ranked(outputs[self.scores].float().softmax(-1))]

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        compare = ranked_differences if isinstance(expected, list) else differences
        return compare(expected, actual, bound, where)


class ZeroShotObjectDetection(Task):
    """Where in a picture what is named is."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        boxes = outputs["pred_boxes"] if "pred_boxes" in outputs else outputs["decoder_coord_logits"]
        scores = outputs["logits"] if "logits" in outputs else outputs["decoder_class_logits"]
        return {"boxes": boxes.float().numpy(), "best": scores.float().argmax(-1).tolist()}


class ZeroShotImageClassification(ZeroShot):
    """Which label fits a picture."""

    medium = "image"
    scores = "logits_per_image"
    hypothesis = "This is a photo of {}."

    def samples(self) -> tuple[Any, Any]:
        return tuple({"image": picture(seed), "candidate_labels": LABELS} for seed in (0, 1))  # type: ignore[return-value]

    def media(self, items: Sequence[Any]) -> dict[str, Tensor]:
        return dict(self.processor.image_processor(list(items), return_tensors="pt"))


class ZeroShotAudioClassification(ZeroShot):
    """Which label fits a sound. The waveform is at the sampling rate of the processor."""

    medium = "audio"
    scores = "logits_per_audio"
    hypothesis = "This is a sound of {}."

    def samples(self) -> tuple[Any, Any]:
        rate = self.processor.feature_extractor.sampling_rate
        return tuple({"audio": sound(seed, rate=rate), "candidate_labels": LABELS} for seed in (0, 1))  # type: ignore[return-value]

    def media(self, items: Sequence[Any]) -> dict[str, Tensor]:
        extractor = self.processor.feature_extractor
        return dict(extractor(list(items), sampling_rate=extractor.sampling_rate, return_tensors="pt"))
