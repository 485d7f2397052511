"""Which samples a step sees: the same whatever the processes, the readers and the place where a run goes on."""

import pytest
import torch

from fcn.training.batches import Augmented, Plan, derived_seed, training_loader


def test_two_processes_see_what_one_sees_with_the_doubled_batch():
    one = list(Plan(23, 4, 3, seed=5).batches(0))
    two = [list(Plan(23, 2, 3, processes=2, seed=5).batches(process)) for process in (0, 1)]
    assert [a + b for a, b in zip(*two, strict=True)] == one


def test_accumulated_batches_are_the_large_batch():
    one = list(Plan(23, 6, 2, seed=5).batches(0))
    parts = list(Plan(23, 2, 2, accumulate=3, seed=5).batches(0))
    assert [[*parts[i], *parts[i + 1], *parts[i + 2]] for i in range(0, len(parts), 3)] == one


def test_every_epoch_is_a_permutation_and_no_two_are_equal():
    plan = Plan(20, 5, 3)
    epochs = [[index for batch in list(plan.batches(0))[4 * e : 4 * e + 4] for _, index, _ in batch] for e in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert Plan(20, 5, 1, seed=1).order(0) != Plan(20, 5, 1, seed=2).order(0)


@pytest.mark.parametrize("first", range(13))
def test_a_run_goes_on_at_any_step(first):
    plan = Plan(17, 4, 3, accumulate=1)
    assert list(plan.batches(0, first)) == list(plan.batches(0))[first:]
    assert plan.steps == 12


def test_a_step_that_needs_more_than_there_is_is_refused():
    with pytest.raises(
        ValueError, match=r"one step takes 32 samples \(batch_size=8, accumulate=2, 2 processes\) and the training split has 31"
    ):
        Plan(31, 8, 1, accumulate=2, processes=2)


class Numbers:
    names = tuple(map(str, range(10)))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.full((3, 2, 2), index, dtype=torch.uint8), torch.full((2, 2), index, dtype=torch.uint8)


def noisy(image, labels, generator):
    return image, labels + torch.randint(0, 100, (2, 2), generator=generator, dtype=torch.uint8)


def test_random_numbers_depend_on_the_sample_and_not_on_the_readers():
    def run(workers, first_step=0, **plan):
        steps = Plan(10, 2, 2, **plan)
        loader = training_loader(Augmented(Numbers(), noisy, steps.seed), steps, workers=workers, first_step=first_step)
        return [(images[:, 0, 0, 0].tolist(), labels.tolist()) for images, labels in loader]

    assert run(0) == run(2)
    assert run(0, first_step=3) == run(0)[3:]
    assert run(0) != run(0, seed=1)
    by_epoch = [{index: noise for images, labels in part for index, noise in zip(images, map(str, labels), strict=True)}
                for part in (run(0)[:5], run(0)[5:])]  # fmt: skip
    assert all(by_epoch[0][index] != by_epoch[1][index] for index in range(10))  # new noise in every epoch


def test_seeds_tell_their_numbers_apart():
    assert derived_seed(0, 1) != derived_seed(1, 0) != derived_seed(10)
    assert 0 <= derived_seed(2**40, 3) < 2**63
