#!/usr/bin/env python3
"""Takes the checks of crates/dmls/src/tests/rules.tsv out, one by one, and runs the tests that must fail then.

All are taken out of one copy of the last commit, each behind a question to the environment, so there is one build. Columns of the
table, separated by tabs; `\\n` is a newline:

  id       of the rule, as in `Rule::id`, or our own for what has no rule
  place    file::function, below crates/dmls/src
  check    the source of the check, which must be once in the file
  without  what replaces it: `if` for a condition, `do` for a statement, `-` for what can't be taken out (the check yields the
           value that comes after it), or the source, with OFF for "this check is off"
  tests    of the library, separated by spaces; each must pass, and fail without the check

What was found is kept in a log beside the build, by the text of the row and the commit, and not run again.

  scripts/rules.py [--only ID] [--build DIR] [--commit COMMIT]
"""

import argparse
import csv
import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = "crates/dmls/src/tests/rules.tsv"
SOURCES = "crates/dmls/src"
SWITCH = """
/// Whether a check is taken out.
pub(crate) fn off(row: &str) -> bool {
    std::env::var("DMLS_WITHOUT").is_ok_and(|off| off == row)
}
"""


def read_table(folder):
    with open(folder / TABLE, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows):
        row["number"] = str(number)
        row["file"] = row["place"].split("::")[0]
        row["tests"] = row["tests"].split()
    return rows


def source_without(row, check):
    off = f'crate::off("{row["number"]}")'
    match row["without"]:
        case "if":
            return f"(!{off} && ({check}))"
        case "do":
            return f"if !{off} {{ {check} }}"
        case other:
            return other.replace("\\n", "\n").replace("OFF", off)


def take_out(rows, copy):
    """Patches the copy. The places are found before anything is changed, so that rows of one file don't disturb each other."""
    edits = {}
    for row in rows:
        check = row["check"].replace("\\n", "\n")
        text = (copy / SOURCES / row["file"]).read_text()
        if text.count(check) != 1:
            sys.exit(f"{row['id']}: the check is {text.count(check)} times in {row['file']}: {check}")
        if row["without"] != "-":
            edits.setdefault(row["file"], []).append((text.index(check), check, source_without(row, check)))
    for file, changes in edits.items():
        text = (copy / SOURCES / file).read_text()
        end = len(text)
        for start, check, instead in sorted(changes, reverse=True):
            if start + len(check) > end:
                sys.exit(f"two rows change the same source in {file}: {check}")
            text, end = text[:start] + instead + text[start + len(check):], start
        (copy / SOURCES / file).write_text(text)
    with open(copy / SOURCES / "lib.rs", "a") as lib:
        lib.write(SWITCH)


def build(copy, target):
    command = ["cargo", "test", "-p", "dmls", "--lib", "--no-run", "--message-format=json"]
    # A folder of its own: cargo would take the copy and what it was copied from for one.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    built = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    for message in messages:
        if message.get("message", {}).get("level") == "error":
            print(message["message"]["rendered"], file=sys.stderr)
    tests = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "dmls"]
    if built.returncode != 0 or len(tests) != 1:
        sys.exit("the copy does not build")
    return tests[0]


def passes(binary, copy, test, without):
    """`None` if there is no such test."""
    environment = {**os.environ, "DMLS_WITHOUT": without, "RUST_BACKTRACE": "0"}
    command = [binary, "--exact", test]
    try:
        done = subprocess.run(
            command, cwd=copy / "crates/dmls", env=environment, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return False
    return None if "running 1 test" not in done.stdout else done.returncode == 0


def judge(binary, copy, row):
    for test in row["tests"]:
        found = passes(binary, copy, test, "none")
        if not found:
            return f"no test {test}" if found is None else f"{test} fails with the check"
        if row["without"] != "-" and passes(binary, copy, test, row["number"]):
            return f"survived {test}"
    return "caught" if row["without"] != "-" else "can't be taken out"


def main():
    arguments = argparse.ArgumentParser(description="Does each check have a test that fails without it?")
    arguments.add_argument("--only", help="rows of this id")
    arguments.add_argument("--build", type=pathlib.Path, default=ROOT / "target/rules")
    arguments.add_argument("--commit", default="HEAD")
    arguments = arguments.parse_args()

    commit = subprocess.check_output(["git", "rev-parse", arguments.commit], cwd=ROOT, text=True).strip()
    copy = arguments.build / "copy"
    subprocess.run(["rm", "-rf", copy], check=True)
    copy.mkdir(parents=True)
    archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", copy], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        sys.exit("git archive failed")

    log = arguments.build / "log"
    known = dict(line.split("\t", 1) for line in log.read_text().splitlines()) if log.exists() else {}
    rows = read_table(copy)
    take_out(rows, copy)
    binary = None
    results = []
    for row in rows:
        if arguments.only not in (None, row["id"]):
            continue
        text = json.dumps([commit, row["number"], row["id"], row["check"], row["without"], row["tests"]])
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if key not in known:
            binary = binary or build(copy, arguments.build / "target")
            known[key] = judge(binary, copy, row)
            with open(log, "a") as out:
                out.write(f"{key}\t{known[key]}\n")
        results.append((row, known[key]))

    caught = [row for row, result in results if result == "caught"]
    fixed = [row for row, result in results if result == "can't be taken out"]
    wrong = [(row, result) for row, result in results if result not in ("caught", "can't be taken out")]
    for row, result in wrong:
        print(f"{row['id']} in {row['place']}: {result}")
    ids = {row["id"] for row, _ in results}
    print(
        f"{len(ids)} rules, {len(results)} checks: {len(caught)} caught, {len(wrong)} survived, "
        f"{len(fixed)} can't be taken out (their tests pass)"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
