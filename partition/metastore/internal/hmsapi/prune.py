#!/usr/bin/env python3
"""Cuts Apache Hive's hive_metastore.thrift down to the calls that hupsert makes and the types these reach.

    usage: prune.py hive_metastore.thrift > hmsapi.thrift     (generate.sh runs it)

Fields that the IDL leaves unmarked become optional: so the generated Go code tells an absent value (a null of Java's)
from an empty one, and a table or partition that is read, changed and written back keeps what it did not have.
"""
import re
import sys

# All of them are there in metastores 2.3 to 4.0 (get_table, for one, is not).
METHODS = """
get_config_value set_ugi
get_all_databases get_database create_database drop_database
get_all_tables get_table_req create_table drop_table alter_table_with_environment_context
get_partition_names get_partitions_by_names add_partitions_req alter_partitions_with_environment_context drop_partitions_req
get_table_statistics_req get_partitions_statistics_req
update_table_column_statistics update_partition_column_statistics
delete_table_column_statistics delete_partition_column_statistics
lock check_lock heartbeat unlock show_locks
""".split()

text = open(sys.argv[1]).read()
license = re.search(r"/\*\*\n \* Licensed.*?\*/", text, re.S).group(0)
text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
text = re.sub(r"(//|#)[^\n]*", "", text)

FIELD = re.compile(r"(\d+)\s*:\s*(required\s+|optional\s+)?((?:map|list|set)\s*<[^=;]*?>|\w+)\s+(\w+)\s*(=\s*[^,;\n]+)?\s*[,;]?")


def definition(kind, name, body):
    """One type, a field a line, with unmarked fields of structs as optional ones."""
    if kind == "enum":
        fields = re.findall(r"(\w+)\s*=\s*(\d+)", body)
        return "enum %s {\n%s\n}" % (name, "\n".join("  %s = %s," % f for f in fields))
    lines = []
    for number, mark, type, field, default in FIELD.findall(body):
        mark = mark.strip() or "optional"
        if kind == "union":
            mark = ""
        lines.append("  " + " ".join(w for w in (number + ":", mark, re.sub(r"\s+", "", type), field, default.strip()) if w) + ",")
    return "%s %s {\n%s\n}" % (kind, name, "\n".join(lines))


types, order = {}, []
for kind, name, body in re.findall(r"\b(struct|enum|exception|union)\s+(\w+)\s*\{(.*?)\}", text, re.S):
    types[name] = definition(kind, name, body)
    order.append(name)

service = re.search(r"service\s+ThriftHiveMetastore\s+extends\s+[\w.]+\s*\{(.*)\}", text, re.S).group(1)
calls = {}
for m in re.finditer(r"([\w<>,.\s]+?)\s+(\w+)\s*\(([^()]*)\)\s*(throws\s*\(([^()]*)\))?\s*[,;]?", service, re.S):
    calls.setdefault(m.group(2), re.sub(r"\s+", " ", m.group(0).strip().rstrip(",;")))
missing = [m for m in METHODS if m not in calls]
if missing:
    sys.exit("the IDL has no " + ", ".join(missing))

reached, todo = set(), re.findall(r"\w+", " ".join(calls[m] for m in METHODS))
while todo:
    name = todo.pop()
    if name in types and name not in reached:
        reached.add(name)
        todo += re.findall(r"\w+", types[name])

print(license)
print("\n// Made by prune.py of Apache Hive's hive_metastore.thrift: what hupsert calls. DO NOT EDIT.\n\nnamespace go hmsapi\n")
print("\n\n".join(types[name] for name in order if name in reached))
print("\nservice ThriftHiveMetastore {\n%s\n}" % "\n".join("  " + calls[m] + "," for m in METHODS))
