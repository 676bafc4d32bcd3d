"""The part of a batch that each of several processes has, as one process can see it."""

import pytest
import torch

from robustrun.compute import batch_parts, processes
from robustrun.compute.batch_parts import Part


def parts(monkeypatch: pytest.MonkeyPatch, total: int, count: int) -> list[Part]:
    found = []
    for rank in range(count):
        monkeypatch.setattr(processes, "_group", processes._Group(rank, count))
        found.append(batch_parts.part_of(total))
    return found


@pytest.mark.parametrize(("total", "count"), [(8, 2), (13, 4), (3, 4), (1, 2), (7, 7)])
def test_the_parts_of_a_batch_are_all_of_its_rows_in_order(
    monkeypatch: pytest.MonkeyPatch, total: int, count: int
) -> None:
    batch, everyone = torch.arange(total), parts(monkeypatch, total, count)
    assert max(p.rows for p in everyone) - min(p.rows for p in everyone) <= 1
    assert torch.cat([part.of(batch)[: part.rows] for part in everyone]).tolist() == batch.tolist()
    assert all(part.of(batch).tolist() == [0] for part in everyone if part.rows == 0)


def test_what_is_drawn_for_a_part_is_its_rows_of_what_is_drawn_for_the_batch() -> None:
    x = torch.zeros(5, 2, 3)
    torch.manual_seed(0)
    whole = batch_parts.whole_like(x).normal_()
    assert batch_parts.own_rows(whole) is whole
    with batch_parts.working_on(Part(1, 2, 5)):
        torch.manual_seed(0)
        drawn = batch_parts.own_rows(batch_parts.whole_like(x[1:3]).normal_())
        assert batch_parts.total_rows(x[1:3]) == 5
    assert torch.equal(drawn, whole[1:3])


def test_a_new_batch_is_laid_out_as_the_part_is() -> None:
    x = torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last)
    with batch_parts.working_on(Part(0, 2, 4)):
        assert batch_parts.whole_like(x[:2]).stride() == x.stride()


def test_means_weighted_by_their_shares_add_up_to_the_mean_of_the_batch() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    total = torch.zeros(())
    for part in (Part(0, 2, 3), Part(2, 1, 3), Part(0, 0, 3)):
        with batch_parts.working_on(part):
            total += batch_parts.weighted(part.of(values).mean())
    assert float(total) == 3.0
    assert batch_parts.share() == 1.0


def test_what_is_read_of_a_shared_batch_stands_in_its_place() -> None:
    rows = Part(2, 2, 5).in_whole(torch.tensor([[7], [8]]))
    assert rows.flatten().tolist() == [0, 0, 7, 8, 0]
    whole = torch.ones(5, 1)
    assert batch_parts.all_of(5).in_whole(whole) is whole


def test_one_process_has_whole_batches() -> None:
    stream = iter([(torch.zeros(3, 1), torch.zeros(3))])
    assert [len(y) for _, y in batch_parts.cut(stream)] == [3]
    assert batch_parts.to_read(3) == Part(0, 3, 3)
    chosen = torch.tensor([1, 2])
    with batch_parts.only(chosen) as rows:
        assert rows is chosen
