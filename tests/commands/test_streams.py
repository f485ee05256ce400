"""Standard streams, in processes of their own: whatever becomes of them, the work is done."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elir_jax.commands import streams

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys, logging
from elir_jax.commands import frame

def command():
    with open(sys.argv[1], "w") as file:
        for _ in range(2):
            print("a figure", flush=True)
            print("a bar", file=sys.stderr)
            logging.getLogger().warning("a warning")
        os.system("echo a message of a library >&2")
        file.write("computed")

sys.exit(frame.exit_code_of(command, []))
"""


def run(place, redirection="", program=PROGRAM, **options):
    """(exit code, what was said on both streams) of the program; it writes into ``place``."""
    line = f'exec "$0" -c "$1" "$2" {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, program, str(place)], cwd=ROOT,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options),
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_takes_no_file_of_the_commands_and_ends_nothing(redirection, tmp_path):
    place = tmp_path / "file"
    assert run(place, redirection)[0] == 0
    assert place.read_text() == "computed"


def test_the_reader_of_a_pipe_may_leave(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    code, _ = run(tmp_path / "file", stdout=writing, stderr=writing)
    os.close(writing)
    assert code == 141 and (tmp_path / "file").read_text() == "computed"


def test_a_terminal_may_be_closed(tmp_path):
    ours, theirs = os.openpty()
    os.close(ours)
    code, _ = run(tmp_path / "file", stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert code == 141 and (tmp_path / "file").read_text() == "computed"


def test_what_a_full_disk_loses_of_the_output_is_said_at_the_end(tmp_path):
    code, said = run(tmp_path / "file", ">/dev/full")
    assert code == 2 and "error: standard output: No space left on device" in said
    assert (tmp_path / "file").read_text() == "computed"


def test_names_that_the_encoding_lacks_are_said(tmp_path):
    program = PROGRAM.replace("a figure", r"ü \udcff 日本")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    code, said = run(tmp_path / "file", program=program, env=environment)
    assert code == 0 and r"\xfc \udcff \u65e5\u672c" in said


def test_a_pipe_that_does_not_block_loses_nothing(tmp_path):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    program = PROGRAM.replace('"a figure"', '"x" * 2**18')
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "file"], cwd=ROOT, stdout=writing,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(writing)
        with open(reading) as file:
            assert file.read().count("x") == 2 * 2**18
    assert process.returncode == 0


def test_the_streams_of_another_program_stay(capsys):
    before = sys.stdout, sys.stderr
    streams.hold()
    assert (sys.stdout, sys.stderr) == before and streams.lost() is None


@pytest.mark.parametrize("where", ["import loading", "exec(open('loading.py').read())"])
def test_ctrl_c_ends_at_once_where_a_module_loads_and_cleans_up_elsewhere(where, tmp_path):
    hide = "import os\ntry: os.kill(os.getpid(), 2)\nexcept KeyboardInterrupt: print('hidden')"
    (tmp_path / "loading.py").write_text(hide)
    code = f"""if True:
        import sys
        from elir_jax.commands import frame
        sys.path.insert(0, "")
        def command():
            {where}
        sys.exit(frame.exit_code_of(command, []))"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    ended = (130, "", "interrupted\n") if where == "import loading" else (0, "hidden\n", "")
    assert (done.returncode, done.stdout, done.stderr) == ended


def test_ctrl_c_while_the_modules_load_prints_no_traceback():
    code = "import elir_jax.commands; import os; os.kill(os.getpid(), 2); import decimal"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "interrupted\n")
