#!/usr/bin/env python3
"""Lists the public names of a crate, one a line, from rustdoc's JSON.

    RUSTC_BOOTSTRAP=1 cargo rustdoc -p dmls --lib -- -Z unstable-options --output-format json
    scripts/public_api.py target/doc/dmls.json > docs/public-api.txt

A name that can be reached by two paths is an error: each is exported once.
"""

import json
import sys
from collections import defaultdict


def main():
    doc = json.load(open(sys.argv[1]))
    index = doc["index"]
    lines = []
    reached = defaultdict(list)

    def kind(item):
        return next(iter(item["inner"]))

    def is_public(item):
        return item["visibility"] == "public"

    def members(path, item):
        """What belongs to a type or trait, as far as it is public."""
        name, body = kind(item), item["inner"][kind(item)]
        if name == "struct":
            shape = body["kind"]
            fields = shape.get("plain", {}).get("fields", []) if isinstance(shape, dict) else []
            for field in fields:
                field = index.get(str(field))
                if field and is_public(field):
                    lines.append(f"{path}.{field['name']}")
        if name == "enum":
            for variant in body["variants"]:
                lines.append(f"{path}::{index[str(variant)]['name']}")
        if name == "trait":
            for part in body["items"]:
                lines.append(f"{path}::{index[str(part)]['name']}")
        for block in body.get("impls", []):
            block = index.get(str(block))
            if not block or block["inner"]["impl"]["trait"] is not None:
                continue
            for part in block["inner"]["impl"]["items"]:
                part = index.get(str(part))
                if part and is_public(part):
                    lines.append(f"{path}::{part['name']}")

    def walk(path, item_id):
        item = index.get(str(item_id))
        if item is None:
            return
        name = kind(item)
        if name == "use":
            target = item["inner"]["use"]
            inner = index.get(str(target["id"]))
            if inner is not None and is_public(item):
                add(f"{path}::{target['name']}", inner)
            return
        if not is_public(item):
            return
        add(f"{path}::{item['name']}", item)

    def add(path, item):
        name = kind(item)
        if name == "module":
            lines.append(f"{path} (module)")
            for part in item["inner"]["module"]["items"]:
                walk(path, part)
            return
        reached[item["id"]].append(path)
        lines.append(f"{path} ({name})")
        if name in ("struct", "enum", "trait"):
            members(path, item)

    root = index[str(doc["root"])]
    for part in root["inner"]["module"]["items"]:
        walk(root["name"], part)
    twice = [paths for paths in reached.values() if len(paths) > 1]
    print("\n".join(sorted(lines)))
    if twice:
        sys.exit(f"exported twice: {twice}")


main()
