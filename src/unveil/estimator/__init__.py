"""The scikit-learn face: a model as an estimator that transforms, samples and scores.

`VariationalAutoencoder(latent=8, random_state=0).fit(X).transform(X)` gives the means of q(z|x).
"""

from unveil.estimator.autoencoder import VariationalAutoencoder

__all__ = ["VariationalAutoencoder"]
