import pytest
from scipy import stats

from fcn.tools.compare.paired import paired, t_cdf, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 20, 99])
def test_student_equals_scipys(degrees):
    for value in (0.0, 0.3, 1.0, 2.5, 10.0):
        assert t_cdf(value, degrees) == pytest.approx(stats.t.cdf(value, degrees), abs=1e-12)
    for probability in (0.5, 0.9, 0.975, 0.995):
        assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), abs=1e-8)


def test_the_interval_is_that_of_the_paired_t_test():
    one, other = [0.61, 0.64, 0.60, 0.66], [0.58, 0.63, 0.59, 0.61]
    found = paired([a - b for a, b in zip(one, other, strict=True)])
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.verdict == "not told apart"
    assert paired([0.02, 0.021, 0.019]).verdict == "higher"
    assert paired([-0.02, -0.021, -0.019]).verdict == "lower"


@pytest.mark.parametrize("count", [1, 2])
def test_few_seeds_give_no_interval_and_say_so(count):
    found = paired([0.1] * count)
    assert (found.mean, found.low, found.high) == (pytest.approx(0.1), None, None)
    assert found.verdict == "too few seeds"
