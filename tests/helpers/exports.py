"""A small, untrained run of every recipe, and of parts that no recipe has, for tests of what is exported."""

import json
from dataclasses import fields

import numpy as np
import torch

from unveil.data import from_arrays
from unveil.data.facts import facts_of
from unveil.errors import ExportError
from unveil.export.checks import examples
from unveil.export.graphs import pures
from unveil.export.trace import onnx_of, traced
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.part import Part
from unveil.parts import (
    Autoregressive,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    Isotropic,
    Laplace,
    Levels,
    LogisticMixture,
    MixtureOfGaussians,
    NegativeBinomial,
    Net,
    Poisson,
    Spline,
    Standard,
    StudentT,
    TwoStage,
)
from unveil.recipes import RECIPES
from unveil.run import Run
from unveil.store.spec import describe

SMALL = {
    "latent": 2,
    "hidden": (6,),
    "channels": (4, 4),
    "blocks": 1,
    "groups": 1,
    "samples": 5,
    "transforms": 2,
    "pseudo_inputs": 4,
    "exemplars": 4,
    "centroids": 4,
    "codes": 5,
    "dimensions": 2,
    "width": 4,
    "layers": 1,
    "known": 100,
    "levels": (3, 3),
    "classes": 3,
    "planar": 1,
    "radial": 1,
    "context": 2,
}
MORE = {"ladder": {"layers": 2}, "nvae-small": {"channels": (4,)}, "mnist-ladder": {"channels": (4,)}}
OTHERS = {
    "mixture": lambda: model_of(prior=MixtureOfGaussians(2, 3)),
    "maf": lambda: model_of(prior=Autoregressive(2, 1, (4,))),
    "spline": lambda: model_of(prior=Spline(2, 1, (4,), bins=4)),
    "two-stage": lambda: model_of(prior=TwoStage(real_model(2))),
    "isotropic": lambda: model_of(head=Isotropic(3)),
    "laplace": lambda: model_of(head=Laplace(3)),
    "student": lambda: model_of(head=StudentT(3)),
    "continuous": lambda: model_of(head=ContinuousBernoulli()),
    "levels": lambda: model_of(head=Levels(5, 3)),
    "logistic": lambda: model_of(head=DiscretisedLogistic(5, 3)),
    "logistic mixture": lambda: model_of(head=LogisticMixture(2, 5, 3)),
    "poisson": lambda: model_of(head=Poisson(3)),
    "negative binomial": lambda: model_of(head=NegativeBinomial(3)),
}
"""Priors and likelihoods that no recipe has with the data here."""
SHAPE = (1, 6, 5)


def small():
    """60 images in two classes."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, *SHAPE), generator=source).to(torch.uint8)
    return from_arrays(images, torch.arange(120) % 2, name="small")


def people(folder):
    """A table with a column of each kind but counts, and gaps."""
    rows = ["height,income,city,grade"]
    rows += [f"{(i % 7) - 3.3},{1 + i % 11 if i % 6 else ''},{['Paris', 'Rome', 'Oslo'][i % 3]},{i % 4}" for i in range(90)]
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    import unveil

    return unveil.load(folder / "people.csv", columns="income=positive,grade=ordinal")


def real_model(size):
    encoder = Net(Mlp((size,), (4,), (4,)), Gaussian(2))
    return VAE(Standard(2), encoder, Net(Mlp((2,), (4,), (size,)), Isotropic()))


def model_of(prior=None, head=None):
    from unveil.parts import Bernoulli

    head = head or Bernoulli(3)
    encoder = Net(Mlp(SHAPE, (6,), (4,)), Gaussian(2))
    return VAE(prior or Standard(2), encoder, Net(Mlp((2,), (6,), head.needs(SHAPE)), head))


def recipe_of(name):
    """A recipe as small as it can be."""
    recipe = RECIPES[name]
    own = {one.name: getattr(recipe.model, one.name) for one in fields(recipe.model)}
    given = {**SMALL, **MORE.get(name, {})}
    return recipe.given(**{key: value for key, value in given.items() if type(own.get(key)) is type(value)})


def run_of(name, data):
    """The run of a recipe on `data`, or of one of the others, none of whose weights is zero."""
    torch.manual_seed(0)
    if name in OTHERS:
        model, objective, recipe = OTHERS[name](), Distortion() + Rate(), None
    else:
        recipe = recipe_of(name)
        data = recipe.prepare(data)
        model, objective = recipe.compose(data)
        for part in model.modules():
            if isinstance(part, Part):
                part.prepare(data.train, 0.0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim():
                weight += 0.2 * torch.randn(weight.shape)
    return Run(model.eval(), objective, {"data": facts_of(data), "recipe": name, "status": "finished"}, data=data)


class Exports:
    """What has been exported so far. Recipes that differ in their objective alone have one model, which is exported once.

    A graph that differs from another in its weights alone is lowered once: `lowered` counts them.
    """

    def __init__(self):
        self.models, self.lowered = {}, {}

    def of(self, run):
        """Of each function its ONNX model and numbers (rows of 7, where it was traced with 3), and why others have none."""
        key = json.dumps(describe(model=run.model)["parts"]) + str(run.manifest["data"]["measure"])
        if key not in self.models:
            self.models[key] = self._made(run)
        return self.models[key]

    def _made(self, run):
        made = {}
        with pures(run) as (modules, without):
            numbers = {name: tensor.numpy() for name, tensor in examples(modules, 7, seed=1).items()}
            for name, module in modules.items():
                try:
                    made[name] = self._lower(traced(module))
                except ExportError as error:
                    without[name] = str(error)
        return {name: graph for name, graph in made.items() if graph is not None}, numbers, without

    def _lower(self, one):
        text = str(one.program.graph) + str([tuple(tensor.shape) for tensor in one.program.state_dict.values()])
        if text in self.lowered:
            return None
        self.lowered[text] = True
        return onnx_of(one)


def numbers_of(name, numbers):
    """The part of `examples` that is of one function."""
    return {key.partition(".")[2]: array for key, array in numbers.items() if key.startswith(f"{name}.")}


def near(found, wanted):
    """Whether two arrays are of one type and shape, and agree to 1e-5 of their size."""
    found = np.asarray(found)
    return (found.dtype, found.shape) == (wanted.dtype, wanted.shape) and np.allclose(found, wanted, 1e-5, 1e-5)
