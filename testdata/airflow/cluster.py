"""A stand-in for a Kubernetes cluster: what KubernetesPodOperator asks of one is done by programs of this machine.

The operator renders its templates, builds the pod with its side-car, and judges how it ended by itself; only where it would call
the cluster, its first container is run here as the kubelet would: the command or else the image's entry point, with
$(NAME) filled in from its environment, which is all that it has.
"""

import json
import re
import subprocess
from pathlib import Path

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

EMPTY = "__airflow_xcom_result_empty__"  # what the side-car says where no report was written


def filled_in(text, values):
    """$(NAME) as the kubelet fills it in: names that it does not know stay, and $$ is $."""
    pattern = r"\$\$|\$\(([^()]+)\)"
    return re.sub(pattern, lambda m: "$" if m[0] == "$$" else values.get(m[1], m[0]), text)


class Hook:
    """Of the connection to a cluster, what building a pod asks for."""

    is_in_cluster = False

    def get_xcom_sidecar_container_image(self):
        return None

    def get_xcom_sidecar_container_resources(self):
        return None

    def get_xcom_sidecar_container_security_context(self):
        return None


class Cluster:
    """One pod at a time: made, run and ended."""

    def __init__(self, folder, entrypoint):
        self.folder, self.entrypoint = Path(folder), entrypoint
        self.report = self.folder / "xcom"

    def create(self, pod):
        """Runs a pod and notes it down as pod-N.json."""
        self.report.mkdir(exist_ok=True)
        (self.report / "return.json").unlink(missing_ok=True)
        noted = len(list(self.folder.glob("pod-*.json")))
        described = ApiClient().sanitize_for_serialization(pod)
        (self.folder / f"pod-{noted:03}.json").write_text(json.dumps(described))
        base = pod.spec.containers[0]
        values = {e.name: e.value for e in base.env or []}
        words = [filled_in(w, values) for w in [*(base.command or [self.entrypoint]), *(base.args or [])]]
        if any(m.mount_path == PodDefaults.XCOM_MOUNT_PATH for m in base.volume_mounts):
            words = [w.replace(PodDefaults.XCOM_MOUNT_PATH, str(self.report)) for w in words]
        path = f"{Path(self.entrypoint).parent}:/usr/bin:/bin"
        code = subprocess.run(words, env={"PATH": path, **values}, check=False).returncode
        ended = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=code if code >= 0 else 128 - code))
        status = k8s.V1ContainerStatus(
            name=base.name, state=ended, image=base.image, image_id="", ready=False, restart_count=0
        )
        pod.status = k8s.V1PodStatus(phase="Failed" if code else "Succeeded", container_statuses=[status])
        return pod

    # What the operator asks of its pod manager.

    def await_xcom_sidecar_container_start(self, **_):
        pass

    def extract_xcom(self, pod, **_):
        report = self.report / "return.json"
        text = report.read_text() if report.exists() else ""
        return text or EMPTY

    def await_pod_completion(self, pod, *_):
        return pod

    def read_pod(self, pod):
        return pod


def stand_in(folder, entrypoint):
    cluster = Cluster(folder, entrypoint)

    def nothing(*_, **__):
        return None

    operator = KubernetesPodOperator
    operator.hook, operator.client, operator.pod_manager = Hook(), None, cluster
    operator.get_or_create_pod = lambda self, pod_request_obj, context: cluster.create(pod_request_obj)
    operator.find_pod = lambda self, namespace, **_: self.pod
    for name in (
        "await_pod_start",
        "await_init_containers_completion",
        "await_pod_completion",
        "patch_already_checked",
        "process_pod_deletion",
        "_read_pod_events",
        "_read_pod_container_states",
    ):
        if not hasattr(operator, name):
            raise AttributeError(f"KubernetesPodOperator has no {name} any more")
        setattr(operator, name, nothing)
