from module_utils.checks.system import judge_settings

RUNNING = {"rotateCertificates": True, "serverTLSBootstrap": True, "maxPods": 110, "shutdownGracePeriod": "1m0s"}


def test_a_kubelet_with_its_settings_passes() -> None:
    assert judge_settings({"maxPods": 110, "shutdownGracePeriod": "60s"}, RUNNING) == []


def test_another_number_than_the_environments_is_told() -> None:
    assert judge_settings({"maxPods": 100}, RUNNING) == ["the kubelet runs with maxPods 110, wanted is 100"]


def test_a_kubelet_that_does_not_renew_its_certificates_is_told() -> None:
    (problem,) = judge_settings({}, {**RUNNING, "rotateCertificates": False})
    assert "rotateCertificates False" in problem
