"""What an evaluation wrote."""

import json


def evaluations(workdir):
    """The names of all evaluations in a folder, the oldest first."""
    files = (workdir / "evaluation").glob("*/metrics.json")
    return [file.parent.name for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]


def evaluation_of(workdir, name=None):
    """The file of figures, of the newest evaluation or of the one of that name."""
    name = name or evaluations(workdir)[-1]
    return json.loads((workdir / "evaluation" / name / "metrics.json").read_text())


def figures_of(workdir, name=None):
    """``figures[stage][metric]``, the means."""
    return evaluation_of(workdir, name)["figures"]
