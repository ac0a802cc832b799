from __future__ import annotations

from module_utils.checks.runner import Verdict
from module_utils.checks.security import judge_each


def test_what_all_api_servers_do_is_said_once() -> None:
    good = Verdict("stored as secretbox:v1:key1")
    assert judge_each({"a": good, "b": good}) == Verdict("through 2 API servers: stored as secretbox:v1:key1")


def test_one_api_server_with_other_settings_fails_and_is_named() -> None:
    plain = Verdict("plaintext", ("etcd holds the Secret's plaintext",))
    verdict = judge_each({"a": Verdict("stored as secretbox:v1:key1"), "b": plain})
    assert verdict.problems == ("b: etcd holds the Secret's plaintext",)
