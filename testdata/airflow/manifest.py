"""Holds manifests against the types of Kubernetes' own client: manifest.py FILE...

Every field must be one that its type knows, of the right kind and, where it is required, there; a field that stands twice is refused.
What is wrong goes to standard output, a line each, and makes the exit code 1.
"""

import re
import sys

import yaml
from kubernetes.client import models


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice."""

    def construct_mapping(self, node, deep=False):
        keys = [k.value for k, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


# Types of the description that are none of the client's models.
PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object, "datetime": str}


def check(value, kind, path):
    """Yields what is wrong with a value of a type, as the client describes it: V1PodSpec, list[str], dict[str, str]."""
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind != "bool" and isinstance(value, bool)):
            yield f"{path}: {value!r} is no {kind}"
    elif found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
            return
        for n, item in enumerate(value):
            yield from check(item, found[1], f"{path}[{n}]")
    elif found := re.fullmatch(r"dict[\[(]str, (.+)[\])]", kind):
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no map"
            return
        for name, item in value.items():
            yield from check(item, found[1], f"{path}.{name}")
    else:
        yield from check_model(value, getattr(models, kind), path)


def check_model(value, model, path):
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {model.__name__}"
        return
    names = {field: attribute for attribute, field in model.attribute_map.items()}
    for field, item in value.items():
        if field not in names:
            yield f"{path}: {model.__name__} knows no {field}"
            continue
        yield from check(item, model.openapi_types[names[field]], f"{path}.{field}")
    try:
        model(**{names[field]: item for field, item in value.items() if field in names})
    except ValueError as missing:  # the client holds what is required
        yield f"{path}: {missing}"


def main():
    wrong = []
    for name in sys.argv[1:]:
        with open(name) as file:
            try:
                documents = list(yaml.load_all(file, Strict))
            except yaml.YAMLError as error:
                wrong.append(f"{name}: {error}")
                continue
        for document in documents:
            kind = document.get("kind")
            wrong += check(document, f"V1{kind}", f"{name}: {kind}") if hasattr(models, f"V1{kind}") else [f"{name}: no kind {kind}"]
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
