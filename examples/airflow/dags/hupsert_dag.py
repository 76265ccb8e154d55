"""What the DAGs of hupsert have in common: command lines, settings, and what exit codes mean to Airflow.

`plan` finds the partitions that a source would change, `merge` is mapped over them, a task for each, and `check` sees that
no row of the source was left behind. Each task can be repeated at any time: a partition that has its rows already is found
unchanged, and what a killed run left half done is undone or finished by the next one.
"""

import shlex
from datetime import datetime, timedelta

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

# Airflow's pool: how many partitions are merged at once, over all DAGs. It must be there: `airflow pools set hupsert 2 merges`.
POOL = "hupsert"

# Flags that plan, merge and check all need beside what is declared with the table (`hupsert config`), such as
# ["--delete-when", "op=D"]. Modes that take a missing row for a deleted one (mirror, replace) can't be used here, since each task
# passes by the rows of other partitions, nor can append.
FLAGS: list[str] = []

# How a merge waits for a run of somebody else, and how often it starts anew when it was disturbed.
PATIENCE = ["--lock-wait", "10m", "--retry", "3"]

# Wrong usage, bad data, and guards: a second try would only end in the same way. All else (1 unexpected, 4 locked or
# changed meanwhile, 6 storage, 130 interrupted, 137 killed) is worth one.
FINAL_EXIT_CODES = [2, 3, 5]

# A run's parameters win over the Variables hupsert_table and hupsert_source, and these over what is written here.
PARAMS = {
    "table": Param(None, type=["null", "string"], description="a folder, hdfs:// or hive:// (Variable hupsert_table)"),
    "source": Param(None, type=["null", "string"], description="files, where {day} is the day (Variable hupsert_source)"),
    "day": Param(None, type=["null", "string"], description="such as 2026-11-20; the day of the run otherwise"),
}
TABLE = "{{ params.table or var.value.get('hupsert_table', '/warehouse/orders') }}"
DAY = "(params.day or dag_run.run_after | ds)"
SOURCE = "{{ (params.source or var.value.get('hupsert_source', '/incoming/{day}/*.parquet')) | replace('{day}', " + DAY + ") }}"

# Values come to a command by its environment, never as a part of its text.
ENVIRONMENT = {"HUPSERT_TABLE": TABLE, "HUPSERT_SOURCE": SOURCE}

DAG_ARGUMENTS = {
    "schedule": "0 3 * * *",
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "params": PARAMS,
    "tags": ["hupsert"],
    "default_args": {
        "pool": POOL,
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "skip_on_exit_code": FINAL_EXIT_CODES,
        "execution_timeout": timedelta(hours=6),
    },
}

# The name of a mapped task in Airflow's pages.
PARTITION_OF_TASK = "{{ ti.xcom_pull(task_ids='plan')[ti.map_index] }}"


def plan_arguments(table: str, source: str) -> list[str]:
    """What would change, per partition, as JSON on standard output."""
    return ["plan", table, "--from", source, "--output", "json", *FLAGS]


def merge_arguments(table: str, source: str, partition: str) -> list[str]:
    """One partition. Rows of others are not its own: they are counted as rejected, and merged by their own tasks."""
    return ["upsert", table, "--partition", partition, "--stray-rows", "reject", "--from", source, *PATIENCE, *FLAGS]


def check_arguments(table: str, source: str) -> list[str]:
    """Nothing is left to do: exit code 5 where a row is, as when the source has changed since the plan."""
    return ["diff", table, "--from", source, "--exit-code", "--limit", "0", *FLAGS]


def quoted(arguments: list[str]) -> str:
    """Arguments as words of a shell, of which those that are a variable in quotes are left for it to fill in."""
    return " ".join(word if word.startswith('"$') else shlex.quote(word) for word in arguments)


def partitions_to_merge(report: dict | None) -> list[str] | None:
    """The partitions that a plan would change, and those that it found bad, which fail in tasks of their own.

    They are named as `--partition` takes them. None where hupsert did not come to partitions.
    """
    if not report or "error" in report:
        return None
    # A report has the names of folders; a comma in a value, and blanks at its ends, would not be taken for part of it.
    return [p["partition"].replace(",", "%2C").replace(" ", "%20") for p in report["partitions"] if p["status"] != "noop"]


class FailsAtOnce:
    """Before an operator: the exit codes that `skip_on_exit_code` names fail the task, and no retry follows.

    Skipping is all that both operators can do about an exit code; here it becomes a failure.
    """

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowSkipException as refused:
            reason = str(refused).removesuffix(" Skipping.")
            raise AirflowFailException(f"{reason} No retry would mend it; the log above says why.") from None
