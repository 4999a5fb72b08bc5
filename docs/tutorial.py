# %% [markdown]
# # A generative model of handwritten digits, from the beginning
#
# You need Python and a little probability: densities, expectations, Bayes' rule. Everything else is built here, and every
# claim that has a number is checked by the line below it. Run it whole, `python docs/tutorial.py`, or cell by cell in an
# editor that knows `# %%`.

# %%
import os
from math import log
from pathlib import Path

import torch
from torch.distributions import MultivariateNormal

import unveil
from unveil import generation, pictures
from unveil.data import LinearGaussian
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate, Warmup
from unveil.parts import Bernoulli, Gaussian, Net, Standard

OUT = Path(os.environ.get("UNVEIL_TUTORIAL_OUT", "tutorial-out"))
EPOCHS = int(os.environ.get("UNVEIL_TUTORIAL_EPOCHS", "15"))
DATA = os.environ.get("UNVEIL_TUTORIAL_DATA", "mnist")

# %% [markdown]
# ## The question
#
# We have examples $x_1, \dots, x_N$, drawn independently from a distribution that nobody can write down. We want a
# distribution $p(x)$ that we *can* write down, draw from, and that gives new examples a high probability.
#
# Digits are 784 pixels, but not 784 independent decisions: somebody meant a 7, wrote it slanted and with a thick pen. So we
# let a few hidden numbers $z$ be drawn first, and the pixels given them:
#
# $$ p(x, z) = p(z)\, p(x \mid z), \qquad p(x) = \int p(x \mid z)\, p(z)\, dz . $$
#
# $p(z)$ is the **prior**, and $p(x|z)$ the **likelihood**: a neural network turns $z$ into the probability of each pixel.
# Sampling is easy: draw $z$, then $x$. The integral is not. Almost every $z$ from the prior explains a given image
# hopelessly badly, so averaging $p(x|z)$ over random $z$ is waiting for a miracle.
#
# The $z$ that matter for $x$ are those of the **true posterior** $p(z|x) = p(x, z) / p(x)$. If we knew it we could look
# where it is worth looking, but its formula contains the very $p(x)$ that we cannot compute. So we learn a stand-in,
# $q(z|x)$, the **posterior** for short: a second network that looks at $x$ and says where its $z$ probably is.
#
# ## The bound
#
# For any $q$, write $1 = q/q$ into the definition and take the logarithm of the mean:
#
# $$ \log p(x) = \log E_{q(z|x)}\!\left[\frac{p(x, z)}{q(z|x)}\right]
#    \;\ge\; E_{q(z|x)}\!\left[\log \frac{p(x, z)}{q(z|x)}\right] = \mathrm{ELBO}(x) , $$
#
# because a logarithm of a mean is at least the mean of logarithms. What is lost is no mystery either:
#
# $$ \log p(x) - \mathrm{ELBO}(x) = \mathrm{KL}\big(q(z|x) \,\|\, p(z|x)\big) . $$
#
# Raising the ELBO therefore does two things at once: it raises $\log p(x)$, and it pulls $q$ towards the true posterior.
# Split the other way, it is a trade between two prices, both in **nats** (natural logarithms; one nat is 1.44 bits):
#
# $$ -\mathrm{ELBO}(x) =
#    \underbrace{E_{q(z|x)}[-\log p(x|z)]}_{\text{distortion}} +
#    \underbrace{\mathrm{KL}\big(q(z|x) \,\|\, p(z)\big)}_{\text{rate}} . $$
#
# The distortion is what is lost about $x$ when it goes through $z$, the rate what it costs to say $z$.
#
# ## First where the truth is known
#
# Let $z$ be two numbers and $x = Wz + b$ + noise. Everything is Gaussian, and $\log p(x)$ has a formula. With the true
# posterior for $q$, the weight $\log w = \log p(x, z) - \log q(z|x)$ is the same for *every* $z$: it is $\log p(x)$.

# %%
truth = LinearGaussian.draw(size=8, latent=2)
x = truth.sample(1)
exact = truth.log_likelihood(x)[0]
torch.manual_seed(0)


def log_weights(q: MultivariateNormal, count: int) -> torch.Tensor:
    """log p(x, z) - log q(z|x) for `count` values z of q."""
    z = q.sample((count,))
    noise = torch.distributions.Normal(z @ truth.weight.double().T + truth.bias.double(), truth.scale)
    prior = torch.distributions.Normal(0.0, 1.0)
    return noise.log_prob(x.double()).sum(-1) + prior.log_prob(z).sum(-1) - q.log_prob(z)


posterior = truth.posterior(x[0])
at_the_truth = log_weights(posterior, 5)
print(f"log p(x) = {exact:.4f}; five weights at the true posterior: {at_the_truth.tolist()}")
assert torch.allclose(at_the_truth, exact.expand(5), atol=1e-9)

# %% [markdown]
# Now a $q$ whose scale is 1.2 times too large. The bound falls below the truth by exactly the divergence, which for two
# dimensions is $2\,(\tfrac{1.44 - 1}{2} - \log 1.2)$.

# %%
wide = MultivariateNormal(posterior.mean, 1.2**2 * posterior.covariance_matrix)
log_w = log_weights(wide, 64_000)
elbo, stderr = log_w.mean(), log_w.std() / len(log_w) ** 0.5
divergence = 2 * ((1.44 - 1) / 2 - log(1.2))
print(f"ELBO = {elbo:.4f} ± {stderr:.4f}, log p(x) - divergence = {exact - divergence:.4f}")
assert abs(elbo - (exact - divergence)) < 4 * stderr

# %% [markdown]
# There is a way back up. The mean of $K$ weights is still an unbiased estimate of $p(x)$, and its logarithm a bound that
# rises with $K$ (Burda et al. 2016, arXiv:1509.00519). This is the **importance-weighted estimate**, and it is how models
# are compared.

# %%
bounds = [float((log_w.view(-1, k).logsumexp(1) - log(k)).mean()) for k in (1, 4, 16, 64)]
print("bounds for K = 1, 4, 16, 64:", [round(bound, 4) for bound in bounds], f"truth {exact:.4f}")
assert bounds == sorted(bounds)

# %% [markdown]
# ## Data, and what a nat is a nat of
#
# A number of nats means something only beside the **space** of $x$. MNIST's pixels are gray, and the convention that makes
# figures comparable is to toss a coin for each pixel at each visit, with the gray value as its probability. $x$ is then 784
# zeros and ones, and $p(x)$ an honest probability. The 10,000 test images stay apart until the end; the choice of weights
# is made on a validation split that comes out of the training images.

# %%
try:
    data = unveil.load(DATA)
except unveil.errors.DataError as error:
    print(error)
    data = unveil.load("digits")
print(data)

# %% [markdown]
# ## The parts
#
# A model is a composition. The encoder computes a mean and a variance for each of two latent numbers, the decoder the
# probability of each pixel. (Kingma & Welling 2014, arXiv:1312.6114, for the whole idea.)

# %%
torch.manual_seed(0)
LATENT = 2
encoder = Mlp(data.space.shape, (512, 256, 128), (2 * LATENT,), "silu")
decoder = Mlp((LATENT,), (128, 256, 512), data.space.shape, "silu")

likelihood = Net(decoder, Bernoulli())
likelihood.start(data.train.mean())  # every image begins as the mean image
model = VAE(Standard(LATENT), Net(encoder, Gaussian(LATENT)), likelihood)

# %% [markdown]
# What objectives read is a **draw**: values of $z$, written as mean + scale × noise, so that gradients pass through them,
# and their log-densities.

# %%
draw = model.draw(next(data.train.batches(100, seed=0)), samples=3)
print("z", tuple(draw.z[0].shape), "log p(x|z)", tuple(draw.log_px.shape), "rate", tuple(draw.rate.shape))
assert draw.log_w.shape == (3, 100)

# %% [markdown]
# The objective is the bound, its rate warmed up over two epochs so that the decoder first learns that $z$ is worth reading.

# %%
objective = Distortion() + Warmup(Rate(), epochs=2)
OUT.mkdir(parents=True, exist_ok=True)
run = unveil.train(
    data, model=model, objective=objective, out=OUT / "run", epochs=EPOCHS, learning_rate=3e-3, validate_every=1
)
for record in run.metrics()[:: max(1, EPOCHS // 5)]:
    print(f"epoch {record['epoch']}: validation -ELBO {record['validation']['neg_elbo']:.1f} nats")

# %% [markdown]
# ## How good is it?
#
# On test images, with standard errors. Both figures lie above $-\log p(x)$ in expectation; the importance-weighted one
# lies closer, and the closer the more draws it has.

# %%
found = run.evaluate(samples=100, images=500)
print(f"-ELBO {found.neg_elbo}\n-log p(x), K = {found.samples}: {found.nll}\neffective draws {found.ess}")
assert found.nll is not None
assert found.nll.value < found.neg_elbo.value

# %% [markdown]
# ## The latent plane
#
# Each test image has its own Gaussian in the plane. Their means, coloured by digit, show what the model found out without
# ever being told a label.

# %%
encoded = generation.encode(run.model, data.test)
plane = generation.plane(run.model, encoded.mean)
labels = None if encoded.label is None else encoded.label.numpy()
figure = pictures.latent_plane(encoded.mean.numpy(), labels, "Test images in the latent plane", "", ("z₁", "z₂"))
pictures.save(figure, OUT / "latent_plane.png")

# %% [markdown]
# And the other direction: walk over the plane in steps of equal prior probability and decode every point.

# %%
decoded = generation.decode(run.model, plane.grid(20))
pictures.save_sheet(decoded.numpy(), OUT / "manifold.png", columns=20, gap=0)

# %% [markdown]
# ## Calling the model
#
# A sample is $z$ from the prior, then $x$ from the likelihood: zeros and ones, with the grain of independent coins. The
# mean $E[x|z]$ is smoother to look at, and not a sample of the model.

# %%
samples = run.model.sample(64, seed=1)
means = run.model.sample(64, seed=1, mean=True)
pictures.save_sheet(samples.numpy(), OUT / "samples.png")
pictures.save_sheet(means.numpy(), OUT / "means.png")
assert set(samples.unique().tolist()) == {0.0, 1.0}
assert torch.equal(samples, unveil.open(OUT / "run").model.sample(64, seed=1))

# %% [markdown]
# ## From here
#
# Change one part at a time, and compare `run.evaluate()`:
#
# - `LATENT = 20`: many more nats, and a plane of principal directions instead of the whole space;
# - `Distortion() + 4 * Rate()`: fewer nats through $z$, a smoother plane, blurrier digits;
# - `Iwae(5)` from `unveil.objectives`: train on the importance-weighted bound itself;
# - your own network: any `nn.Module` from (N, ...) to (N, ...) goes into `Net`.
