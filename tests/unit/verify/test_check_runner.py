from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from module_utils.checks import catalog, runner
from module_utils.checks.machine import CHECKS
from module_utils.checks.runner import Check, Verdict

BAD = Verdict("0 of 1", ("node-0: is broken",))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_PAUSE", 0.01)


def check(*verdicts: Verdict | Exception, limit: float = 0.05, name: str = "one") -> Check[None]:
    """Return a check that sees one verdict after the other, and the last one ever after."""
    left: Iterator[Verdict | Exception] = iter(verdicts)
    last = verdicts[-1]

    def look(_world: None, _deadline: float) -> Verdict:
        seen = next(left, last)
        if isinstance(seen, Exception):
            raise seen
        return seen

    return Check(name, "A title", limit, "do this", look)


def test_a_check_looks_again_until_it_is_right() -> None:
    result = runner.run(check(BAD, OSError("refused"), Verdict("1 of 1"), limit=5), None)
    assert result.document() == {
        "name": "one",
        "title": "A title",
        "passed": True,
        "seconds": result.document()["seconds"],
        "evidence": "1 of 1",
        "hint": "",
    }


def test_a_check_that_stays_wrong_ends_at_its_limit_with_evidence_and_hint() -> None:
    result = runner.run(check(BAD), None)
    assert (result.passed, result.hint) == (False, "do this")
    assert result.evidence == ("node-0: is broken", "(0 of 1 after 0 s)")


def test_a_final_verdict_is_not_looked_at_again() -> None:
    final = Verdict("0 of 1", ("node-0: is broken",), final=True)
    assert not runner.run(check(final, Verdict("1 of 1"), limit=60), None).passed


def test_a_check_that_raises_fails_and_the_others_go_on() -> None:
    broken, good = runner.run_all([check(KeyError("items"), name="a"), check(Verdict("fine"), name="b")], None)
    assert broken.evidence[0] == "KeyError: 'items'"
    assert good.passed


def test_a_check_that_does_not_apply_is_left_out() -> None:
    assert runner.run_all([Check("one", "A title", 1, "do this", check(BAD).look, applies=lambda _: False)], None) == []


def test_an_explanation_is_added_only_to_a_failure_and_may_itself_fail() -> None:
    def explain(_world: None) -> Sequence[str]:
        raise OSError("refused")

    first = check(BAD)
    explained = Check("one", "A title", 0.05, "do this", first.look, lambda _: ["log: why"])
    assert "log: why" in runner.run(explained, None).evidence
    unexplained = Check("one", "A title", 0.05, "do this", first.look, explain)
    assert "no explanation: OSError: refused" in runner.run(unexplained, None).evidence


def test_much_evidence_is_cut_and_counted() -> None:
    lines = [f"line {number}" for number in range(40)]
    assert runner.shorten(lines)[-1] == "and 28 more"
    assert runner.shorten(lines[:12]) == tuple(lines[:12])


def test_what_machines_found_is_merged_by_check_and_failures_name_the_machine() -> None:
    good = runner.run(check(Verdict("fine")), None).document()
    bad = runner.run(check(BAD), None).document()
    machines = {"node-0": {"results": [good]}, "node-1": {"results": [bad]}}
    reached, merged, cluster = runner.collect(machines, {"results": [{"name": "api", "passed": True}]})
    assert reached["passed"]
    assert (merged["passed"], merged["hint"]) == (False, "do this")
    assert merged["evidence"].splitlines()[0] == "node-1: node-0: is broken"
    assert cluster["name"] == "api"


def test_a_machine_and_a_cluster_that_gave_no_results_fail() -> None:
    (reached,) = runner.collect({"node-0": {"unreachable": True, "msg": "no route"}}, {"msg": "no admin.conf"})
    assert not reached["passed"]
    assert reached["evidence"] == "node-0: no route\nthe checks of the cluster did not run: no admin.conf"


def test_every_check_has_its_own_name_a_limit_and_a_hint() -> None:
    checks: list[Check[Any]] = [*CHECKS, *catalog.READING, catalog.PROBES, *catalog.PROBING, catalog.REMOVAL]
    assert len({check.name for check in checks} | {"machines"}) == len(checks) + 1
    assert all(check.title and check.hint and check.limit > 0 for check in checks)
