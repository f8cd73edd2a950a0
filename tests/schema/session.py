"""Several commands in one process, each as if alone: Django is started once.

    python -m tests.schema.session      for each line of words on stdin: that command

``GET /path`` asks the project's site for that path; ``SQL 'statement' [ALIAS]`` is somebody's in a
database. One line of JSON for each: the exit code (of a
request: the status), and what was written to stdout and stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys


def main() -> None:
    import django

    django.setup()
    for line in sys.stdin:
        code, out, err = run(shlex.split(line))
        sys.stdout.write(f"{json.dumps({'code': code, 'out': out, 'err': err})}\n")
        sys.stdout.flush()


def run(words: list[str]) -> tuple[int, str, str]:
    from django.core.management import execute_from_command_line
    from django.db import connections
    from django.test import Client

    if words[0] == "SQL":
        with connections[words[2] if len(words) > 2 else "default"].cursor() as cursor:
            cursor.execute(words[1])
        return 0, "", ""
    if words[0] == "GET":
        response = Client(SERVER_NAME="localhost").get(words[1])
        return response.status_code, response.content.decode(), ""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            execute_from_command_line(["manage.py", *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    main()
