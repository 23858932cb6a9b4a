"""Which pictures a network may learn from."""

from __future__ import annotations

from pathlib import Path

from training.data.pictures import genuine_pairs, left_out, portraits


def test_no_person_that_judges_the_encoder_is_learnt_from(shared: Path) -> None:
    judges = {file for pair in genuine_pairs(shared) for file in pair}
    learnt = {portrait.file for portrait in portraits(shared, "train")}
    assert judges
    assert not judges & learnt


def test_the_splits_are_disjoint_and_complete(shared: Path) -> None:
    train, held_out = portraits(shared, "train"), portraits(shared, "held_out")
    assert not set(train) & set(held_out)
    assert len(train) + len(held_out) == len(portraits(shared))
    assert len(held_out) > 400


def test_both_pictures_of_a_person_bear_the_same_name(shared: Path) -> None:
    persons = {portrait.file: portrait.person for portrait in portraits(shared)}
    assert all(persons[a] == persons[b] for a, b in genuine_pairs(shared))


def test_generators_never_learn_from_what_is_left_out(shared: Path) -> None:
    files = {portrait.file for portrait in portraits(shared, generative=True)}
    assert not files & left_out()
    assert all(portrait.file in files | left_out() for portrait in portraits(shared))
