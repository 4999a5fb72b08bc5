"""What a bundle says of itself: the model, its data and whose they are, how x is to be read, and its functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unveil.data import Space
from unveil.data.facts import short
from unveil.export.trace import Traced
from unveil.export.unpack import FORMAT
from unveil.version import __version__

if TYPE_CHECKING:
    from unveil.run import Run

READ = {
    "binary": "0 or 1: of images with levels v of 0 to 255, 1 with probability v / 255; encode takes v / 255 itself too",
    "unit": "gray values v / 255 of levels v from 0 to 255",
    "levels": "levels as they are, as floats",
    "real": "numbers as they are",
    "count": "counts as they are, as floats",
    "columns": "a row of the table in the order of its columns; of a class its number, NaN where it is not known",
}
"""How x is read, by the measure of its space."""


def described(
    run: Run, to: str, made: Mapping[str, Traced], without: Mapping[str, str], carries: Sequence[str]
) -> dict[str, Any]:
    """What bundle.json says, but for the files."""
    facts, model = run.manifest["data"], run.model
    return {
        "format": FORMAT,
        "what": "a generative model with latent variables, p(x, z) = p(z) p(x|z), and its encoder q(z|x)",
        "to": to,
        "unveil": __version__,
        "recipe": run.manifest.get("recipe"),
        "model": type(model).__name__,
        "prior": type(model.prior).__name__,
        "likelihood": type(getattr(model.likelihood, "head", model.likelihood)).__name__,
        "normalised": model.normalised,
        "space": {
            "shape": list(facts["shape"]),
            "measure": facts["measure"],
            "meaning": Space(tuple(facts["shape"]), facts["measure"], facts.get("levels", 256)).meaning,
            "levels": facts.get("levels", 256) if facts["measure"] == "levels" else None,
            "read": READ[facts["measure"]],
        },
        "columns": facts.get("columns", []),
        "classes": facts.get("classes", 0),
        "class_names": facts.get("class_names", []),
        # a bundle travels: where the data lie is nobody else's business
        "data": {
            "name": short(facts["name"]),
            **{name: facts.get(name) for name in ("fingerprint", "rows", "attribution")},
        },
        "carries": list(carries),
        "noise": "Philox of NumPy keyed by (seed, 0) for normals, by Box and Muller's rule, and (seed, 1) for uniforms",
        "graphs": {
            name: {
                "inputs": list(one.inputs),
                "outputs": list(one.outputs),
                "normals": one.noise["normal"],
                "uniforms": one.noise["uniform"],
            }
            for name, one in made.items()
        },
        "without": dict(without),
    }


def notice(about: Mapping[str, Any]) -> str:
    """Whose data the model learned from, and what of them it carries."""
    data = about["data"]
    lines = [
        f"This model was trained by Unveil {about['unveil']} on {data['name']} (fingerprint {data['fingerprint']}).",
        f"The data: {data['attribution'] or 'whose they are, and under which licence, Unveil does not know.'}",
    ]
    if about["carries"]:
        lines.append(
            f"Its prior is made of {' and '.join(about['carries'])}: "
            + (
                "its graphs hold them."
                if about["to"] == "torch"
                else "its graphs hold what these are encoded as, and not they themselves."
            )
        )
    else:
        lines.append("Of single training examples its weights hold nothing but what was learned from them.")
    lines.append("The numbers in check.npz were drawn from the model; they are no data.")
    lines.append("loader.py and the modules beside it are part of Unveil, under the Apache License 2.0.")
    return "\n".join(lines) + "\n"
