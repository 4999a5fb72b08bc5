# %% [markdown]
# # A variational autoencoder, part by part
#
# This page builds a variational autoencoder (VAE) out of three distributions, derives what it is trained on, checks the
# derivation on data where the answer is known, trains, and measures the result in nats. It assumes Python and a little
# probability: densities, expectations, Gaussians.
#
# It is also a program, `python docs/tutorial.py`, and every claim about a number is followed by an `assert`. Three
# environment variables steer it: `UNVEIL_TUTORIAL_OUT` (where its pictures and its run folder go),
# `UNVEIL_TUTORIAL_EPOCHS` (how long it trains) and `UNVEIL_TUTORIAL_DATA` (on what).

# %%
import os
from math import log
from pathlib import Path

import torch
from torch.distributions import MultivariateNormal, Normal

import unveil
from unveil import generation, pictures
from unveil.data import LinearGaussian
from unveil.errors import DataError
from unveil.evaluation import Figure
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Bernoulli, Gaussian, Net, Standard

OUT = Path(os.environ.get("UNVEIL_TUTORIAL_OUT", "tutorial-out"))
EPOCHS = int(os.environ.get("UNVEIL_TUTORIAL_EPOCHS", "15"))
SOURCE = os.environ.get("UNVEIL_TUTORIAL_DATA", "mnist")

# %% [markdown]
# ## A generative model with a latent variable
#
# The data are examples $x_1, \dots, x_N$, drawn independently from one unknown distribution. A *generative model* is a
# distribution $p(x)$ that is fitted to them and that we can draw new examples from.
#
# Images of digits are not easy to describe directly: their hundreds of pixels depend on one another, because they come
# from a few causes, such as which digit it is, its slant and the width of the stroke. A *latent variable* $z$ stands for
# such causes. We say first how $z$ is distributed, then how $x$ is distributed once $z$ is known:
#
# $$ p(x, z) = p(z)\, p(x \mid z). $$
#
# $p(z)$ is the *prior* and $p(x \mid z)$ the *likelihood*. Both are chosen simple: here a standard Gaussian in $D$
# dimensions, and pixels that are independent given $z$, whose probabilities are the output of a neural network, the
# *decoder*. What the model says about $x$ alone is a mixture over all $z$, and that is not simple:
#
# $$ p(x) = \int p(z)\, p(x \mid z)\, dz. $$
#
# Drawing from $p(x)$ is easy: draw $z$, then $x$. Computing it is hard. The integrand contains a neural network, so there
# is no closed form. An average of $p(x \mid z)$ over draws from the prior is unbiased but useless at any size we can
# afford: for a given image almost every $z$ explains it badly, and the integral comes from the tiny region where $z$
# fits. That region is where the *posterior*
#
# $$ p(z \mid x) = \frac{p(z)\, p(x \mid z)}{p(x)} $$
#
# lies: which causes could have produced this $x$. It is needed twice, to represent an image by its latent variable
# and to know where to look when $p(x)$ is estimated. But it has $p(x)$ in its denominator, so it is just as intractable.
# A VAE learns an approximation $q(z \mid x)$ of it together with the model.

# %% [markdown]
# ## Data and their space
#
# MNIST where it is at hand or can be fetched, else the small digits that come with scikit-learn. Those are few: an epoch
# is seven steps instead of 275, and it takes some 200 epochs to see in the pictures below what they are about.

# %%
try:
    data = unveil.load(SOURCE)
except DataError as error:
    print(error)
    data = unveil.load("digits")
print(data)

# %% [markdown]
# A data set states its *space*: the shape of one example and how its values are counted. These images are stored as
# levels of gray, but the model is one of pixels that are 0 or 1. *Stochastic binarisation* connects the two: a pixel of
# gray value $g \in [0, 1]$ becomes 1 with probability $g$, drawn afresh each time the image is read. Training therefore
# sees many binary versions of each image; evaluation fixes one for each, as a function of a seed.
#
# The picture shows one gray image and eleven binary readings of it.

# %%
one = data.train.values[:1]
readings = data.train.reading(one.expand(11, -1, -1, -1), torch.Generator().manual_seed(0))
gray = data.train.reading.mean(one)
assert set(readings.unique().tolist()) <= {0.0, 1.0}
print(pictures.save_sheet(torch.cat([gray, readings]).numpy(), OUT / "binarisation.png", columns=6, ink=True))

# %% [markdown]
# Now $p(x)$ is the probability of one of finitely many binary images, and $-\log p(x)$ with the natural logarithm is a
# number of *nats*: how surprised the model is by $x$. It is also a length. An ideal code built from the model writes $x$
# in $-\log_2 p(x)$ bits, and one nat is $1 / \log 2 \approx 1.44$ bits. Smaller is better, and nothing is below 0.
#
# Nats can only be compared in the same space: the gray images, or the same ones with their values scaled, have other
# densities and other nats.
#
# Two yardsticks. A model that takes every pixel for the toss of a fair coin needs $\log 2$ nats for each of them. A model
# of independent pixels, each with its own frequency in the training data, does much better, though its samples look like
# dust. Whatever a VAE gains over the second comes from what the pixels have to do with each other.

# %%
pixel_mean = data.train.mean()
head = Bernoulli(event_dims=3)
independent = head(head.start(pixel_mean))
coin_nats = data.space.size * log(2)
pixel_nats = Figure.over(-independent.log_prob(data.test.fixed(seed=0)))
print(f"fair coins:         {coin_nats:.2f} nats")
print(f"independent pixels: {pixel_nats}")
assert pixel_nats.value + 4 * pixel_nats.stderr < coin_nats

# %% [markdown]
# Such a figure states its unit, the number $n$ of examples it was averaged over, and after ± the *standard error*: the
# deviation to expect if the test images were another sample of as many. All comparisons below use it.
#
# ## The parts
#
# Three distributions make a VAE. First the prior, a standard Gaussian over $D$ dimensions. Two, so that we can look.

# %%
torch.manual_seed(0)
D = 2
prior = Standard(D)
print(prior().sample(torch.Size([3])))

# %% [markdown]
# Then the approximate posterior, a Gaussian with a diagonal covariance whose parameters depend on $x$ through a network,
# the *encoder*:
#
# $$ q(z \mid x) = N\bigl(z;\ \mu(x),\ \operatorname{diag} \sigma^2(x)\bigr). $$
#
# The encoder returns $2D$ numbers for each image, and the head `Gaussian(D)` reads them as means and log-variances. `Net`
# joins a network and a head into a conditional distribution.

# %%
shape, hidden = data.space.shape, (512, 512)
encoder = Mlp(shape, hidden, (2 * D,), activation="silu")
posterior = Net(encoder, Gaussian(D))

# %% [markdown]
# Last the likelihood. The decoder returns one number $\ell_i(z)$ for each pixel, the logit of its probability of being 1:
#
# $$ \log p(x \mid z) = \sum_i x_i\, \ell_i(z) - \log\bigl(1 + e^{\ell_i(z)}\bigr). $$
#
# `start` sets the decoder's last bias to the frequencies of the pixels, so that the model begins near the yardstick of
# independent pixels and need not learn it.

# %%
decoder = Mlp((D,), hidden, shape, activation="silu")
likelihood = Net(decoder, Bernoulli(event_dims=3))
likelihood.start(pixel_mean)

model = VAE(prior, posterior, likelihood)
print(f"{sum(weights.numel() for weights in model.parameters()):,} weights")

# %% [markdown]
# ## The bound
#
# We want weights that make $\log p(x)$ large, and cannot compute it. Multiply and divide by $q$ inside the integral:
#
# $$ \log p(x) = \log \int q(z \mid x)\, \frac{p(x, z)}{q(z \mid x)}\, dz = \log E_{q(z \mid x)}[w],
# \qquad w = \frac{p(x, z)}{q(z \mid x)}. $$
#
# $w$ is the *importance weight* of $z$. The logarithm is concave, so by Jensen's inequality the logarithm of a mean is at
# least the mean of the logarithms:
#
# $$ \log p(x) \ge E_{q(z \mid x)}[\log w] =: \mathrm{ELBO}(x), $$
#
# the *evidence lower bound*. How much is lost? Put $p(x, z) = p(x)\, p(z \mid x)$ into $\log w$ and take the expectation:
#
# $$ \mathrm{ELBO}(x) = E_q\left[\log p(x) + \log \frac{p(z \mid x)}{q(z \mid x)}\right]
# = \log p(x) - \mathrm{KL}\bigl(q(z \mid x) \,\|\, p(z \mid x)\bigr). $$
#
# This is an identity, not an inequality: $\log p(x) = \mathrm{ELBO}(x) + \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))$. The
# Kullback-Leibler divergence is never negative, and it is 0 only where $q$ is the true posterior. Raising the ELBO
# therefore does two things at once: the model explains the data better, and $q$ moves towards the posterior.
#
# Put $p(x, z) = p(z)\, p(x \mid z)$ in instead, and the bound falls into two terms that can be computed:
#
# $$ -\mathrm{ELBO}(x) = \underbrace{E_{q(z \mid x)}[-\log p(x \mid z)]}_{\text{distortion}}
# + \underbrace{\mathrm{KL}\bigl(q(z \mid x) \,\|\, p(z)\bigr)}_{\text{rate}}. $$
#
# The *distortion* is what it costs to write $x$ once its $z$ is known. The *rate* is the price of $z$: how far the
# posterior has moved from the prior to be about this $x$. Between two Gaussians it has a closed form,
#
# $$ \mathrm{rate} = \tfrac12 \sum_{d=1}^{D} \bigl(\mu_d^2 + \sigma_d^2 - 1 - \log \sigma_d^2\bigr), $$
#
# so only the distortion needs draws of $z$. This is the objective of Kingma & Welling 2014 (arXiv:1312.6114).
#
# The model puts all of it into one record, a `Draw`: $K$ values of $z$ for each of $B$ images, with their densities. With
# many draws, the mean of $-\log w$ has to agree with distortion + rate.

# %%
batch = next(data.test.batches(100, seed=0))
with torch.no_grad():
    draw = model.draw(batch, samples=200)
print("z:", tuple(draw.z[0].shape), " log p(x|z):", tuple(draw.log_px.shape), " rate:", tuple(draw.rate.shape))

difference = Figure.over(-draw.mean(draw.log_w) - (draw.distortion + draw.rate))
print(f"mean of -log w, less distortion + rate: {difference.value:.4f} ± {difference.stderr:.4f} nats")
assert abs(difference.value) < 4 * difference.stderr

# %% [markdown]
# ## Gradients through a random draw
#
# The distortion is an expectation under $q$, and $q$ is to be learned too: the gradient has to reach $\mu$ and $\sigma$
# through a random draw. *Reparameterisation* moves the randomness out of the way. Draw noise that depends on no parameter,
# and let $z$ be a function of it:
#
# $$ z = \mu + \sigma \epsilon, \quad \epsilon \sim N(0, 1), \qquad
# \nabla_\mu E_q[f(z)] = E_\epsilon\bigl[f'(\mu + \sigma \epsilon)\bigr]. $$
#
# In torch this is `rsample`. Take $f(z) = z^2$: then $E_q[f(z)] = \mu^2 + \sigma^2$, and the derivative with respect to
# $\mu$ is exactly $2\mu$. Another unbiased estimate, the score function $f(z)\, \nabla_\mu \log q(z)$, needs no derivative
# of $f$. It finds the same mean, with more noise.

# %%
mu, sigma = torch.full((20_000,), 0.7, requires_grad=True), 0.5
z = Normal(mu, sigma).rsample()
z.square().sum().backward()

pathwise = Figure.over(mu.grad, "")
score = Figure.over((z.square() * (z - mu) / sigma**2).detach(), "")
print(f"exact {2 * 0.7:.3f}, pathwise {pathwise.value:.3f} ± {pathwise.stderr:.3f}, ", end="")
print(f"score function {score.value:.3f} ± {score.stderr:.3f}")
assert abs(pathwise.value - 1.4) < 4 * pathwise.stderr
assert abs(score.value - 1.4) < 4 * score.stderr
assert pathwise.stderr < score.stderr

# %% [markdown]
# ## Checking the mathematics where the truth is known
#
# Nobody knows $\log p(x)$ of a VAE on images. So we first look at a model in which it is known: a linear decoder with
# Gaussian noise,
#
# $$ z \sim N(0, I), \quad x \mid z \sim N(Wz + b,\ \sigma^2 I)
# \quad\Longrightarrow\quad x \sim N(b,\ W W^\top + \sigma^2 I), $$
#
# whose posterior $p(z \mid x)$ is a Gaussian as well, with one covariance for all $x$.

# %%
torch.manual_seed(0)
truth = LinearGaussian.draw(size=8, latent=D)
x = truth.sample(5_000).double()
exact = truth.log_likelihood(x)
right = truth.posterior(x)


def log_weights(proposal, samples):
    """(K, B) log p(x, z) - log q(z|x) for z from the proposal."""
    z = proposal.sample(torch.Size([samples]))
    mean = z @ truth.weight.double().T + truth.bias.double()
    log_joint = Normal(0.0, 1.0).log_prob(z).sum(-1) + Normal(mean, truth.scale).log_prob(x).sum(-1)
    return log_joint - proposal.log_prob(z)


# %% [markdown]
# With the exact posterior as $q$, the weight is $w = p(x, z) / p(z \mid x) = p(x)$ whatever $z$ was drawn: the bound is
# tight, and a single draw gives $\log p(x)$ without any noise. What is left is rounding.

# %%
deviation = (log_weights(right, samples=3) - exact).abs().max()
print(f"exact posterior: largest deviation from log p(x) {deviation:.1e} nats")
assert deviation < 1e-9

# %% [markdown]
# Now a proposal with the right mean that is twice too wide. By the identity, its ELBO lies below $\log p(x)$ by
# $\mathrm{KL}(q \,\|\, p(z \mid x))$. Between two Gaussians with the same mean, one $s$ times as wide in each of $D$
# directions, that is $\frac{D}{2}(s^2 - 1 - \log s^2)$.

# %%
s = 2.0
wide = MultivariateNormal(right.mean, covariance_matrix=s**2 * right.covariance_matrix[0])  # the same for all x
log_w = log_weights(wide, samples=100)
expected = D / 2 * (s**2 - 1 - log(s**2))
gap = Figure.over(exact - log_w[0])
print(f"too wide: log p(x) - ELBO = {gap}, and the divergence is {expected:.2f} nats")
assert abs(gap.value - expected) < 4 * gap.stderr

# %% [markdown]
# Averaging the weights *before* taking the logarithm closes the gap (Burda et al. 2016, arXiv:1509.00519):
#
# $$ \hat\ell_K(x) = \log \frac1K \sum_{k=1}^K w_k, \quad z_k \sim q(z \mid x),
# \qquad E\bigl[e^{\hat\ell_K(x)}\bigr] = p(x), \qquad E\bigl[\hat\ell_K(x)\bigr] \le \log p(x). $$
#
# The mean weight is unbiased for $p(x)$ at every $K$; by Jensen its logarithm is too small in expectation, but less so as
# $K$ grows, because a mean of more weights varies less. At $K = 1$ its expectation is the ELBO.

# %%
gaps = {}
for K in (1, 10, 100):
    gaps[K] = exact - (torch.logsumexp(log_w[:K], 0) - log(K))
    found, ratio = Figure.over(gaps[K]), Figure.over((-gaps[K]).exp(), "")
    print(f"K = {K:3}: below log p(x) by {found.value:.4f} ± {found.stderr:.4f} nats; ", end="")
    print(f"mean of estimate / p(x) {ratio.value:.4f} ± {ratio.stderr:.4f}")
    assert abs(ratio.value - 1) < 4 * ratio.stderr
for fewer, more in ((1, 10), (10, 100)):
    closed = Figure.over(gaps[fewer] - gaps[more])
    assert closed.value > 4 * closed.stderr

# %% [markdown]
# A proposal that is too *narrow* is worse than one that is too wide: in the tails that it never visits, weights are
# unbounded, and their mean converges slowly or, with an infinite variance, hardly at all. This is why the *effective
# sample size* is reported below: near 1, the estimate rests on a single draw and is not to be believed.
#
# ## Training
#
# Back to images. The objective is written as the bound reads, and `unveil.train` minimises its mean over the training
# images: in each step it binarises a batch afresh, makes one draw for each image, and follows the gradient of the loss. A
# part of the training split is kept back as validation split; the weights that did best there are the ones we get. The
# test split plays no part. A run folder is never overwritten, so every pass through this program starts another.

# %%
place = OUT / f"run-{1 + sum(1 for _ in OUT.glob('run-*'))}"
run = unveil.train(data, model=model, objective=Distortion() + Rate(), epochs=EPOCHS, out=place)
for record in run.metrics():
    look = record["validation"]
    total = f"{look['distortion']:.2f} + {look['rate']:.2f} = {look['neg_elbo']:.2f} nats"
    print(f"epoch {record['epoch']:2}: validation {total}")

# %% [markdown]
# ## How good is it?
#
# `evaluate` reads each test image once and weighs it with $K$ draws of $z$. It reports -ELBO with its two halves, and
# the importance-weighted estimate $-\hat\ell_K$ of $-\log p(x)$, which on average is still too large, but by less.

# %%
nats = run.evaluate(samples=200, images=1_000).nats
print(f"-ELBO          {nats.neg_elbo}")
print(f"  distortion   {nats.distortion}")
print(f"  rate         {nats.rate}")
print(f"-log p(x)      {nats.nll}, at K = {nats.samples}")
print(f"effective size {nats.ess}")
print(f"for comparison, independent pixels: {pixel_nats}")
assert nats.neg_elbo.value + 4 * nats.neg_elbo.stderr < coin_nats

# %% [markdown]
# The standard errors above are those of single figures, and mostly say that some images are harder than others. How far
# the two estimates are apart is a question about each image by itself. The difference estimates
# $\mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))$ from below: what a better posterior could still gain without any change to
# the decoder.

# %%
with torch.no_grad():
    draw = run.model.draw(next(data.test.batches(200, seed=0)), samples=100)
estimate = torch.logsumexp(draw.log_w + draw.log_mass, 0)  # log_mass is -log K
gap = Figure.over(estimate + draw.distortion + draw.rate)
print(f"importance-weighted estimate, less ELBO: {gap}")
assert gap.value > -4 * gap.stderr

# %% [markdown]
# ## The latent plane
#
# Where do test images go? `encode` gives mean and scale of $q(z \mid x)$ for each. It uses no randomness, and so the
# encoder sees the gray image in place of a binary one. The labels colour the points; training never saw them.

# %%
encoded = generation.encode(run.model, data.test)
plane = generation.plane(run.model, encoded.mean)
axes = ("z₁", "z₂")
figure = pictures.latent_plane(
    plane.coordinates(encoded.mean).numpy(),
    encoded.label.numpy(),
    f"{data.name} in the latent plane",
    f"posterior means of {len(data.test):,} test images",
    axes,
)
print(pictures.save(figure, OUT / "latent_plane.png"))

# %% [markdown]
# And what does the model make of each point? The expected image $E[x \mid z]$, the probabilities of the pixels, on a
# grid. The grid points are quantiles of the prior, so each picture stands for the same share of what the model generates.

# %%
size = 20
images = generation.decode(run.model, plane.grid(size))
sheet = pictures.sheet(images.numpy(), size, gap=0, ink=True)
levels = [(i + 0.5) / size for i in range(size)]
figure = pictures.manifold(sheet, levels, "What the model makes of each point", "E[x|z] at the prior's quantiles", axes)
print(pictures.save(figure, OUT / "manifold.png"))

# %% [markdown]
# The scales have a meaning, too. Where $q(z \mid x)$ is narrow, the image pins its causes down, and its rate is high. The
# mean rate over all images is $I(x; z) + \mathrm{KL}(q(z) \,\|\, p(z))$, with the mutual information $I$ under $q$ and the
# aggregate posterior $q(z)$, the mean of $q(z \mid x)$ over the data. So the rate bounds from above how many nats a $z$
# can tell about its image.
#
# ## Calling the model
#
# A sample of the model is $z \sim p(z)$, then $x \sim p(x \mid z)$: binary images, as the data are.

# %%
samples = run.model.sample(64, seed=1)
assert set(samples.unique().tolist()) <= {0.0, 1.0}
print(pictures.save_sheet(samples.numpy(), OUT / "samples.png", ink=True))

# %% [markdown]
# With `mean=True` it gives $E[x \mid z]$ instead. The same seed means the same $z$, so these are the expectations of the
# very images above. They are smoother to look at, but no samples: the model says that pixels *are* 0 or 1, and a gray
# image is a statement of how sure it is. Judge a model by its samples and its nats; the means flatter it.

# %%
means = run.model.sample(64, seed=1, mean=True)
print(pictures.save_sheet(means.numpy(), OUT / "means.png", ink=True))

# %% [markdown]
# Given $z$ the pixels are independent, so the number of pixels that are 1 in all 64 samples should agree with the sum of
# the means, with variance $\sum_i m_i (1 - m_i)$.

# %%
excess = float((samples - means).double().sum())
stderr = float((means * (1 - means)).double().sum().sqrt())
print(f"ones in the samples less their expectation: {excess:.0f}, where a standard error is {stderr:.0f}")
assert abs(excess) < 4 * stderr

# %% [markdown]
# ## Where to go next
#
# Every variant is this page with one part changed. An objective is a function of a draw, so objectives can be compared
# on the trained model, without training anew:
#
# - `Distortion() + 4 * Rate()` makes the rate dearer. It is $-\mathrm{ELBO} + 3 \cdot \mathrm{rate}$, hence also a bound,
#   but a looser one: the model gets a simpler $z$ and pays in nats.
# - `Iwae(5)` trains on the importance-weighted bound with $K = 5$ from above, which asks less of $q$.

# %%
objectives = {"ELBO": Distortion() + Rate(), "beta": Distortion() + 4 * Rate(), "importance-weighted": Iwae(5)}
batch, t = next(data.test.batches(1_000, seed=0)), torch.tensor(0.0)
with torch.no_grad():
    losses = {name: term(run.model.draw(batch, term.samples or 1), run.model, t) for name, term in objectives.items()}
for name, loss in losses.items():
    print(f"{name:20} {Figure.over(loss)}")
tighter = Figure.over(losses["ELBO"] - losses["importance-weighted"])
assert tighter.value > -4 * tighter.stderr

# %% [markdown]
# Another size of the latent space changes the prior and the two networks next to it. Two dimensions can be drawn; more
# explain images far better. To train the model below, hand it to `unveil.train` with any of the objectives.

# %%
D = 16
wider = VAE(
    Standard(D),
    Net(Mlp(shape, hidden, (2 * D,), activation="silu"), Gaussian(D)),
    Net(Mlp((D,), hidden, shape, activation="silu"), Bernoulli(event_dims=3)),
)
wider.likelihood.start(pixel_mean)
print(tuple(wider.sample(4, seed=0).shape))

# %% [markdown]
# The run folder holds the weights and everything that was recorded. `unveil.open` gives the model back, in another
# program or on another day: the same seed, the same samples.

# %%
again = unveil.open(run.path)
assert torch.equal(again.model.sample(64, seed=1), samples)
print(f"opened {run.path}")
