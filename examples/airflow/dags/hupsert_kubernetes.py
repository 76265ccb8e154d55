"""A day's changes, merged partition by partition in pods, which mount the table's volume or know its HDFS."""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import models as k8s

from hupsert_dag import (
    DAG_ARGUMENTS,
    ENVIRONMENT,
    PARTITION_OF_TASK,
    FailsAtOnce,
    check_arguments,
    merge_arguments,
    partitions_to_merge,
    plan_arguments,
)

NAMESPACE = "default"
IMAGE = "hupsert:latest"
# Where Airflow's side-car reads the plan.
REPORT = "/airflow/xcom/return.json"

# Kubernetes fills these in, from the environment.
TABLE, SOURCE = "$(HUPSERT_TABLE)", "$(HUPSERT_SOURCE)"

# The table and the files that come in. For a table on HDFS: a ConfigMap with core-site.xml and hdfs-site.xml in their stead, and
# HADOOP_CONF_DIR beside ENVIRONMENT.
VOLUMES = {"warehouse": "/warehouse", "incoming": "/incoming"}

POD = {
    "namespace": NAMESPACE,
    # hupsert takes half of the limit for rows and keys, unless --memory says otherwise; Go's own limit leaves some room below it.
    "env_vars": {**ENVIRONMENT, "GOMEMLIMIT": "1800MiB"},
    "container_resources": k8s.V1ResourceRequirements(
        requests={"cpu": "1", "memory": "2Gi"}, limits={"memory": "2Gi", "ephemeral-storage": "20Gi"}
    ),
    "volumes": [
        *(
            k8s.V1Volume(name=name, persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=name))
            for name in VOLUMES
        ),
        # What does not fit into memory.
        k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource()),
    ],
    "volume_mounts": [
        *(k8s.V1VolumeMount(name=name, mount_path=path) for name, path in VOLUMES.items()),
        k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),
    ],
    "security_context": k8s.V1PodSecurityContext(run_as_non_root=True, run_as_user=65532, fs_group=65532),
    "container_security_context": k8s.V1SecurityContext(
        allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
    ),
    # A run that is told to end needs a moment to leave nothing half done.
    "termination_grace_period": 60,
    # What Airflow tells of a pod that failed: the end of its log.
    "termination_message_policy": "FallbackToLogsOnError",
}


def literal(text: str) -> str:
    """A text in which Kubernetes fills in nothing."""
    return text.replace("$(", "$$(")


class Hupsert(FailsAtOnce, KubernetesPodOperator):
    """Runs hupsert in a pod."""


class Plan(Hupsert):
    """Runs `hupsert plan` in a pod; the side-car hands over its report, of which XCom gets the partitions."""

    planned: list[str] | None = None

    def extract_xcom(self, pod, **options):
        self.planned = partitions_to_merge(super().extract_xcom(pod, **options))
        return self.planned

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowFailException:
            if self.planned is None:
                raise
            return self.planned


with DAG("hupsert_kubernetes", doc_md=__doc__, **DAG_ARGUMENTS):
    plan = Plan(
        task_id="plan",
        name="hupsert-plan",
        image=IMAGE,
        arguments=[*plan_arguments(TABLE, SOURCE), "--out", REPORT],
        do_xcom_push=True,
        **POD,
    )
    merge = Hupsert.partial(
        task_id="merge", name="hupsert-merge", image=IMAGE, map_index_template=PARTITION_OF_TASK, **POD
    ).expand(arguments=plan.output.map(lambda partition: merge_arguments(TABLE, SOURCE, literal(partition))))
    # Where nothing was to be merged, `merge` is skipped, and this is not.
    check = Hupsert(
        task_id="check",
        name="hupsert-check",
        image=IMAGE,
        arguments=check_arguments(TABLE, SOURCE),
        trigger_rule="none_failed",
        **POD,
    )
    plan >> merge >> check
