"""What goes into the store comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forkmon.stats.alert import Alert, Severity
from forkmon.stats.reduced import MAX_KEY, Reduced
from forkmon.stats.row import StatRow
from forkmon.store.records import (
    get_alert,
    get_quantiles,
    get_shape,
    get_stat,
    get_text,
    put_alert,
    put_quantiles,
    put_shape,
    put_stat,
    put_text,
    scalar_column,
)
from forkmon.store.values import Candidate, TensorKey
from forkmon.store.writer import Writer

NUMBERS = st.none() | st.floats()
COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(codec=None, categories=None), max_size=20)
STATS = st.builds(
    StatRow,
    n=COUNTS, mean=NUMBERS, std=NUMBERS, skew=NUMBERS, kurtosis=NUMBERS, min=NUMBERS, max=NUMBERS,
    l1=NUMBERS, l2=NUMBERS, zeros=COUNTS, nan=COUNTS, inf=COUNTS,
    quantiles=st.tuples(*[NUMBERS] * 9),
    distinct=st.none() | COUNTS, modes=st.none() | COUNTS, preview=st.booleans(),
)  # fmt: skip


@st.composite
def reduced(draw: st.DrawFn) -> Reduced:
    keys = sorted(draw(st.sets(st.integers(-MAX_KEY, MAX_KEY), max_size=50)))
    counts = draw(st.lists(st.integers(1, 2**40), min_size=len(keys), max_size=len(keys)))
    pivot = draw(st.floats(allow_nan=False, allow_infinity=False))
    return Reduced(pivot, tuple(keys), tuple(counts))


def finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def expected(row: StatRow) -> StatRow:
    return replace(
        row,
        mean=finite(row.mean),
        std=finite(row.std),
        skew=finite(row.skew),
        kurtosis=finite(row.kurtosis),
        min=finite(row.min),
        max=finite(row.max),
        l1=finite(row.l1),
        l2=finite(row.l2),
        quantiles=tuple(map(finite, row.quantiles)),
    )


@pytest.fixture(scope="module")
def memory() -> Iterator[Writer]:
    with Writer.open(None, run=Path("/r"), name="r", kernel="k") as writer:
        yield writer


@pytest.fixture(scope="module")
def attempt(memory: Writer) -> int:
    fields: Candidate = {
        "segment": 0, "generation": 0, "parent_segment": None, "step": 1, "version": 0,
        "path": "/r/1", "format": "safetensors", "digest": "d", "content_digest": "c",
        "bytes": 1, "mtime": 1.0, "epoch": 0.5, "device": "cpu",
    }  # fmt: skip
    return memory.begin(**fields)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=STATS, codes=st.none() | reduced(), name=TEXTS)
def test_rows_and_codes_survive_the_store(
    memory: Writer, attempt: int, row: StatRow, codes: Reduced | None, name: str
) -> None:
    """A row comes back as it went in, but that what is not finite is None."""
    memory.add(attempt, [(TensorKey(name, "tensor", dtype="f32", shape=(2, 3)), row, codes)])
    reader = memory.reader()
    entry = reader.find(name, "tensor")
    assert entry is not None
    assert (entry.name, entry.dtype, entry.shape) == (name, "f32", (2, 3))
    assert reader.stat(entry.id, attempt) == expected(row)
    assert reader.stats(attempt)[entry.id] == expected(row)
    assert reader.reduced(entry.id, attempt) == codes


@given(TEXTS)
def test_any_text_survives(text: str) -> None:
    """Lone surrogates and control characters of names and paths come back unchanged."""
    assert get_text(put_text(text)) == text


@given(st.lists(st.integers(0, 2**40), max_size=5).map(tuple))
def test_any_shape_survives(shape: tuple[int, ...]) -> None:
    """A shape comes back as it went in, the empty one of a scalar included."""
    assert get_shape(put_shape(shape)) == shape


@given(STATS)
def test_columns_hold_nothing_that_is_not_finite(row: StatRow) -> None:
    """No NaN and no infinity reaches a column."""
    assert all(isfinite(v) for v in put_stat(row) if isinstance(v, float))
    assert get_stat(put_stat(row)) == expected(row)


@given(st.tuples(*[NUMBERS] * 9))
def test_quantiles_survive(values: tuple[float | None, ...]) -> None:
    """Quantiles come back in order, undefined ones as None."""
    assert get_quantiles(put_quantiles(values)) == tuple(map(finite, values))


@given(
    tensor=st.none() | TEXTS,
    message=TEXTS,
    evidence=st.dictionaries(
        TEXTS, st.none() | st.integers() | TEXTS | st.floats(allow_nan=False, allow_infinity=False)
    ),
)
def test_alerts_survive(
    tensor: str | None, message: str, evidence: dict[str, float | int | str | None]
) -> None:
    """An alert comes back as it went in."""
    alert = Alert("SPLIT", Severity.WARN, tensor, 5, 9, message, evidence, 2)
    assert get_alert(put_alert(alert)) == alert


def test_only_statistics_name_columns() -> None:
    """No text reaches SQL as a column name unless it is one."""
    assert scalar_column("mean") == '"mean"'
    with pytest.raises(ValueError, match="no statistic"):
        scalar_column('mean" FROM stat; --')


def test_readding_replaces(
    writer: Writer,
    candidate: Callable[..., Candidate],
    rows: Callable[..., list[tuple]],  # type: ignore[type-arg]
) -> None:
    """A preview is replaced by the exact row, its histogram too."""
    key = TensorKey("w", "tensor", dtype="f32", shape=(1,))
    first, second = rows(1)[1], rows(2)[1]
    attempt = writer.begin(**candidate(1))
    writer.add(attempt, [(key, first[1], first[2])])
    writer.add(attempt, [(key, second[1], None)])
    reader = writer.reader()
    entry = reader.find("w", "tensor")
    assert entry is not None
    assert reader.stats(attempt) == {entry.id: second[1]}
    assert reader.reduced(entry.id, attempt) is None
