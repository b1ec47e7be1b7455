"""Answers are compared as their task means them: ties in a ranking, boxes by overlap, masks by their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_ipfs_accelerate.parity import box_differences, differences, mask_differences, overlap, ranked_differences

BOUND = 1e-4


def ranking(*pairs: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in pairs]


def box(label: str, score: float, xmin: float, ymin: float, xmax: float, ymax: float) -> dict[str, Any]:
    return {"label": label, "score": score, "box": {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}}


def test_labels_that_tie_may_change_places() -> None:
    one, other = ranking(("cat", 0.4), ("dog", 0.4), ("cow", 0.2)), ranking(("dog", 0.4), ("cat", 0.4), ("cow", 0.2))
    assert not list(ranked_differences(one, other, BOUND, "answer"))


def test_labels_that_do_not_tie_may_not() -> None:
    one, other = ranking(("cat", 0.41), ("dog", 0.4)), ranking(("dog", 0.41), ("cat", 0.4))
    found = list(ranked_differences(one, other, BOUND, "answer"))
    assert len(found) == 2
    assert "answer[0]" in found[0]


def test_the_last_of_a_ranking_that_is_cut_off_may_give_way_to_one_that_ties() -> None:
    assert not list(
        ranked_differences(ranking(("cat", 0.4), ("dog", 0.3)), ranking(("cat", 0.4), ("cow", 0.3)), BOUND, "")
    )
    assert list(ranked_differences(ranking(("cat", 0.4), ("dog", 0.3)), ranking(("cow", 0.4), ("dog", 0.3)), BOUND, ""))


def test_a_score_and_a_length_count() -> None:
    assert list(ranked_differences(ranking(("cat", 0.4)), ranking(("cat", 0.41)), BOUND, ""))
    assert list(ranked_differences(ranking(("cat", 0.4)), [], BOUND, ""))


def test_overlap() -> None:
    one = box("a", 1, 0, 0, 10, 10)["box"]
    assert overlap(one, one) == 1
    assert overlap(one, box("a", 1, 5, 0, 15, 10)["box"]) == pytest.approx(1 / 3)
    assert overlap(one, box("a", 1, 20, 20, 30, 30)["box"]) == 0


def test_boxes_in_another_order_are_the_same_boxes() -> None:
    cat, dog = box("cat", 0.9, 0, 0, 20, 20), box("dog", 0.9, 5, 5, 40, 40)
    assert not list(box_differences([cat, dog], [dog, cat], BOUND, "answer"))


@pytest.mark.parametrize(
    "other",
    [
        [box("dog", 0.9, 0, 0, 20, 20)],
        [box("cat", 0.8, 0, 0, 20, 20)],
        [box("cat", 0.9, 3, 0, 23, 20)],
        [],
    ],
)
def test_a_box_of_another_label_score_or_place_is_another(other: list[dict[str, Any]]) -> None:
    assert list(box_differences([box("cat", 0.9, 0, 0, 20, 20)], other, BOUND, "answer"))


def test_one_box_is_not_the_counterpart_of_two() -> None:
    cat = box("cat", 0.9, 0, 0, 20, 20)
    assert list(box_differences([cat, cat], [cat, box("cat", 0.9, 30, 30, 40, 40)], BOUND, "answer"))


def test_masks_agree_but_for_an_edge() -> None:
    mask = np.zeros((20, 20), int)
    edge, hole = mask.copy(), mask.copy()
    edge[0, :2] = 1
    hole[:2] = 1
    assert not list(mask_differences(mask, edge, BOUND, "answer"))
    assert list(mask_differences(mask, hole, BOUND, "answer")) == ["answer: 90.00% of the pixels agree"]
    assert list(mask_differences(mask, mask[:10], BOUND, "answer"))


def test_text_by_its_tokens_and_numbers_by_the_bound() -> None:
    one = {"tokens": [1, 2, 3], "score": 0.5}
    assert not list(differences(one, {"tokens": [1, 2, 3], "score": 0.50001}, BOUND, "answer"))
    assert list(differences(one, {"tokens": [1, 2, 4], "score": 0.5}, BOUND, "answer"))
    assert list(differences(one, {"tokens": [1, 2, 3], "score": 0.51}, BOUND, "answer"))


def test_a_number_stands_among_others_of_its_size() -> None:
    """Features of 1e5 have no more digits where one of them is small, and a fault of their size is seen."""
    features = [[[1e5, -1e5], [3.0, 1e5]]]
    assert not list(differences(features, [[[1e5, -1e5], [3.0 + BOUND * 1e4, 1e5]]], BOUND, "answer"))
    assert list(differences(features, [[[1e5, -1e5], [3.0 + BOUND * 1e6, 1e5]]], BOUND, "answer")) == [
        f"answer[0][1][0]: {3.0 + BOUND * 1e6}, expected 3.0"
    ]


def test_a_small_number_among_small_ones_has_all_of_its_digits() -> None:
    assert list(differences([[1e-3, 2.0]], [[1e-3 + 10 * BOUND, 2.0]], BOUND, "answer"))
    assert list(differences({"scores": [1e5], "score": 3.0}, {"scores": [1e5], "score": 3.0 + 10 * BOUND}, BOUND, ""))
