"""Airflow's command line as a console: console.py FOLDER ENTRYPOINT

Each line of standard input is a list of arguments in JSON, as `airflow` takes them; each line of standard output answers with
the exit code and, after `dags test`, what became of the tasks. All else, Airflow's logs among it, goes to standard error. One
process for all of them, since Airflow takes longer to start than to run these DAGs. The pods of KubernetesPodOperator are run by
cluster.py, which notes them down in FOLDER; ENTRYPOINT is what their image runs.
"""

import json
import os
import sys
import traceback

import cluster


def text(state):
    return str(getattr(state, "value", state))


def tasks_of_last_run(dag_id):
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)).one()
        tasks = session.scalars(
            select(TaskInstance)
            .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run.run_id)
            .order_by(TaskInstance.task_id, TaskInstance.map_index)
        )
        return {
            "run": text(run.state),
            "tasks": [
                {
                    "task": ti.task_id,
                    "index": ti.map_index,
                    "name": ti.rendered_map_index or "",
                    "state": text(ti.state),
                    "tries": ti.try_number,
                    "pool": ti.pool,
                }
                for ti in tasks
            ],
        }


def run(arguments):
    from airflow.cli import cli_parser

    try:
        parsed = cli_parser.get_parser().parse_args(arguments)
        parsed.func(parsed)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        code = 1
    answer = {"code": code}
    if arguments[:2] == ["dags", "test"]:
        answer |= tasks_of_last_run(arguments[2])
    return answer


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cluster.stand_in(*sys.argv[1:])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


main()
