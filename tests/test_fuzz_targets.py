"""The fuzz targets with their seeds, among them what fuzzing has found; no atheris is needed for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds])
def test_a_seed(name: str, seed: bytes) -> None:
    TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
def test_anything(name: str, data: bytes) -> None:
    TARGETS[name](data)
