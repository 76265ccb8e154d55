"""DuckDB as its command line runs a script: statements on standard input, the rows of each as JSON.

    python duckdb_program.py [-init FILE] [-bail] [-json] :memory: < script

Errors go to standard error, and exit with 1.
"""

import json
import sys

import duckdb

db = duckdb.connect()
try:
    for statement in db.extract_statements(sys.stdin.read()):
        result = db.execute(statement)
        if statement.type == duckdb.StatementType.SELECT:
            names = [column[0] for column in result.description]
            plain = lambda v: v if isinstance(v, (int, float, str, bool, type(None))) else str(v)
            print(json.dumps([dict(zip(names, map(plain, row))) for row in result.fetchall()]))
except duckdb.Error as error:
    print(error, file=sys.stderr)
    sys.exit(1)
