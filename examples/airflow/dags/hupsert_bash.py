"""A day's changes, merged partition by partition on Airflow's workers, which have hupsert in their PATH and see the table."""

import json
import tempfile

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from hupsert_dag import (
    DAG_ARGUMENTS,
    ENVIRONMENT,
    PARTITION_OF_TASK,
    FailsAtOnce,
    check_arguments,
    merge_arguments,
    partitions_to_merge,
    plan_arguments,
    quoted,
)

# The shell fills these in, from the environment.
TABLE, SOURCE = '"$HUPSERT_TABLE"', '"$HUPSERT_SOURCE"'


def command(arguments: list[str]) -> str:
    # `exec`: signals, and the exit code, are hupsert's own.
    return "exec hupsert " + quoted(arguments)


class Hupsert(FailsAtOnce, BashOperator):
    """Runs hupsert."""


class Plan(Hupsert):
    """Runs `hupsert plan`, whose report is for `merge` and not for the log."""

    def execute(self, context):
        with tempfile.NamedTemporaryFile("r", prefix="plan-", suffix=".json") as report:
            self.env = {**self.env, "HUPSERT_REPORT": report.name}
            try:
                super().execute(context)
            except AirflowFailException:
                if self._planned(report) is None:
                    raise
            return self._planned(report)

    @staticmethod
    def _planned(report) -> list[str] | None:
        report.seek(0)
        text = report.read()
        return partitions_to_merge(json.loads(text) if text else None)


with DAG("hupsert_bash", doc_md=__doc__, **DAG_ARGUMENTS):
    plan = Plan(
        task_id="plan",
        bash_command=command(plan_arguments(TABLE, SOURCE)) + ' >"$HUPSERT_REPORT"',
        env=ENVIRONMENT,
        append_env=True,
    )
    merge = Hupsert.partial(
        task_id="merge", env=ENVIRONMENT, append_env=True, map_index_template=PARTITION_OF_TASK
    ).expand(bash_command=plan.output.map(lambda partition: command(merge_arguments(TABLE, SOURCE, partition))))
    # Where nothing was to be merged, `merge` is skipped, and this is not.
    check = Hupsert(
        task_id="check",
        bash_command=command(check_arguments(TABLE, SOURCE)),
        env=ENVIRONMENT,
        append_env=True,
        trigger_rule="none_failed",
    )
    plan >> merge >> check
