"""The default run leaves the slow tests out and says how many; ``-m slow`` runs them."""

import pytest
from commanding import ROOT, start

QUICK, SLOW = "tests/flow/test_times.py", "tests/test_faults.py"
LEFT_OUT = "2 slow tests left out; python -m pytest -m slow runs them\n"


def run(*options):
    words = "-p no:cacheprovider -W ignore::pytest.PytestAssertRewriteWarning"  # as it is a fork
    return start(f"python -m pytest {words} {' '.join(options)}", ROOT)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_last_lines_say_how_many_slow_tests_were_left_out(workers):
    code, said = run(f"-n {workers}", QUICK, SLOW)
    assert code == 0, said
    assert said.count(LEFT_OUT) == 1 and "passed" in said.splitlines()[-1]


def test_nothing_is_said_of_tests_that_other_options_leave_out():
    code, said = run("-n 0", "--collect-only", "-k stratified", SLOW, QUICK)
    assert "left out" not in said, (code, said)


def test_slow_tests_run_if_asked_for():
    code, said = run("-n 0", "-m slow", "--collect-only", QUICK, SLOW)
    assert code == 0 and "left out" not in said, said
    assert said.count(f"{SLOW}::") == 2 and QUICK not in said
