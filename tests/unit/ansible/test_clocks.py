from __future__ import annotations

import pytest
from filter.clocks import clock_error


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (1000.0, 0),
        (1090.0, 0),  # a controller that was slow to connect or to ask is no error
        (1100.0, 0),
        (1145.0, 45),
        (955.0, -45),
    ],
)
def test_a_clock_is_wrong_outside_of_question_and_answer_only(shown: float, expected: float) -> None:
    assert clock_error(shown, asked=1000.0, answered=1100.0) == expected
