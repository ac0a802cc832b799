"""What is to be said of Kubespray's variables that have no counterpart in an environment file."""

from __future__ import annotations

import re

from bootstrap.config.addons import DEFAULT_CNI

UNKNOWN = "no key of an environment file says this"
# Of Kubespray's own workings: nothing to do for anybody. They are listed in one line.
_WORKINGS = re.compile(
    r".*_(dir|path|bin_dir|owner|group|checksum|checksums|download_url|image_tag|image_name|binary_checksum)"
    r"|(retry_stagger|kube_log_level|kube_owner|kube_cert_group|kube_proxy_strict_arp|dns_min_replicas|ndots"
    r"|event_ttl_duration|etcd_data_dir|skip_non_kubeadm_warn|unsafe_show_logs|allow_unsupported_distribution_setup"
    r"|deploy_container_engine|kubeadm_(config|download|image|init|join|scale|upload).*|download_.*|resolvconf_mode|kube_api_anonymous_auth|volume_cross_zone_attachment"
    r"|persistent_volumes_enabled|k8s_image_pull_policy|default_kubelet_config_dir|kube_apiserver_ip"
    r"|skydns_server.*|nodelocaldns_(?!external).*|deploy_netchecker|enable_coredns_.*|coredns_k8s_.*"
    r"|kubeconfig_localhost|kubectl_localhost|ping_access_ip|credentials_dir|no_proxy_exclude_workers)"
)
_APP = "no add-on here: install it by its own chart once the cluster stands"
_MIRROR = (
    "artifacts.mirror names a server with all upstream files and images, or artifacts.over_ssh sends them from here"
)
_API = "the API server's own options are not open here"
_LOGIN = "the API server takes client certificates and ServiceAccounts only"
_ALWAYS = "always on here"
_DNS = "write it into the values of the cluster's DNS server: see upstreams, stub_domains and zones in full.yaml"
_CLOUD = "no cloud's controller runs here"
# The first that matches a name counts.
_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"enable_nodelocaldns(_secondary)?",
        "no DNS server on each node here: the cluster's answers at its Service's address",
    ),
    (r"coredns_external_zones|nodelocaldns_external_zones|dns_etchosts|searchdomains|nameservers", _DNS),
    (
        r"containerd_(insecure_)?registr(y|ies).*|registry_(host|mirrors?)|.*_mirrors?(_.*)?|(.*_)?(image|files)_repo",
        _MIRROR,
    ),
    (r"(.*_)?(image|files|yum|debian|ubuntu|gcr|docker|quay|github)_(repo|url|image_repo|mirror)", _MIRROR),
    (r"kubernetes_audit(?!_webhook).*|kube_encrypt_secret_data|kubelet_rotate_.*|kube_encryption_.*", _ALWAYS),
    (r"kubernetes_audit_webhook.*", "the audit log is a file on each control plane, and is sent nowhere"),
    (r"kube_(oidc|webhook|token|basic)_.*|kube_apiserver_authorization.*|authorization_modes", _LOGIN),
    (r"podsecuritypolicy_enabled|kube_pod_security_.*", "a namespace enforces baseline by default: see README"),
    (r"supplementary_addresses_in_ssl_keys", "certificates have the addresses of the endpoint and the control planes"),
    (r"kube_(apiserver|api)_.*|kube_feature_gates|apiserver_.*", _API),
    (r"kube_(controller|scheduler|kubeadm)_.*|kube_proxy_.*", "this part's own options are not open here"),
    (
        r"kubelet_.*|kube_reserved.*|system_reserved.*|eviction_.*",
        "write it as a field of KubeletConfiguration in kubernetes.kubelet",
    ),
    (r"etcd_.*", "etcd is kubeadm's, with its own defaults"),
    (
        r"containerd_.*|crio_.*|docker_.*|gvisor_.*|kata_.*|crun_.*|youki_.*|nvidia_.*",
        "containerd has one configuration, the pipeline's",
    ),
    (r"flannel_.*", "the network between Pods uses VXLAN here, with its own defaults"),
    (r"kubeadm_.*", "kubeadm's own options are not open here"),
    (r"helm_enabled", "Helm is a program of whoever installs charts, and not put onto machines"),
    (
        r"local_volume_provisioner_.*|csi_.*|.*_csi_.*|cephfs_.*|rbd_.*",
        "volumes are folders of nodes here; other storage by its own chart",
    ),
    (r"cloud_provider|external_cloud_provider|external_.*|(openstack|aws|azure|vsphere|gcp)_.*", _CLOUD),
    (
        r"(calico|cilium|weave|kube_router|kube_ovn|canal|macvlan|cni|multus)_.*|kube_network_plugin_.*",
        f"{DEFAULT_CNI} is the network between Pods here",
    ),
    (r"kubernetes_dashboard_.*|dashboard_.*", _APP),
    (r".*_enabled|enable_.*", _APP),
    (r"upgrade_.*|drain_.*|serial", "an apply upgrades no standing node"),
    (
        r"kernel_.*|sysctl_.*|additional_sysctl|preinstall_.*|.*_packages|ntp_.*",
        "the machines' system is yours to set up, but for what Kubernetes needs",
    ),
)


def reason(name: str) -> str | None:
    """Return what is to be said of a variable, None where it is of Kubespray's own workings."""
    if _WORKINGS.fullmatch(name):
        return None
    return next((why for pattern, why in _REASONS if re.fullmatch(pattern, name)), UNKNOWN)
