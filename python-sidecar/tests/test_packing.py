"""Packing never changes what a row means."""

from __future__ import annotations

import random

import torch

from apprentice_sidecar.packing import Pack, PackCost, PackRow, pack_rows
from tiny import tiny_base


def make_row(ids: list[int], positions: list[int]) -> PackRow:
    blank = [0.0] * len(positions)
    return PackRow(ids, positions, blank, blank, blank)


def random_rows(rng: random.Random, count: int) -> list[PackRow]:
    """Rows that branch off each other at random places, as turns and groups do."""
    made: list[list[int]] = [[rng.randrange(32) for _ in range(8)]]
    for _ in range(count - 1):
        known = rng.choice(made)
        made.append(known[: rng.randrange(1, len(known) + 1)] + [rng.randrange(32) for _ in range(rng.randrange(1, 7))])
    return [make_row(ids, sorted(rng.sample(range(1, len(ids)), 2))) for ids in made if len(ids) > 2]


def paths(pack: Pack) -> list[list[int]]:
    """For each target, the ids that its source may look at, in order, and the target."""
    mask = pack.mask()
    return [
        [pack.token_ids[j] for j in range(len(pack.token_ids)) if mask[source, j]] + [target]
        for source, target in zip(pack.sources, pack.targets, strict=True)
    ]


def test_each_target_sees_exactly_its_own_row_before_it() -> None:
    rng = random.Random(0)
    for _ in range(50):
        rows = random_rows(rng, 9)
        for share in (True, False):
            packs = pack_rows(rows, 64, share=share)
            seen = sorted(path for pack in packs for path in paths(pack))
            wanted = sorted(list(one.token_ids[: p + 1]) for one in rows for p in one.positions)
            assert seen == wanted


def test_positions_count_the_rows_own_tokens() -> None:
    for pack in pack_rows(random_rows(random.Random(1), 9), 200):
        mask = pack.mask()
        assert [int(line.sum()) - 1 for line in mask] == pack.depths


def test_a_shared_prompt_is_computed_once() -> None:
    prompt = list(range(20))
    rows = [make_row([*prompt, 20 + number, 5], [20, 21]) for number in range(8)]
    (shared,) = pack_rows(rows, 1000)
    (plain,) = pack_rows(rows, 1000, share=False)
    # The last token of a row predicts nothing: 21 of 22 tokens are inputs.
    assert len(shared.token_ids) == 20 + 8 * 1
    assert len(plain.token_ids) == 8 * 21


def test_what_follows_the_last_trained_token_is_left_out() -> None:
    rows = [make_row([1, 2, 3, 4, 5, 6, 7], [2, 3]), make_row([1, 2, 3, 9, 9, 9], [3])]
    (pack,) = pack_rows(rows, 1000)
    assert pack.token_ids == [1, 2, 3]
    assert sorted(pack.targets) == [3, 4, 9]


def test_packs_keep_to_their_size_unless_one_row_is_longer() -> None:
    rows = [make_row([number] * 11, [10]) for number in range(5)] + [make_row([9] * 41, [40])]
    sizes = sorted(len(pack.token_ids) for pack in pack_rows(rows, 25))
    assert sizes[-1] == 40
    assert all(size <= 25 for size in sizes[:-1])


def test_the_model_gives_packed_rows_the_same_logprobs_as_single_ones() -> None:
    model = tiny_base().model
    rows = random_rows(random.Random(2), 9)

    def logprobs(pack: Pack) -> dict[tuple[int, ...], float]:
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([pack.token_ids]),
                position_ids=torch.tensor([pack.depths]),
                attention_mask=torch.from_numpy(pack.mask())[None, None],
            ).logits[0]
        values = torch.log_softmax(logits, -1)
        targets = zip(paths(pack), pack.sources, pack.targets, strict=True)
        return {tuple(path): float(values[source, target]) for path, source, target in targets}

    packed = {key: value for pack in pack_rows(rows, 1000) for key, value in logprobs(pack).items()}
    single = {key: value for one in rows for key, value in logprobs(pack_rows([one], 1000)[0]).items()}
    assert packed.keys() == single.keys()
    assert max(abs(packed[key] - single[key]) for key in single) < 1e-5


def test_the_cut_is_the_cheapest_there_is() -> None:
    rows = random_rows(random.Random(3), 9)
    cost = PackCost(per_pair=0.05, per_pack=4.0)
    order = sorted(range(len(rows)), key=lambda index: list(rows[index].token_ids))

    def total(packs: list[Pack]) -> float:
        return sum(cost.of(len(pack.token_ids)) for pack in packs)

    every: list[float] = []
    for cuts in range(2 ** (len(rows) - 1)):
        parts, part = [], [rows[order[0]]]
        for place, index in enumerate(order[1:]):
            if cuts >> place & 1:
                parts.append(part)
                part = []
            part.append(rows[index])
        every.append(sum(total(pack_rows(one, 10_000, cost=PackCost(per_pack=1e9))) for one in [*parts, part]))
    assert total(pack_rows(rows, 10_000, cost=cost)) == min(every)


def test_rows_that_no_mask_can_keep_apart_get_packs_of_their_own() -> None:
    rows = random_rows(random.Random(4), 6)
    packs = pack_rows(rows, 10_000, isolate=False)
    assert sorted(number for pack in packs for number in set(pack.rows)) == list(range(len(rows)))
    assert all(len(set(pack.rows)) == 1 for pack in packs)
