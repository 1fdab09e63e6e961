"""Random training rows that branch off each other, as turns and groups do, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from apprentice_sidecar.packing import PackRow
from tiny import VOCABULARY

IDS = st.integers(0, VOCABULARY - 1)
NUMBERS = st.floats(-2.0, 2.0, width=32)


@st.composite
def forests(draw: st.DrawFn, *, most: int = 7) -> list[PackRow]:
    """Up to `most` rows; each goes on from some prefix of an earlier one, or begins anew."""
    made: list[list[int]] = []
    for _ in range(draw(st.integers(1, most))):
        beginning: list[int] = []
        if made:
            known = draw(st.sampled_from(made))
            beginning = known[: draw(st.integers(0, len(known)))]
        made.append(beginning + draw(st.lists(IDS, min_size=0 if len(beginning) > 1 else 2, max_size=8)))
    rows: list[PackRow] = []
    for ids in made:
        positions = sorted(draw(st.sets(st.integers(1, len(ids) - 1), min_size=1)))
        numbers = [draw(NUMBERS) for _ in positions]
        rows.append(PackRow(ids, positions, [None] * len(positions), numbers, [1.0] * len(positions)))
    return rows
